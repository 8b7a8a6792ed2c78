/** What stands in a document in an unusual place or twice: it is followed where that is meant, else it is told. */
import { describe, expect, test } from 'bun:test'
import { draftFromOpenApi } from '@bmm/generator/openapi/draft.ts'
import { schemaCheck } from '@bmm/runner/guest/input.ts'
import { requestFrom } from '@bmm/runner/guest/request.ts'
import { serverSpecSchema } from '@bmm/spec/server-spec'

type Document = Record<string, unknown>
const three = {
  openapi: '3.1.0',
  info: { title: 'T' },
  servers: [{ url: 'https://api.example.com' }],
}
const two = {
  ...{ swagger: '2.0', info: { title: 'T', version: '1' } },
  ...{ host: 'api.example.com', schemes: ['https'] },
}

function imported(document: Document | string) {
  const text = typeof document === 'string' ? document : JSON.stringify(document)
  const draft = draftFromOpenApi(text, {})
  expect(serverSpecSchema.parse(draft.spec)).toEqual(draft.spec)
  const tool = (name: string) => {
    const found = draft.spec.tools.find((each) => each.name === name)
    if (found?.operation === undefined) throw new Error(JSON.stringify(draft.refusals))
    return { ...found, operation: found.operation }
  }
  return {
    ...draft,
    tool,
    told: draft.warnings.map(({ message }) => message).join('\n'),
    /** Method and address, headers, and the body as text. */
    send(name: string, input: Record<string, unknown>) {
      const { inputSchema, operation } = tool(name)
      expect(schemaCheck(inputSchema)(input)).toEqual([])
      const { method, url, headers, body } = requestFrom(operation, input, () => 'boundary')
      const text = body === undefined ? undefined : new TextDecoder().decode(body)
      return { line: `${method} ${url}`, headers: Object.fromEntries(headers), body: text }
    },
  }
}

const query = (name: string, schema: object, more: object = {}) => ({
  ...{ name, in: 'query', schema },
  ...more,
})
const operation = (more: object) => ({ operationId: 'run', responses: {}, ...more })
const jsonBody = (schema: unknown) => ({
  requestBody: { required: true, content: { 'application/json': { schema } } },
})
const named = { type: 'object', required: ['name'], properties: { name: { type: 'string' } } }

describe('names of path parameters', () => {
  test.each(['größe', '$id', 'a b', 'a:b', 'x.y', '状態', "o'clock"])('{%s} are sent', (name) => {
    const parameters = [{ name, in: 'path', required: true, schema: { type: 'string' } }]
    const draft = imported({
      ...three,
      paths: { [`/sizes/{${name}}`]: { get: operation({ parameters }) } },
    })
    const [key = ''] = Object.keys(draft.tool('run').inputSchema.properties as object)
    expect(draft.send('run', { [key]: 'XL' }).line).toBe('GET https://api.example.com/sizes/XL')
  })

  test('that become one key are told apart', () => {
    const parameters = ['a b', 'a_b'].map((name) => ({
      ...{ name, in: 'path', required: true, schema: { type: 'string' } },
    }))
    const draft = imported({
      ...three,
      paths: { '/{a b}/{a_b}': { get: operation({ parameters }) } },
    })
    const { operation: sent } = draft.tool('run')
    const keyOf = (index: number) => sent.parameters[index]?.key ?? ''
    const input = { [keyOf(0)]: '1', [keyOf(1)]: '2' }
    expect(draft.send('run', input).line).toBe('GET https://api.example.com/1/2')
  })

  test('never take an empty value, and the schema says so', () => {
    const parameters = [{ name: 'id', in: 'path', required: true, schema: { type: 'string' } }]
    const draft = imported({ ...three, paths: { '/{id}': { get: operation({ parameters }) } } })
    expect(schemaCheck(draft.tool('run').inputSchema)({ id: '' })).not.toEqual([])
  })
})

describe('a reference where none is allowed', () => {
  test('in the place of an operation is followed, or refused when it leads out', () => {
    const draft = imported({
      ...three,
      paths: {
        '/pets': { get: { $ref: './paths/pets.yaml#/get' } },
        '/owners': { get: { $ref: '#/components/x-operations/owners' } },
      },
      components: { 'x-operations': { owners: operation({}) } },
    })
    expect(draft.refusals).toMatchObject([{ operation: 'GET /pets' }])
    expect(draft.refusals[0]?.message).toContain('leads out')
    expect(draft.send('run', {}).line).toBe('GET https://api.example.com/owners')
  })

  test('in the place of a list of parameters is followed', () => {
    const draft = imported({
      ...three,
      paths: { '/a': { get: operation({ parameters: { $ref: '#/components/x-lists/paging' } }) } },
      components: {
        'x-lists': { paging: [query('page', { type: 'integer' }, { required: true })] },
      },
    })
    expect(draft.send('run', { page: 1 }).line).toBe('GET https://api.example.com/a?page=1')
  })

  test('in the place of content or of properties is followed', () => {
    const draft = imported({
      ...three,
      paths: {
        '/a': {
          post: operation({ requestBody: { content: { $ref: '#/components/x-contents/owner' } } }),
          put: {
            ...{ operationId: 'put', responses: {} },
            ...jsonBody({
              type: 'object',
              properties: { $ref: '#/components/x-properties/owner' },
            }),
          },
        },
      },
      components: {
        'x-contents': { owner: { 'application/json': { schema: named } } },
        'x-properties': { owner: { name: { type: 'string' }, age: { type: 'integer' } } },
      },
    })
    expect(draft.send('run', { name: 'n' }).body).toBe('{"name":"n"}')
    expect(draft.send('put', { name: 'n', age: 1 }).body).toBe('{"name":"n","age":1}')
  })

  test('a property that is called $ref stays one', () => {
    const properties = { $ref: { type: 'string' } }
    const draft = imported({
      ...three,
      paths: { '/a': { post: operation(jsonBody({ type: 'object', properties })) } },
    })
    expect(JSON.stringify(draft.tool('run').operation.body)).toContain('"name":"$ref"')
  })
})

test('a body in the form of the other version is taken, with a warning', () => {
  const parameters = [{ name: 'item', in: 'body', required: true, schema: named }]
  const newer = imported({ ...three, paths: { '/a': { post: operation({ parameters }) } } })
  const older = imported({ ...two, paths: { '/a': { post: operation(jsonBody(named)) } } })
  for (const draft of [newer, older]) {
    expect(draft.send('run', { name: 'a' }).body).toBe('{"name":"a"}')
    expect(draft.told).toContain('It was taken as the body')
  }
})

describe('a key that is written twice', () => {
  test('is told with its lines, in JSON and YAML, and nothing else is', () => {
    const json = `{"openapi":"3.0.3","info":{"title":"T"},"servers":[{"url":"https://a.example"}],
"paths":{"/pets":{"get":{"operationId":"a","responses":{}}},
"/pets":{"post":{"operationId":"b","responses":{}}}}}`
    expect(imported(json).told).toContain('/paths/~1pets is written twice (lines 2 and 3)')
    const yaml = `openapi: 3.0.3
info:
  title: T
  description: |
    /pets:
    /pets:
servers: [{url: "https://a.example"}]
paths:
  "/pets":
    get: {operationId: a, responses: {}}
    get:
      operationId: c
      responses: {}
  /owners:
    get: {operationId: d, responses: {}}
`
    const draft = imported(yaml)
    expect(draft.told).toContain('/paths/~1pets/get is written twice (lines 10 and 11)')
    expect(draft.told.match(/written twice/g)).toHaveLength(1)
  })

  test('in two different objects is not told', () => {
    const document = {
      ...three,
      paths: { '/a': { get: operation({}) }, '/b': { get: { responses: {} } } },
    }
    expect(imported(document).told).not.toContain('written twice')
    expect(imported(Bun.YAML.stringify(document, null, 2)).told).not.toContain('written twice')
  })
})

describe('headers', () => {
  test('Accept and Content-Type of Swagger 2.0 are sent with the value that they may have', () => {
    const type = 'application/vnd.shop.v2+json'
    const header = (name: string, values: string[]) => ({
      ...{ name, in: 'header', required: true, type: 'string', enum: values },
    })
    const parameters = [
      header('Accept', ['text/csv', type]),
      header('Content-Type', [type]),
      { name: 'body', in: 'body', required: true, schema: named },
    ]
    const draft = imported({ ...two, paths: { '/a': { post: operation({ parameters }) } } })
    expect(draft.send('run', { name: 'a' }).headers).toEqual({ accept: type, 'content-type': type })
    expect(draft.told).toContain(`several values: ${type} is sent`)
  })

  test('in two cases are one, the operation’s own', () => {
    const draft = imported({
      ...three,
      paths: {
        '/a': {
          parameters: [{ name: 'X-Id', in: 'header', required: true, schema: { type: 'string' } }],
          get: operation({
            parameters: [{ name: 'x-id', in: 'header', schema: { maxLength: 8 } }],
          }),
        },
      },
    })
    expect(draft.tool('run').inputSchema).toMatchObject({
      properties: { 'x-id': { maxLength: 8 } },
    })
    expect(draft.tool('run').inputSchema).not.toHaveProperty('required')
  })

  test('that the platform writes are told, and Cookie is sent', () => {
    const header = (name: string) => ({ name, in: 'header', schema: { type: 'string' } })
    const parameters = [header('Cookie'), header('Host'), header('Accept')]
    const draft = imported({ ...three, paths: { '/a': { get: operation({ parameters }) } } })
    expect(draft.send('run', { Cookie: 'a=b' }).headers).toEqual({ Cookie: 'a=b' })
    expect(draft.told).toContain('The header Host is written by the platform')
    expect(draft.told).not.toContain('header Accept')
  })
})

describe('servers', () => {
  const urlOf = (servers: object[]) => {
    const draft = imported({ ...three, servers, paths: { '/a': { get: operation({}) } } })
    return { url: draft.tool('run').operation.url, told: draft.told }
  }
  test('by https come before those by http', () => {
    const servers = [{ url: 'http://api.example.com/v1' }, { url: 'https://api.example.com/v1' }]
    expect(urlOf(servers).url).toBe('https://api.example.com/v1/a')
    const scheme = {
      url: '{s}://x.example',
      variables: { s: { default: 'http', enum: ['http', 'https'] } },
    }
    expect(urlOf([scheme]).url).toBe('https://x.example/a')
    expect(urlOf([{ url: 'http://only.example' }]).url).toBe('http://only.example/a')
  })
  test('with a query lose it, with a warning', () => {
    const { url, told } = urlOf([{ url: 'https://api.example.com/v1?api-version=1' }])
    expect(url).toBe('https://api.example.com/v1/a')
    expect(told).toContain('The server URL has a query')
  })
})

test('paths of Azure with a query of their own are operations', () => {
  const draft = imported({
    ...three,
    paths: {},
    'x-ms-paths': { '/blobs?comp=list': { get: operation({}) } },
  })
  expect(draft.send('run', {}).line).toBe('GET https://api.example.com/blobs?comp=list')
})

describe('lists', () => {
  const ids = (collectionFormat: string, place: string) => ({
    ...{ name: 'ids', in: place, type: 'array', collectionFormat, items: { type: 'string' } },
    ...(place === 'path' ? { required: true } : {}),
  })
  const swagger = (parameter: object, path = '/a') =>
    imported({ ...two, paths: { [path]: { get: operation({ parameters: [parameter] }) } } })

  test.each([
    ['tsv', '%09'],
    ['ssv', '%20'],
    ['pipes', '%7C'],
    ['csv', ','],
  ])('in a query by %s', (format, separator) => {
    const { line } = swagger(ids(format, 'query')).send('run', { ids: ['a', 'b'] })
    expect(line).toBe(`GET https://api.example.com/a?ids=a${separator}b`)
  })
  test.each([
    ['tsv', '\t'],
    ['ssv', ' '],
    ['pipes', '|'],
    ['csv', ','],
  ])('in a header by %s', (format, separator) => {
    const { headers } = swagger(ids(format, 'header')).send('run', { ids: ['a', 'b'] })
    expect(headers).toEqual({ ids: `a${separator}b` })
  })

  test('without members are not sent (RFC 6570 section 3.2.1)', () => {
    const list = { type: 'array', items: { type: 'string' } }
    const parameters = [
      query('ids', list, { explode: false }),
      query('bars', list, { style: 'pipeDelimited' }),
      query('deep', { type: 'object' }, { style: 'deepObject' }),
      query('flat', { type: 'object' }, { explode: false }),
      { name: 'x-ids', in: 'header', schema: list },
      { name: 'c', in: 'cookie', schema: list, explode: false },
    ]
    const draft = imported({ ...three, paths: { '/search': { get: operation({ parameters }) } } })
    const input = { ids: [], bars: [], deep: {}, flat: {}, 'x-ids': [], c: [] }
    const { line, headers } = draft.send('run', input)
    expect([line, headers]).toEqual(['GET https://api.example.com/search', {}])
  })

  test('as a multipart or form body are refused: parts have names', () => {
    for (const type of ['multipart/form-data', 'application/x-www-form-urlencoded']) {
      const schema = { type: 'array', items: { type: 'string' } }
      const document = {
        ...three,
        paths: { '/a': { post: operation({ requestBody: { content: { [type]: { schema } } } }) } },
      }
      expect(() => imported(document)).toThrow(/must be an object, and is array/)
    }
  })
})

test('references below an $id are relative to it', () => {
  const draft = imported({
    ...three,
    paths: { '/orders': { post: operation(jsonBody({ $ref: '#/components/schemas/Order' })) } },
    components: {
      schemas: {
        Order: {
          $id: 'https://example.com/schemas/order',
          type: 'object',
          properties: {
            line: { $ref: '#/$defs/Line' },
            money: { $ref: 'money' },
            tax: { $ref: '#tax' },
            plain: { $ref: '#/components/schemas/Plain' },
          },
          $defs: {
            Line: { type: 'object', properties: { sku: { type: 'string' } } },
            Tax: { $anchor: 'tax', type: 'number' },
          },
        },
        Money: {
          $id: 'https://example.com/schemas/money',
          type: 'object',
          properties: { amount: { type: 'integer' } },
        },
        Plain: { type: 'boolean' },
      },
    },
  })
  expect(draft.tool('run').inputSchema).toMatchObject({
    properties: {
      line: { properties: { sku: { type: 'string' } } },
      money: { properties: { amount: { type: 'integer' } } },
      tax: { type: 'number' },
      plain: { type: 'boolean' },
    },
  })
})

test('one operation that no tool can hold costs the others nothing', () => {
  const draft = imported({
    ...three,
    paths: {
      '/fine': { get: operation({}) },
      '/list': {
        post: {
          ...{ operationId: 'list', responses: {} },
          requestBody: { content: { 'multipart/form-data': { schema: { type: 'array' } } } },
        },
      },
      [`/${'x'.repeat(3_000)}`]: { get: { operationId: 'long', responses: {} } },
      '/trace': { trace: { operationId: 'trace', responses: {} } },
      '/text': { get: 'none' },
    },
  })
  expect(draft.spec.tools.map(({ name }) => name)).toEqual(['run'])
  expect(draft.refusals).toHaveLength(4)
  for (const { message } of draft.refusals) expect(message).toMatch(/^[A-Z].*\.$/)
})
