/** Nothing of a document vanishes without a word: each operation, parameter and body is drafted, refused or warned of. */
import { beforeAll, expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { draftFromOpenApi } from '@bmm/generator/openapi/draft.ts'
import { ImportError } from '@bmm/generator/openapi/import-error.ts'
import { type Account, accountOf } from './accounting.ts'
import { type CorpusDocument, directoryDocuments } from './documents.ts'
import { INSTALL_TIMEOUT_MS, installCorpus } from './packages.ts'

/** Each n-th document by name; `./bmm bench directory` accounts for all of them. */
const EACH = 16
const RUN_TIMEOUT_MS = 600_000
const pieces = ['operations', 'parameters', 'bodies'] as const

const shop = {
  openapi: '3.1.0',
  info: { title: 'Shop', version: '1' },
  servers: [{ url: 'https://api.example.com' }],
  paths: {
    '/items/{id}': {
      parameters: [{ name: 'id', in: 'path', required: true, schema: { type: 'string' } }],
      get: {
        parameters: [
          { name: 'lang', in: 'query', schema: { type: 'string' } },
          { name: 'Accept', in: 'header', schema: { type: 'string' } },
          { name: 'gone', in: 'path', required: true, schema: { type: 'string' } },
          { name: 'odd name', in: 'header', schema: { type: 'string' } },
        ],
        responses: {},
      },
      put: {
        requestBody: { content: { 'application/json': { schema: { type: 'object' } } } },
        responses: {},
      },
    },
    '/far': { post: { requestBody: { $ref: 'far.json#/body' }, responses: {} } },
  },
}

beforeAll(installCorpus, INSTALL_TIMEOUT_MS)

test('accounts for what is drafted, ignored by the standard, warned of and refused', () => {
  const account = accountOf(shop, draftFromOpenApi(JSON.stringify(shop)))
  expect(account).toMatchObject({
    operations: { declared: 3, taken: 2, refused: 1, lost: [] },
    parameters: { declared: 6, taken: 3, elsewhere: 1, warned: 2, lost: [] },
    bodies: { taken: 1, lost: [] },
  })
})

test('names each piece that is gone from a draft without a word', () => {
  const draft = draftFromOpenApi(JSON.stringify(shop))
  const [get, put] = draft.spec.tools
  if (get?.operation === undefined || put?.operation === undefined) throw new Error('two tools')
  const withTools = (tools: typeof draft.spec.tools) => ({
    ...draft,
    spec: { ...draft.spec, tools },
  })
  const less = (tool: typeof get, operation: object) => ({
    ...tool,
    operation: Object.assign({}, tool.operation, operation),
  })

  const withoutTool = accountOf(shop, withTools([get]))
  expect(withoutTool.operations.lost).toEqual(['PUT /items/{id}'])

  const withoutParameter = accountOf(shop, withTools([less(get, { parameters: [] }), put]))
  expect(withoutParameter.parameters.lost).toEqual([
    'path id of GET /items/{id}',
    'query lang of GET /items/{id}',
  ])

  const withoutBody = accountOf(shop, withTools([get, less(put, { body: undefined })]))
  expect(withoutBody.bodies.lost).toEqual(['the body of PUT /items/{id}'])

  const withoutWords = accountOf(shop, { ...draft, warnings: [], refusals: [] })
  expect(withoutWords.operations.lost).toEqual(['POST /far'])
  expect(withoutWords.parameters.lost).toEqual([
    'path gone of GET /items/{id}',
    'header odd name of GET /items/{id}',
  ])
})

test(
  'loses no operation, parameter or body of a sample of the directory',
  () => {
    const sample = directoryDocuments().filter((_document, index) => index % EACH === 0)
    const accounts = sample.flatMap((document) => accountFor(document))
    expect(accounts.length).toBeGreaterThan(sample.length * 0.99)
    for (const piece of pieces) {
      const tallies = accounts.map(({ name, account }) => ({ name, ...account[piece] }))
      expect(tallies.flatMap(({ name, lost }) => lost.map((one) => `${name}: ${one}`))).toEqual([])
      const sum = (of: (tally: Account['operations']) => number) =>
        tallies.reduce((total, tally) => total + of(tally), 0)
      const declared = sum((tally) => tally.declared)
      expect(declared).toBeGreaterThan(1_000)
      expect(
        sum(({ taken, refused, warned, elsewhere }) => taken + refused + warned + elsewhere),
      ).toBe(declared)
    }
  },
  RUN_TIMEOUT_MS,
)

/** None for a document that holds nothing to import. */
function accountFor({ name, path }: CorpusDocument): { name: string; account: Account }[] {
  const text = readFileSync(path, 'utf8')
  try {
    const draft = draftFromOpenApi(text, { baseUrl: 'https://api.example.com' })
    return [{ name, account: accountOf(JSON.parse(text), draft) }]
  } catch (error) {
    if (error instanceof ImportError) return []
    throw error
  }
}
