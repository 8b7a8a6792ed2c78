/** Whole documents of every dialect become drafts. */
import { describe, expect, test } from 'bun:test'
import { drafted, fixture, toolOf } from './testing.ts'

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

  test('names credentials, and makes the rarer of two in one header optional', () => {
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
      {
        name: 'VISITOR',
        description: 'OAuth 2.0 access token, sent as a bearer token.',
        scheme: 'bearer',
        origins: ['https://bookshop.example'],
        optional: true,
      },
    ])
    expect(draft.warnings).toContainEqual({
      path: '/paths/~1orders/post',
      message:
        'The operation sends the credential VISITOR where most others send STAFF. Until VISITOR has a value, it is called without a credential there.',
    })
    expect(draft.spec.egress[0]?.operations?.map(({ credentials }) => credentials)).toEqual([
      ...[['SHOP_KEY'], ['SHOP_KEY'], ['STAFF'], [], ['VISITOR']],
    ])
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
      contentType: 'image/*',
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
      { key: 'files', name: 'files', file: true, contentType: 'image/png, image/jpeg' },
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
