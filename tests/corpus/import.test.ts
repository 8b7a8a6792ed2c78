/** Real documents of all versions and sizes, and GitHub's, imported by the real child under its real limits. */
import { beforeAll, expect, test } from 'bun:test'
import { chosenDocuments, directoryDocuments, githubDocument } from './documents.ts'
import { type ImportOutcome, importOutcome } from './import-outcome.ts'
import { INSTALL_TIMEOUT_MS, installCorpus } from './packages.ts'

const MIN_SHARE = 0.995
const MAX_MS = 10_000
const MAX_BYTES = 512 * 1024 * 1024
/** Of 2,593 and 46 documents. */
const counts = { '3.0': 48, '3.1': 16 }

let outcomes: ImportOutcome[]

beforeAll(async () => {
  await installCorpus()
  outcomes = []
  for (const document of [...chosenDocuments(counts), githubDocument()]) {
    outcomes.push(await importOutcome(document))
  }
}, INSTALL_TIMEOUT_MS)

test('the directory is the one whose figures the documents tell', () => {
  const versions = Map.groupBy(directoryDocuments(), ({ version }) => version)
  expect([...versions].map(([version, { length }]) => [version, length]).sort()).toEqual([
    ['3.0', 2593],
    ['3.1', 46],
  ])
})

test(`${counts['3.0'] + counts['3.1']} documents and GitHub's become drafts, but for what has no operation`, () => {
  expect(outcomes.length).toBe(counts['3.0'] + counts['3.1'] + 1)
  const failed = outcomes.filter(({ fault }) => fault !== undefined)
  expect(failed.map(({ document, fault }) => `${document.name}: ${fault?.message}`)).toEqual([
    'ipinfodb.com: The document has no operations.',
  ])
  expect(failed[0]?.declared).toBe(0)
})

test('operations become tools, and each that does not is named with its place and cause', () => {
  const declared = sum((outcome) => outcome.declared)
  expect(declared).toBeGreaterThan(3_000)
  expect(sum(({ tools }) => tools) / declared).toBeGreaterThanOrEqual(MIN_SHARE)
  expect(outcomes.flatMap(({ lost }) => lost)).toEqual([])
  for (const { document, declared, tools, refused } of outcomes) {
    expect(`${document.name}: ${tools + refused.length}`).toBe(`${document.name}: ${declared}`)
    for (const { operation, path, message } of refused) {
      expect(operation).toMatch(/^[A-Z]+ \//)
      expect(path).toMatch(/^\/paths\//)
      expect(message).toMatch(/^[A-Z].*\.$/)
    }
  }
})

test('no document takes more processor time or more memory than an import may', () => {
  const over = outcomes.filter(
    ({ processorMs, peakBytes }) => processorMs > MAX_MS || peakBytes > MAX_BYTES,
  )
  expect(over.map(({ document }) => document.name)).toEqual([])
  expect(Math.min(...outcomes.map(({ peakBytes }) => peakBytes))).toBeGreaterThan(0)
})

test("GitHub's document has more than a thousand operations, each a tool", () => {
  const github = outcomes.at(-1)
  expect(github?.declared).toBeGreaterThan(1_000)
  expect(github?.tools).toBe(github?.declared ?? 0)
})

function sum(of: (outcome: ImportOutcome) => number): number {
  return outcomes.reduce((total, outcome) => total + of(outcome), 0)
}
