import { expect, test } from 'bun:test'
import {
  parseServerSpec,
  type ServerSpec,
  serverSpecBytes,
  serverSpecSchema,
} from './server-spec.ts'

const tool: ServerSpec['tools'][number] = {
  name: 'list_pets',
  description: 'Lists pets.',
  inputSchema: { type: 'object' },
  annotations: {
    readOnlyHint: true,
    destructiveHint: false,
    idempotentHint: true,
    openWorldHint: true,
  },
  operation: { method: 'GET', url: 'https://api.example.com/pets', parameters: [] },
  examples: [],
}
const spec: ServerSpec = {
  specVersion: 1,
  name: 'Pets',
  description: '',
  tools: [tool],
  credentials: [],
  egress: [{ origin: 'https://api.example.com' }],
}
const faults = (value: unknown) =>
  serverSpecSchema.safeParse(value).error?.issues.map((issue) => issue.path.join('.')) ?? []

test('bytes and spec are each other’s inverse', () => {
  expect(parseServerSpec(serverSpecBytes(spec))).toEqual(spec)
})

test.each([
  ['an unknown field', { ...spec, resources: [] }, ''],
  ['an unknown field of a tool', { ...spec, tools: [{ ...tool, run: 'x' }] }, 'tools.0'],
  ['two tools of one name', { ...spec, tools: [tool, tool] }, 'tools.1'],
  ['a name outside the alphabet', { ...spec, tools: [{ ...tool, name: 'a.b' }] }, 'tools.0.name'],
  [
    'both operation and code',
    { ...spec, tools: [{ ...tool, implementation: 'return 1' }] },
    'tools.0',
  ],
  [
    'neither operation nor code',
    { ...spec, tools: [{ ...tool, operation: undefined }] },
    'tools.0',
  ],
  [
    'a root anyOf',
    { ...spec, tools: [{ ...tool, inputSchema: { type: 'object', anyOf: [] } }] },
    'tools.0.inputSchema',
  ],
  [
    'a root that is no object',
    { ...spec, tools: [{ ...tool, inputSchema: { type: 'array' } }] },
    'tools.0.inputSchema',
  ],
  [
    'an origin with a path',
    { ...spec, egress: [{ origin: 'https://a.example/x' }] },
    'egress.0.origin',
  ],
  [
    'an origin with a default port',
    { ...spec, egress: [{ origin: 'https://a.example:443' }] },
    'egress.0.origin',
  ],
  [
    'an origin in upper case',
    { ...spec, egress: [{ origin: 'https://A.example' }] },
    'egress.0.origin',
  ],
  ['a file origin', { ...spec, egress: [{ origin: 'file://' }] }, 'egress.0.origin'],
])('%s is refused, with its place', (_what, value, path) => {
  expect(faults(value)).toContain(path)
})

test.each([
  [{ scheme: 'bearer', parameter: 'X-Key' }, 'parameter'],
  [{ scheme: 'header' }, 'parameter'],
  [{ scheme: 'header', parameter: 'X Key' }, 'parameter'],
  [{ scheme: 'query', parameter: 'key', name: 'lower' }, 'name'],
  [{ scheme: 'query', parameter: 'key', origins: [] }, 'origins'],
])('a credential with %j is refused', (changes, path) => {
  const credential = {
    name: 'API_KEY',
    description: '',
    origins: ['https://api.example.com'],
    ...changes,
  }
  expect(faults({ ...spec, credentials: [credential] })).toContain(`credentials.0.${path}`)
})
