/** Tools of real documents: each field and alternative can be filled, each list says of what, each wire name has one key. */
import { beforeAll, expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { importDocument } from '@bmm/generator/openapi/import-document.ts'
import { directoryDocuments } from './documents.ts'
import { toolFaults } from './fidelity/tool-faults.ts'
import { INSTALL_TIMEOUT_MS, installCorpus } from './packages.ts'
import { unfillableParts } from './tool-soundness.ts'

/** Each n-th document by name, the largest left out: the choice follows from the package and nothing else. */
const EACH = 60
const MAX_BYTES = 1_000_000
const MIN_TOOLS = 500
const RUN_TIMEOUT_MS = 300_000

beforeAll(installCorpus, INSTALL_TIMEOUT_MS)

test(
  'has no part that nothing fills, no list without items, no wire name under two keys',
  async () => {
    const sample = directoryDocuments().filter(
      ({ bytes }, index) => index % EACH === 0 && bytes <= MAX_BYTES,
    )
    const faults: string[] = []
    let tools = 0
    for (const { name, path } of sample) {
      const { spec } = await importDocument(readFileSync(path), {
        baseUrl: 'https://api.example.com',
      })
      for (const tool of spec.tools) {
        const { operation } = tool
        if (operation === undefined) continue
        tools += 1
        const found = [...toolFaults({ ...tool, operation }), ...unfillableParts(tool.inputSchema)]
        faults.push(...found.map(({ where, why }) => `${name} ${tool.name} ${where}: ${why}`))
      }
    }
    expect(faults).toEqual([])
    expect(tools).toBeGreaterThan(MIN_TOOLS)
  },
  RUN_TIMEOUT_MS,
)

test.each([
  ['a', { properties: { a: { type: 'string', enum: [1] } } }],
  [
    'b/*',
    { properties: { b: { type: 'array', items: { type: 'integer', minimum: 3, maximum: 1 } } } },
  ],
  [
    'c/|1',
    { properties: { c: { type: 'string', anyOf: [{ minLength: 1 }, { type: 'object' }] } } },
  ],
  [
    '',
    {
      properties: { d: { type: 'string' } },
      required: ['d', 'e'],
      additionalProperties: false,
    },
  ],
])('finds the part %p that nothing fills', (where, schema) => {
  expect(unfillableParts({ type: 'object', ...schema }).map((each) => each.where)).toEqual([where])
})

test('finds nothing in a schema whose every part can be filled', () => {
  const union = { anyOf: [{ type: 'null' }, { type: 'string', pattern: '^a+$' }] }
  const closed = { type: 'object', properties: { union }, additionalProperties: false }
  expect(unfillableParts({ type: 'object', properties: { closed, never: { not: {} } } })).toEqual(
    [],
  )
})
