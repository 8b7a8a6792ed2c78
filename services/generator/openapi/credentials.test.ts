import { describe, expect, test } from 'bun:test'
import { drafted, toolOf } from './testing.ts'

const token = { type: 'http', scheme: 'bearer' }
const ok = { responses: { 200: { description: 'ok' } } }

function secured(paths: Record<string, object>, schemes: object, more: object = {}): object {
  return {
    openapi: '3.0.3',
    info: { title: 'Doors', version: '1' },
    servers: [{ url: 'https://api.example.com' }],
    components: { securitySchemes: schemes },
    paths: Object.fromEntries(
      Object.entries(paths).map(([path, operation]) => [path, { get: { ...ok, ...operation } }]),
    ),
    ...more,
  }
}

function sentBy(document: object): Record<string, readonly string[] | undefined> {
  const [egress] = drafted(document).spec.egress
  return Object.fromEntries(
    (egress?.operations ?? []).map(({ path, credentials }) => [path, credentials]),
  )
}

describe('an operation', () => {
  test('with empty security is public', () => {
    const document = secured(
      { '/private': {}, '/public': { security: [] } },
      { token },
      { security: [{ token: [] }] },
    )
    expect(sentBy(document)).toEqual({ '/private': undefined, '/public': [] })
  })

  test('sends the scheme that it names, not another one of the same header', () => {
    const basic = { type: 'http', scheme: 'basic' }
    const document = secured(
      { '/a': {}, '/b': {}, '/login': { security: [{ basic: [] }] } },
      { token, basic },
      { security: [{ token: [] }] },
    )
    expect(sentBy(document)).toEqual({ '/a': ['TOKEN'], '/b': ['TOKEN'], '/login': ['BASIC'] })
    const { spec, warnings } = drafted(document)
    expect(spec.credentials.map(({ name, optional }) => [name, optional])).toEqual([
      ['TOKEN', undefined],
      ['BASIC', true],
    ])
    expect(warnings).toContainEqual({
      path: '/paths/~1login/get',
      message:
        'The operation sends the credential BASIC where most others send TOKEN. Until BASIC has a value, it is called without a credential there.',
    })
  })

  test('with alternatives takes the one that the others need as well', () => {
    const key = { type: 'apiKey', in: 'header', name: 'X-Key' }
    const document = secured(
      { '/a': {}, '/b': {}, '/c': { security: [{ other: [] }, { token: [] }] } },
      { token, key, other: { type: 'http', scheme: 'basic' } },
      { security: [{ token: [] }] },
    )
    expect(drafted(document).spec.credentials.map(({ name }) => name)).toEqual(['TOKEN'])
    expect(sentBy(document)['/c']).toBeUndefined()
  })

  test('of which the document says nothing sends what the others send', () => {
    const document = secured({ '/a': { security: [{ token: [] }] }, '/b': {} }, { token })
    expect(sentBy(document)).toEqual({ '/a': undefined, '/b': undefined })
  })

  test('that asks for two values in one header is warned of', () => {
    const basic = { type: 'http', scheme: 'basic' }
    const { spec, warnings } = drafted(
      secured({ '/a': { security: [{ token: [], basic: [] }] } }, { token, basic }),
    )
    expect(spec.credentials).toEqual([])
    expect(warnings[0]?.message).toContain('two credentials in the same place')
  })

  test('keeps a parameter that only other operations fill by a credential', () => {
    const key = { type: 'apiKey', in: 'query', name: 'key' }
    const parameters = [{ name: 'key', in: 'query', schema: { type: 'string' } }]
    const draft = drafted(
      secured(
        {
          '/private': { operationId: 'private', parameters },
          '/public': { operationId: 'public', parameters, security: [] },
        },
        { key },
        { security: [{ key: [] }] },
      ),
    )
    expect(toolOf(draft, 'private').operation.parameters).toEqual([])
    expect(toolOf(draft, 'public').operation.parameters).toHaveLength(1)
  })
})

test('two operations that differ in their query alone send the credentials of both', () => {
  const key = { type: 'apiKey', in: 'header', name: 'X-Key' }
  const document = secured(
    { '/x?a=1': { security: [{ token: [] }] }, '/x?a=2': { security: [] }, '/y': {} },
    { token, key },
    { security: [{ token: [], key: [] }] },
  )
  expect(sentBy(document)).toEqual({ '/x': ['TOKEN'], '/y': undefined })
})
