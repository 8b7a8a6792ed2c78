/** A sample of the fidelity run: requests of real documents, read back by an independent reader. `./bmm bench fidelity` runs the whole. */
import { beforeAll, expect, test } from 'bun:test'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { directoryDocuments } from '../documents.ts'
import { otherDocuments } from '../other-documents.ts'
import { INSTALL_TIMEOUT_MS, installCorpus } from '../packages.ts'
import { total } from './outcome.ts'
import { causeLines, shares, writeReport } from './report.ts'
import { judgeAll } from './run.ts'

const RUN_TIMEOUT_MS = 600_000
/** Each n-th document by name, so that the choice follows from the package and nothing else. */
const EACH = 24
/** The largest ones take most of the time of a run, and are left to the whole run. */
const MAX_BYTES = 1_500_000
const MIN_TOOLS = 5_000
const MAX_SHOWN = 30

/** What no tool may be: two keys of one name, lists of nothing, schemas that nothing fits, operations of no address. */
const never = ['twin-key', 'no-items', 'no-input', 'unmatched', 'reader-failed']

beforeAll(installCorpus, INSTALL_TIMEOUT_MS)

test(
  'sends what the documents of a sample say, and their examples as they stand there',
  async () => {
    const sample = [
      ...directoryDocuments().filter((_document, index) => index % EACH === 0),
      ...otherDocuments(),
    ].filter(({ bytes }) => bytes <= MAX_BYTES)
    const outcomes = await judgeAll(sample)
    writeReport(join(tmpdir(), 'bmm-fidelity-sample.json'), outcomes)
    process.stderr.write(`${causeLines(outcomes, MAX_SHOWN).join('\n')}\n`)
    const counts = total(outcomes)
    const { validTools, validInputs, equalExamples } = shares(counts)
    expect(counts.tools).toBeGreaterThan(MIN_TOOLS)
    expect(counts.tools + counts.refused).toBe(counts.operations)
    expect(validTools).toBeGreaterThanOrEqual(0.99)
    expect(validInputs).toBeGreaterThanOrEqual(0.99)
    expect(equalExamples).toBeGreaterThanOrEqual(0.995)
    const unexplained = outcomes
      .flatMap(({ exceptions }) => exceptions.map(({ fault }) => fault))
      .filter(({ cause }) => cause === undefined)
    expect(unexplained.filter(({ kind }) => never.includes(kind))).toEqual([])
  },
  RUN_TIMEOUT_MS,
)
