/** What a spec may say only together. */
import { describe, expect, test } from 'bun:test'
import type { OperationSpec, ServerSpec } from '@bmm/spec/server-spec'
import { consistencyFault } from './spec-consistency.ts'

const specOf = (
  url: string,
  part: Partial<ServerSpec> = {},
  method: OperationSpec['method'] = 'GET',
): ServerSpec => ({
  specVersion: 1,
  name: 'x',
  description: '',
  tools: [
    {
      name: 'x',
      description: '',
      inputSchema: { type: 'object' },
      annotations: {
        readOnlyHint: true,
        destructiveHint: false,
        idempotentHint: true,
        openWorldHint: true,
      },
      operation: { method, url, parameters: [] },
      examples: [],
    },
  ],
  credentials: [],
  egress: [
    {
      origin: 'https://a.example',
      operations: [
        { method: 'GET', path: '/v1/{id}' },
        { method: 'GET', path: '/v3/{+id}/files' },
      ],
    },
    { origin: 'http://b.example:8080' },
  ],
  ...part,
})

describe('operations stay within egress', () => {
  for (const url of [
    'https://a.example/v1/{id}',
    'https://a.example/v1/{id}?fixed=1',
    'https://a.example/v3/{id}/files',
    'https://a.example/v3/{+id}/files',
    'http://b.example:8080/anything',
    'http://b.example:8080',
  ]) {
    test(`${url} is fine`, () => expect(consistencyFault(specOf(url))).toBeUndefined())
  }
  for (const url of [
    'https://a.example/v2',
    'https://a.example/v1/{other}',
    'https://a.example/v1/{+id}',
    'https://a.example/v3/{other}/files',
    'http://a.example/v1/{id}',
    'https://a.example:444/v1/{id}',
    'https://a.example.evil.example/v1/{id}',
    'https://a.example@evil.example/v1/{id}',
    'https://{host}/v1/{id}',
    'https://a.example{x}/v1/{id}',
    'https://A.example/v1/{id}',
    'ftp://a.example/v1/{id}',
    'https://a.example\\@evil.example/v1/{id}',
    '//a.example/v1/{id}',
    '',
  ]) {
    test(`${url} is not`, () => {
      expect(consistencyFault(specOf(url))?.path).toBe('/tools/0/operation/url')
    })
  }
  test('another method of an allowed path is not', () => {
    expect(consistencyFault(specOf('https://a.example/v1/{id}', {}, 'DELETE'))).toBeDefined()
  })
})

test('a credential goes to origins of egress only', () => {
  const credential = { name: 'KEY', description: '', scheme: 'bearer' } as const
  const withOrigins = (origins: string[]) =>
    specOf('https://a.example/v1/{id}', { credentials: [{ ...credential, origins }] })
  expect(consistencyFault(withOrigins(['https://a.example']))).toBeUndefined()
  expect(consistencyFault(withOrigins(['https://a.example', 'https://c.example']))).toEqual({
    path: '/credentials/0/origins/1',
    message: 'The credential KEY goes to https://c.example, which is not in egress.',
  })
})

test('an allowed operation names credentials of the spec only', () => {
  const spec = specOf('https://a.example/v1/{id}')
  const egress = [
    {
      origin: 'https://a.example',
      operations: [{ method: 'GET' as const, path: '/v1/{id}', credentials: ['KEY'] }],
    },
  ]
  expect(consistencyFault({ ...spec, egress })).toEqual({
    path: '/egress/0/operations/0/credentials',
    message: 'GET /v1/{id} names the credential KEY, which the spec does not have.',
  })
  const key = {
    name: 'KEY',
    description: '',
    scheme: 'bearer' as const,
    origins: ['https://a.example'],
  }
  expect(consistencyFault({ ...spec, egress, credentials: [key] })).toBeUndefined()
})
