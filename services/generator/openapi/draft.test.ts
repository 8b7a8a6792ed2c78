/** Whole documents of every dialect become drafts; hostile ones become harmless ones. */
import { describe, expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { serverSpecSchema, type ToolSpec } from '@bmm/spec/server-spec'
import { type Draft, draftFromOpenApi, type ImportOptions } from './draft.ts'
import { ImportError } from './import-error.ts'

const documentUrl = 'https://notes.example/docs/api.yaml'

function fixture(name: string): string {
  return readFileSync(new URL(`fixtures/${name}`, import.meta.url), 'utf8')
}

function drafted(text: string | object, options: ImportOptions = { documentUrl }): Draft {
  const draft = draftFromOpenApi(typeof text === 'string' ? text : JSON.stringify(text), options)
  expect(serverSpecSchema.parse(draft.spec)).toEqual(draft.spec)
  return draft
}

function toolOf(
  draft: Draft,
  name: string,
): ToolSpec & { operation: NonNullable<ToolSpec['operation']> } {
  const tool = draft.spec.tools.find((one) => one.name === name)
  if (tool?.operation === undefined) throw new Error(`no tool ${name}`)
  return { ...tool, operation: tool.operation }
}

/** A document of one operation. */
function oneOperation(operation: object, more: object = {}): object {
  return {
    openapi: '3.1.0',
    info: { title: 'T' },
    servers: [{ url: 'https://api.example.com' }],
    paths: { '/things': { post: { operationId: 'run', responses: {}, ...operation } } },
    ...more,
  }
}

function bodyOf(schema: object, more: object = {}): object {
  return { requestBody: { required: true, content: { 'application/json': { schema } } }, ...more }
}

function inputOf(schema: object, components: object = {}): Record<string, unknown> {
  return toolOf(drafted(oneOperation(bodyOf(schema), { components })), 'run').inputSchema
}

describe('Swagger 2.0', () => {
  const draft = drafted(fixture('bookshop-swagger-2.0.yaml'))

  test('takes the https scheme, and names tools by sanitised operationId or method and path', () => {
    expect(
      draft.spec.tools.map(({ name, operation }) => [name, operation?.method, operation?.url]),
    ).toEqual([
      ['list_books', 'GET', 'https://bookshop.example/api/books'],
      ['list-books', 'POST', 'https://bookshop.example/api/books'],
      ['put_books_isbn_cover', 'PUT', 'https://bookshop.example/api/books/{isbn}/cover'],
      ['remove-cover', 'DELETE', 'https://bookshop.example/api/books/{isbn}/cover'],
      ['order', 'POST', 'https://bookshop.example/api/orders'],
    ])
  })

  test('turns collectionFormat into styles and leaves the credential header to the broker', () => {
    const { operation, inputSchema } = toolOf(draft, 'list_books')
    expect(operation.parameters).toEqual([
      { key: 'page', name: 'page', in: 'query', style: 'form', explode: true },
      { key: 'genre', name: 'genre[]', in: 'query', style: 'form', explode: true },
      { key: 'fields', name: 'fields', in: 'query', style: 'form', explode: false },
      { key: 'sizes', name: 'sizes', in: 'query', style: 'pipeDelimited', explode: false },
      { key: 'X-Trace', name: 'X-Trace', in: 'header', style: 'simple', explode: false },
    ])
    expect(inputSchema.properties).toMatchObject({
      page: { type: 'integer', exclusiveMinimum: 0, default: 1 },
      genre: { type: 'array', items: { type: 'string', enum: ['crime', 'poetry'] } },
    })
  })

  test('flattens an allOf body, drops what is read-only, keeps the way back of renamed keys', () => {
    const { operation, inputSchema } = toolOf(draft, 'list-books')
    expect(operation.body).toEqual({
      kind: 'json',
      contentType: 'application/json',
      required: true,
      fields: [
        { key: 'author', name: 'author' },
        { key: 'price_eur', name: 'price@eur' },
        { key: 'title', name: 'title' },
      ],
    })
    expect(operation.renames).toEqual([{ at: ['author', 'born-in', 'year'], wire: '$year' }])
    expect(inputSchema.required).toEqual(['author', 'title'])
    expect(inputSchema.properties).toMatchObject({
      title: { type: ['string', 'null'], minLength: 1, examples: ['Dubliners'] },
      author: {
        properties: { mentor: { type: 'object', description: 'Once more as Author above.' } },
      },
    })
  })

  test('sends files as multipart and formData as a form', () => {
    expect(toolOf(draft, 'put_books_isbn_cover').operation.body).toMatchObject({
      kind: 'multipart',
      fields: [
        { key: 'image', name: 'image', file: true },
        { key: 'caption', name: 'caption' },
      ],
    })
    expect(toolOf(draft, 'order').operation.body).toMatchObject({
      kind: 'form',
      fields: [{ key: 'isbns', style: 'form', explode: false }, { key: 'gift' }],
    })
  })

  test('computes hints from the method and says what is deprecated', () => {
    expect(toolOf(draft, 'list_books').annotations).toEqual({
      readOnlyHint: true,
      destructiveHint: false,
      idempotentHint: true,
      openWorldHint: true,
    })
    expect(toolOf(draft, 'list-books').annotations).toMatchObject({
      readOnlyHint: false,
      destructiveHint: true,
      idempotentHint: false,
    })
    expect(toolOf(draft, 'remove-cover').annotations.idempotentHint).toBe(true)
    expect(toolOf(draft, 'remove-cover').description).toStartWith('Deprecated.')
  })

  test('names credentials, and warns where two would meet in one header', () => {
    expect(draft.spec.credentials).toEqual([
      {
        name: 'SHOP_KEY',
        description: 'API key, sent as the header "X-Shop-Key".\nFrom the shop\'s settings.',
        scheme: 'header',
        parameter: 'X-Shop-Key',
        origins: ['https://bookshop.example'],
      },
      {
        name: 'STAFF',
        description:
          'User name and password as "name:password", sent by HTTP basic authentication.',
        scheme: 'basic',
        origins: ['https://bookshop.example'],
      },
    ])
    expect(draft.warnings[0]).toMatchObject({ path: '/paths/~1orders/post' })
    expect(draft.warnings[0]?.message).toContain('already sends another one')
  })

  test('counts tags', () => {
    expect(draft.tags).toEqual([
      { name: 'books', count: 3 },
      { name: 'orders', count: 1 },
    ])
  })
})

describe('OpenAPI 3.0', () => {
  const draft = drafted(fixture('library-openapi-3.0.json'))

  test('takes the first http server with the defaults of its variables', () => {
    expect(draft.spec.egress.map(({ origin }) => origin)).toEqual([
      'https://eu.library.example:8443',
      'https://search.library.example',
    ])
    expect(draft.spec.egress[0]?.operations?.[0]).toEqual({ method: 'GET', path: '/v2/loans' })
  })

  test('takes the first security alternative that is wholly supported', () => {
    expect(draft.spec.credentials.map(({ name, scheme }) => [name, scheme])).toEqual([
      ['READER', 'bearer'],
      ['CARD', 'query'],
    ])
    expect(draft.spec.credentials[0]?.origins).toHaveLength(2)
  })

  test('keeps deep objects, content parameters, cookies; leaves out Accept and the credential', () => {
    const { operation } = toolOf(draft, 'listLoans')
    expect(operation.parameters.map(({ key, in: place, style }) => [key, place, style])).toEqual([
      ['filter', 'query', 'deepObject'],
      ['where', 'query', 'form'],
      ['top', 'query', 'form'],
      ['lang', 'cookie', 'form'],
    ])
    expect(operation.parameters[1]?.contentType).toBe('application/json')
    expect(operation.renames).toEqual([{ at: ['filter', 'due_before'], wire: 'due[before]' }])
    expect(operation.accept).toBe('application/json')
  })

  test('keeps the body whole where a key collides or it is a union', () => {
    expect(toolOf(draft, 'changeLoan').operation.body).toMatchObject({ key: 'body' })
    expect(toolOf(draft, 'changeLoan').inputSchema.required).toEqual(['id'])
    expect(toolOf(draft, 'search').inputSchema).toMatchObject({
      type: 'object',
      properties: { body: { anyOf: [{ type: 'object' }, { type: 'object' }] } },
    })
  })

  test('sends text and bytes', () => {
    expect(toolOf(draft, 'importBooks').operation.body).toMatchObject({
      kind: 'text',
      contentType: 'text/csv',
    })
    expect(toolOf(draft, 'scan').operation.body).toMatchObject({
      kind: 'binary',
      contentType: 'application/octet-stream',
      key: 'body',
    })
  })

  test('refuses external references and TRACE with a sentence and the place', () => {
    expect(draft.refusals).toEqual([
      {
        path: '/paths/~1loans~1{id}/trace',
        operation: 'TRACE /loans/{id}',
        message: 'The method TRACE is not one that a tool can send.',
      },
      {
        path: '/paths/~1elsewhere/get',
        operation: 'GET /elsewhere',
        message:
          'The reference "https://other.example/common.json#/Page" leads out of the document. External references are not followed: bundle the document into one file first.',
      },
    ])
  })

  test('warns about callbacks, links, dangling and recursive references', () => {
    const said = draft.warnings.map(({ message }) => message).join('\n')
    for (const part of ['Callbacks', 'Links', 'points to nothing', 'contains itself']) {
      expect(said).toContain(part)
    }
  })
})

describe('OpenAPI 3.1', () => {
  const draft = drafted(fixture('notes-openapi-3.1.yaml'))

  test('resolves relative servers, path items and anchors', () => {
    expect(toolOf(draft, 'putNote').operation.url).toBe('https://notes.example/v1/notes/{noteId}')
    expect(toolOf(draft, 'putNote').operation.renames).toEqual([
      { at: ['body', 'tags', '*', 'color'], wire: '#color' },
    ])
  })

  test('sends lists of files with the media types of the encoding', () => {
    expect(toolOf(draft, 'post_notes_noteId_files').operation.body?.fields).toEqual([
      { key: 'files', name: 'files', file: true, contentType: 'image/png' },
      { key: 'meta', name: 'meta', contentType: 'application/json' },
    ])
  })

  test('flattens a union that only says which fields go together', () => {
    const tool = toolOf(draft, 'rename')
    expect(tool.inputSchema.properties).toEqual({
      from: { type: ['string', 'null'] },
      id: { type: ['integer', 'null'] },
      to: { description: 'New name', const: 'x' },
    })
    expect(tool.description).toBe('POST /rename\n\nGive at least one of: from; id.')
  })

  test('lets a path parameter span segments where the template says so', () => {
    const { operation } = toolOf(draft, 'tree_read_everything')
    expect(operation.url).toBe('https://notes.example/v1/tree/{+path}')
    expect(operation.parameters[0]?.allowReserved).toBe(true)
  })
})

describe('OpenAPI 3.2', () => {
  const draft = drafted(fixture('weather-openapi-3.2.yaml'))

  test('has QUERY, refuses other methods', () => {
    expect(toolOf(draft, 'findStations').operation.method).toBe('QUERY')
    expect(toolOf(draft, 'findStations').annotations.readOnlyHint).toBe(true)
    expect(draft.refusals).toEqual([
      {
        path: '/paths/~1stations/additionalOperations/LOCK',
        operation: 'LOCK /stations',
        message: 'The method LOCK is not one that a tool can send.',
      },
    ])
  })

  test('sends streams of items as text and query strings as fields', () => {
    expect(toolOf(draft, 'addReadings').operation.body).toMatchObject({
      kind: 'text',
      contentType: 'application/jsonl',
    })
    expect(toolOf(draft, 'readings').operation.parameters.map(({ name }) => name)).toEqual([
      'sid',
      'from',
      'max[deg]',
    ])
  })

  test('knows its own address by $self', () => {
    expect(toolOf(draft, 'station').inputSchema.properties).toEqual({
      id: { type: 'string', minLength: 2 },
    })
  })
})

describe('JSON and YAML', () => {
  test('give the same draft', () => {
    const json = fixture('library-openapi-3.0.json')
    expect(drafted(Bun.YAML.stringify(JSON.parse(json), null, 2))).toEqual(drafted(json))
  })

  test('of the same bytes give the same draft twice', () => {
    const text = fixture('bookshop-swagger-2.0.yaml')
    expect(JSON.stringify(drafted(text))).toBe(JSON.stringify(drafted(text)))
  })
})

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
    [relative, 'on which host'],
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

  test('of equal kind in one place is one credential', () => {
    const schemes = {
      user: { type: 'oauth2', flows: {} },
      app: { type: 'http', scheme: 'bearer' },
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
      'None of the 7 operations matches the filters.',
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
