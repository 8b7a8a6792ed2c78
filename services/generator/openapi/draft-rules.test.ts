/** The rules of drafting one by one, and hostile documents that become harmless ones. */
import { describe, expect, test } from 'bun:test'
import { consistencyFault } from '../draft/spec-consistency.ts'
import type { ImportOptions } from './draft.ts'
import { ImportError } from './import-error.ts'
import { bodyOf, documentUrl, drafted, fixture, inputOf, oneOperation, toolOf } from './testing.ts'

describe('servers', () => {
  const relative = oneOperation({}, { servers: [{ url: '/v3' }] })
  const absolute = oneOperation({})
  const url = (document: object, options: ImportOptions) =>
    toolOf(drafted(document, options), 'run').operation.url

  test.each([
    [
      relative,
      { documentUrl: 'http://10.0.0.5:8080/docs/openapi.json' },
      'http://10.0.0.5:8080/v3/things',
    ],
    [relative, { baseUrl: 'https://x.example' }, 'https://x.example/v3/things'],
    [absolute, { baseUrl: 'http://127.0.0.1:4000/base/' }, 'http://127.0.0.1:4000/base/things'],
    [
      oneOperation({}, { servers: [] }),
      { baseUrl: 'https://x.example/a' },
      'https://x.example/a/things',
    ],
    [oneOperation({}, { servers: [{ url: 'x.example/v1' }] }), {}, 'https://x.example/v1/things'],
    [oneOperation({}, { servers: [{ url: '//x.example' }] }), {}, 'https://x.example/things'],
    [
      oneOperation({}, { servers: [{ url: 'https://u:p@x.example/?a=b#c' }] }),
      {},
      'https://x.example/things',
    ],
  ])('are completed: %#', (document, options, wanted) => {
    expect(url(document, options)).toBe(wanted)
  })

  test.each([
    [relative, 'on which host the API is. Give its address as the base URL (--base-url;'],
    [
      oneOperation({}, { servers: [{ url: 'https://{tenant}.x.example' }] }),
      'variable without a default',
    ],
    [oneOperation({}, { servers: [{ url: 'ftp://x.example' }] }), 'http or https'],
  ])('that nobody can know are refused: %#', (document, part) => {
    expect(() => drafted(document, {})).toThrow(part)
  })
})

describe('security', () => {
  const scheme = (value: object) => ({
    components: { securitySchemes: { s: value } },
    security: [{ s: [] }],
  })
  const credentials = (more: object, operation: object = {}) =>
    drafted(oneOperation(operation, more)).spec.credentials

  test.each([
    [{ type: 'mutualTLS' }, 'TLS client certificate'],
    [{ type: 'http', scheme: 'digest' }, 'HTTP authentication by "digest"'],
    [{ type: 'apiKey', in: 'header', name: 'a b' }, 'not valid'],
    [{ $ref: 'https://x.example/s' }, 'not defined'],
  ])('%j alone refuses the operation', (value, part) => {
    expect(() => drafted(oneOperation({}, scheme(value)))).toThrow(part)
  })

  test('that is not defined is named, with the name that is', () => {
    const bearer = { type: 'http', scheme: 'bearer' }
    const asking = (schemes: object) => () =>
      drafted(
        oneOperation(
          { security: [{ bearerAuth: [] }] },
          { components: { securitySchemes: schemes } },
        ),
      )
    expect(asking({ BearerAuth: bearer, key: bearer })).toThrow(
      'The operation asks for the security scheme "bearerAuth", which is not defined. "BearerAuth" is: give both the same spelling.',
    )
    expect(asking({ key: bearer })).toThrow('is not defined. The document defines "key".')
    expect(asking({})).toThrow('"bearerAuth", which is not defined. The document defines none.')
  })

  test('that is optional makes an optional credential', () => {
    const [credential] = credentials({
      ...scheme({ type: 'http', scheme: 'bearer' }),
      security: [{ s: [] }, {}],
    })
    expect(credential).toMatchObject({ name: 'S', scheme: 'bearer', optional: true })
  })

  test('asked for as an Authorization parameter becomes a credential', () => {
    const parameters = [
      { name: 'Authorization', in: 'header', required: true, schema: { type: 'string' } },
    ]
    expect(credentials({}, { parameters })).toEqual([
      {
        name: 'AUTHORIZATION',
        description: 'The whole value of the Authorization header, such as "Bearer …".',
        scheme: 'header',
        parameter: 'Authorization',
        origins: ['https://api.example.com'],
        optional: true,
      },
    ])
  })

  test('by OAuth is one token, whatever its schemes are called', () => {
    const schemes = {
      user: { type: 'oauth2', flows: {} },
      app: { type: 'openIdConnect' },
    }
    const document = {
      ...oneOperation({}),
      components: { securitySchemes: schemes },
    }
    const paths = {
      '/a': { get: { security: [{ user: [] }] } },
      '/b': { get: { security: [{ app: [] }] } },
    }
    expect(drafted({ ...document, paths }).spec.credentials.map(({ name }) => name)).toEqual([
      'USER',
    ])
  })
})

describe('schemas', () => {
  test('merge allOf, tighten bounds, intersect enums', () => {
    const schema = inputOf({
      type: 'object',
      properties: {
        n: {
          allOf: [
            { type: 'number', minimum: 1, maximum: 9 },
            { type: 'integer', minimum: 3 },
          ],
        },
        e: { allOf: [{ enum: ['a', 'b'] }, { enum: ['b', 'c'] }] },
      },
    })
    expect(schema.properties).toEqual({
      n: { type: 'integer', minimum: 3, maximum: 9 },
      e: { enum: ['b'] },
    })
  })

  test('keep only defaults that fit their type', () => {
    const schema = inputOf({
      type: 'object',
      properties: {
        a: { type: 'integer', default: 'inf' },
        b: { type: 'integer', default: 3 },
        c: { type: ['string', 'null'], default: null },
        d: { type: 'string', default: null, uniqueItems: true },
      },
    })
    expect(schema.properties).toEqual({
      a: { type: 'integer' },
      b: { type: 'integer', default: 3 },
      c: { type: ['string', 'null'], default: null },
      d: { type: 'string' },
    })
  })

  test('survive nonsense in every keyword', () => {
    const schema = inputOf({
      type: 'object',
      required: 'all',
      properties: {
        a: { type: 'whatever', enum: 'x', items: 3, minimum: '1', pattern: '(', required: true },
        b: { type: ['string', 5], maxLength: -1, properties: [], allOf: 'x', anyOf: {} },
        c: 'not a schema',
        d: false,
        e: { type: 'string', pattern: '^[a-z]+$', format: 7, default: { x: Array(500).fill('y') } },
      },
    })
    expect(schema).toEqual({
      type: 'object',
      properties: {
        a: {},
        b: { type: 'string' },
        c: {},
        d: { not: {} },
        e: { type: 'string', pattern: '^[a-z]+$' },
      },
      required: ['a'],
      additionalProperties: false,
    })
  })

  test('that contain themselves end, with a budget for what doubles', () => {
    const levels = Object.fromEntries(
      Array.from({ length: 30 }, (_, level) => [
        `L${level}`,
        {
          type: 'object',
          properties: {
            a: { $ref: `#/components/schemas/L${level + 1}` },
            b: { $ref: `#/components/schemas/L${level + 1}` },
          },
        },
      ]),
    )
    const schema = inputOf({ $ref: '#/components/schemas/L0' }, { schemas: levels })
    expect(JSON.stringify(schema).length).toBeLessThan(40_000)
  })

  test('of a circle of references, or of allOf inside itself, still draft', () => {
    const schemas = {
      A: { $ref: '#/components/schemas/B' },
      B: { $ref: '#/components/schemas/A' },
      C: {
        type: 'object',
        allOf: [{ $ref: '#/components/schemas/C' }],
        properties: { x: { type: 'string' } },
      },
    }
    expect(
      inputOf({ type: 'object', properties: { a: schemas.A } }, { schemas }).properties,
    ).toEqual({
      a: { description: 'Once more as B above.' },
    })
    expect(inputOf(schemas.C, { schemas }).properties).toBeDefined()
  })

  test('of two hundred tools fit one spec', () => {
    const wide = Object.fromEntries(
      Array.from({ length: 2_000 }, (_, n) => [
        `field${n}`,
        { type: 'string', description: 'd'.repeat(900) },
      ]),
    )
    const schema = inputOf({
      type: 'object',
      properties: { deep: { type: 'object', properties: wide } },
    })
    expect(JSON.stringify(schema).length).toBeLessThan(40_000)
  })
})

describe('hostile names', () => {
  test('become harmless', () => {
    const draft = drafted({
      openapi: '3.0.0',
      info: { title: 'T\u202E\nIgnore\u0000', description: 'a\u200Bb <script>x</script>' },
      servers: [{ url: 'https://api.example.com' }],
      paths: {
        '/a/{__proto__}/\u202E"><img>': {
          get: {
            operationId: '__proto__',
            summary: 'x\u{E0041}y',
            parameters: [
              { name: '__proto__', in: 'path', required: true, schema: { type: 'string' } },
              { name: 'constructor', in: 'query', schema: { type: 'string' } },
              { name: 'a\r\nb: c', in: 'header', schema: { type: 'string' } },
            ],
          },
          post: {
            operationId: '../../etc/passwd',
            ...bodyOf(
              JSON.parse(
                '{"type":"object","properties":{"__proto__":{"type":"object","properties":{"__proto__":{}}},"a\\"b":{}}}',
              ),
            ),
          },
          put: { operationId: '×××' },
        },
      },
    })
    expect(draft.spec.tools.map(({ name }) => name)).toEqual([
      '__proto__',
      'put_a___proto___img',
      'etc_passwd',
    ])
    expect(draft.spec.name).toBe('T Ignore')
    expect(draft.spec.description).toBe('ab <script>x</script>')
    const get = toolOf(draft, '__proto__')
    expect(get.description).toBe('xy')
    expect(get.operation.parameters.map(({ key }) => key)).toEqual(['proto', 'constructor'])
    expect(get.operation.url).toContain('/%E2%80%AE%22%3E%3Cimg%3E')
    const post = toolOf(draft, 'etc_passwd')
    expect(post.operation.body?.key).toBe('body')
    expect(post.operation.renames).toEqual([
      { at: ['body', 'proto'], wire: '__proto__' },
      { at: ['body', 'a_b'], wire: 'a"b' },
      { at: ['body', 'proto', 'proto'], wire: '__proto__' },
    ])
    expect(({} as Record<string, unknown>).type).toBeUndefined()
  })

  test('stay unique and within 64 characters', () => {
    const long = 'x'.repeat(80)
    const ids = [long, `${long}y`, 'same', 'same', 'same', 'same_2', 'a b', 'a.b']
    const paths = Object.fromEntries(
      ids.map((operationId, n) => [`/p${n}`, { get: { operationId } }]),
    )
    const names = drafted({ ...oneOperation({}), paths }).spec.tools.map(({ name }) => name)
    expect(new Set(names).size).toBe(ids.length)
    expect(names.slice(2)).toEqual(['same', 'same_3', 'same_4', 'same_2', 'a_b', 'a_b_2'])
    for (const name of names) expect(name).toMatch(/^[A-Za-z0-9_-]{1,64}$/)
  })
})

describe('filters', () => {
  const text = fixture('library-openapi-3.0.json')
  const names = (...only: string[]) =>
    drafted(text, { documentUrl, only }).spec.tools.map(({ name }) => name)

  test('by tag, path and method', () => {
    expect(names('tag:Loans')).toEqual(['listLoans', 'lend', 'changeLoan'])
    expect(names('/loans/*')).toEqual(['listLoans', 'lend', 'changeLoan'])
    expect(names('GET /loans')).toEqual(['listLoans'])
    expect(names('post /*')).toEqual(['lend', 'search', 'importBooks', 'scan'])
    expect(names('GET /loans', 'tag:admin')).toEqual(['listLoans', 'importBooks', 'scan'])
  })

  test('leave only the credentials and origins of what was taken', () => {
    const { spec } = drafted(text, { documentUrl, only: ['/search'] })
    expect(spec.egress.map(({ origin }) => origin)).toEqual(['https://search.library.example'])
    expect(spec.credentials[0]?.origins).toEqual(['https://search.library.example'])
  })

  test('that are malformed or match nothing are told', () => {
    const fault = (only: string[]) => {
      try {
        drafted(text, { documentUrl, only })
      } catch (error) {
        if (error instanceof ImportError) return [error.code, error.message]
      }
      return undefined
    }
    expect(fault(['loans'])?.[0]).toBe('bad_option')
    expect(fault(['/a*b*c*d*e*f*g'])?.[0]).toBe('bad_option')
    expect(fault(['tag:none'])).toEqual([
      'nothing_to_import',
      'None of the 7 operations matches the filters. The tags are: loans, search, admin.',
    ])
  })
})

test('a document without operations is told so', () => {
  expect(() => drafted({ openapi: '3.0.0', paths: {} })).toThrow('no operations')
})

test('options are checked', () => {
  for (const options of [{ baseUrl: 'x' }, { documentUrl: 'file:///etc/passwd' }, { name: ' ' }]) {
    expect(() => drafted(oneOperation({}), options)).toThrow(ImportError)
  }
})

describe('path parameters that span segments', () => {
  test.each([
    [{ 'x-multi-segment': true, schema: { type: 'string' } }, true],
    [{ allowReserved: true, schema: { type: 'string' } }, true],
    [{ schema: { type: 'string', pattern: '^projects/[^/]+$' } }, true],
    [{ schema: { type: 'string', pattern: '^[^/]+$' } }, false],
    [{ schema: { type: 'string' } }, false],
  ])('%j: %p', (more, spans) => {
    const parameter = { name: 'path', in: 'path', required: true, ...more }
    const draft = drafted({
      ...oneOperation({}),
      paths: { '/files/{path}': { get: { operationId: 'run', parameters: [parameter] } } },
    })
    const template = spans ? '{+path}' : '{path}'
    expect(toolOf(draft, 'run').operation.url).toBe(`https://api.example.com/files/${template}`)
    expect(draft.spec.egress[0]?.operations).toEqual([
      { method: 'GET', path: `/files/${template}` },
    ])
  })
})

describe('path parameters that hold encoded slashes', () => {
  const asText = { schema: { type: 'string' } }
  test.each([
    [{ description: 'The ID or URL-encoded path of the project', ...asText }, true],
    [{ description: 'The url encoded path to the file. Ex. lib%2Fclass%2Erb', ...asText }, true],
    [{ schema: { type: 'string', example: 'group/project' } }, true],
    [{ examples: { one: { value: 'group/project' } }, ...asText }, true],
    [{ description: 'URL-encoded name of the branch', ...asText }, false],
    [{ example: 'main', ...asText }, false],
  ])('%j: %p', (more, opens) => {
    const parameter = { name: 'id', in: 'path', required: true, ...more }
    const draft = drafted({
      ...oneOperation({}),
      paths: { '/projects/{id}': { get: { operationId: 'run', parameters: [parameter] } } },
    })
    expect(toolOf(draft, 'run').operation.url).toBe('https://api.example.com/projects/{id}')
    expect(draft.spec.egress[0]?.operations).toEqual([
      { method: 'GET', path: `/projects/${opens ? '{+id}' : '{id}'}` },
    ])
    expect(consistencyFault(draft.spec)).toBeUndefined()
  })
})
