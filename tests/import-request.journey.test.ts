/** What the importer drafts, the guest's serialiser sends: every kind of operation arrives at a real server as meant. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { draftFromOpenApi } from '@bmm/generator/openapi/draft.ts'
import { toolResultFrom } from '@bmm/runner/guest/answer.ts'
import { schemaCheck } from '@bmm/runner/guest/input.ts'
import { requestFrom } from '@bmm/runner/guest/request.ts'

/** What the echo server saw. */
type Arrived = {
  method: string
  path: string
  query: [string, string][]
  header: string | null
  cookie: string | null
  type: string | null
  text: string
  form: [string, string][]
}

let server: ReturnType<typeof Bun.serve>

beforeAll(() => {
  server = Bun.serve({ port: 0, hostname: '127.0.0.1', fetch: echo })
})
afterAll(() => server.stop(true))

async function echo(request: Request): Promise<Response> {
  const url = new URL(request.url)
  const type = request.headers.get('content-type')
  const bytes = await request.clone().arrayBuffer()
  const isForm = type !== null && /^(multipart|application\/x-www-form)/.test(type)
  const form = isForm ? [...(await request.formData())] : []
  const arrived: Arrived = {
    method: request.method,
    path: url.pathname,
    query: [...url.searchParams],
    header: request.headers.get('x-tags'),
    cookie: request.headers.get('cookie'),
    type: type?.split(';')[0] ?? null,
    text: new TextDecoder().decode(bytes),
    form: await Promise.all(
      form.map(
        async ([name, value]): Promise<[string, string]> => [
          name,
          typeof value === 'string' ? value : `${value.type}:${await value.text()}`,
        ],
      ),
    ),
  }
  return Response.json(arrived)
}

/** Drafts the one operation, checks the input against its schema, sends it and answers what arrived. */
async function arrive(
  method: string,
  path: string,
  operation: object,
  input: Record<string, unknown>,
): Promise<Arrived> {
  const document = {
    openapi: '3.1.0',
    info: { title: 'Echo' },
    servers: [{ url: `http://127.0.0.1:${server.port}/api` }],
    paths: { [path]: { [method]: operation } },
  }
  const [tool] = draftFromOpenApi(JSON.stringify(document)).spec.tools
  if (tool?.operation === undefined) throw new Error('no operation')
  expect(schemaCheck(tool.inputSchema)(input)).toEqual([])
  const { url, headers, body, ...sent } = requestFrom(
    tool.operation,
    input,
    () => 'f00ba2f00ba2f00b',
  )
  const response = await fetch(url, { method: sent.method, headers, body: body?.slice() ?? null })
  const result = toolResultFrom(
    {
      status: response.status,
      headers: [...response.headers],
      body: new Uint8Array(await response.arrayBuffer()),
    },
    { url },
  )
  return result.structuredContent as Arrived
}

function json(schema: object, type = 'application/json', more: object = {}): object {
  return { requestBody: { required: true, content: { [type]: { schema, ...more } } } }
}

const parameter = (name: string, place: string, schema: object, more: object = {}) => ({
  name,
  in: place,
  required: place === 'path',
  schema,
  ...more,
})
const list = { type: 'array', items: { type: 'string' } }

test('parameters arrive under their wire names, in their place and style', async () => {
  const parameters = [
    parameter('id', 'path', { type: 'string' }),
    parameter(
      'filter',
      'query',
      { type: 'object', properties: { 'a[b]': { type: 'string' } } },
      { style: 'deepObject', explode: true },
    ),
    parameter('tag[]', 'query', list),
    parameter('csv', 'query', list, { explode: false }),
    parameter('pipes', 'query', list, { style: 'pipeDelimited', explode: false }),
    parameter('X-Tags', 'header', list),
    parameter('sid', 'cookie', { type: 'string' }),
    {
      name: 'where',
      in: 'query',
      content: { 'application/json': { schema: { type: 'object', properties: { $or: list } } } },
    },
  ]
  const arrived = await arrive(
    'get',
    '/things/{id}',
    { parameters },
    {
      id: 'a/b ü?#',
      filter: { a_b: '1 2' },
      tag: ['x&y', 'z'],
      csv: ['1', '2'],
      pipes: ['p', 'q'],
      'X-Tags': ['t1', 't2'],
      sid: 's;1',
      where: { or: ['k'] },
    },
  )
  expect(arrived).toMatchObject({
    method: 'GET',
    path: '/api/things/a%2Fb%20%C3%BC%3F%23',
    query: [
      ['filter[a[b]]', '1 2'],
      ['tag[]', 'x&y'],
      ['tag[]', 'z'],
      ['csv', '1,2'],
      ['pipes', 'p|q'],
      ['where', '{"$or":["k"]}'],
    ],
    header: 't1,t2',
    cookie: 'sid=s%3B1',
  })
})

test('a path that spans segments arrives in segments', async () => {
  const parameters = [parameter('path', 'path', { type: 'string' }, { 'x-multi-segment': true })]
  const { path } = await arrive('get', '/files/{path}', { parameters }, { path: 'src/a b.ts' })
  expect(path).toBe('/api/files/src/a%20b.ts')
})

test('a JSON body arrives with its wire names at every depth', async () => {
  const item = {
    type: 'object',
    properties: { '@type': { type: 'string' }, type: { type: 'string' } },
  }
  const schema = {
    type: 'object',
    required: ['$id'],
    properties: {
      $id: { type: 'string' },
      items: { type: 'array', items: item },
      map: { type: 'object', additionalProperties: item },
      either: { oneOf: [item, { type: 'string' }] },
    },
  }
  const { text, type } = await arrive('post', '/things', json(schema), {
    id: 'x',
    items: [{ type_2: '1', type: '2' }],
    map: { 'any key': { type_2: '3' } },
    either: { type_2: '4' },
  })
  expect(type).toBe('application/json')
  expect(JSON.parse(text)).toEqual({
    $id: 'x',
    items: [{ '@type': '1', type: '2' }],
    map: { 'any key': { '@type': '3' } },
    either: { '@type': '4' },
  })
})

test('a body under one key arrives whole', async () => {
  const schema = { oneOf: [{ type: 'object', properties: { a: { type: 'string' } } }, list] }
  expect((await arrive('put', '/things', json(schema), { body: ['1'] })).text).toBe('["1"]')
})

test('forms arrive as forms', async () => {
  const schema = {
    type: 'object',
    properties: { 'user[name]': { type: 'string' }, ids: list, deep: { type: 'object' } },
  }
  const encoding = {
    deep: { style: 'deepObject', explode: true },
    ids: { style: 'form', explode: false },
  }
  const operation = json(schema, 'application/x-www-form-urlencoded', { encoding })
  const { form } = await arrive('post', '/form', operation, {
    user_name: 'Ada & co',
    ids: ['1', '2'],
    deep: { a: { b: 'c' } },
  })
  expect(form).toEqual([
    ['user[name]', 'Ada & co'],
    ['ids', '1,2'],
    ['deep[a][b]', 'c'],
  ])
})

test('files arrive as files', async () => {
  const schema = {
    type: 'object',
    properties: {
      photo: { type: 'string', format: 'binary' },
      meta: { type: 'object', properties: { '@id': { type: 'integer' } } },
    },
  }
  const operation = json(schema, 'multipart/form-data', {
    encoding: { photo: { contentType: 'image/png' } },
  })
  const { form } = await arrive('post', '/photos', operation, {
    photo: btoa('bytes'),
    meta: { id: 1 },
  })
  expect(form).toEqual([
    ['photo', 'image/png:bytes'],
    ['meta', '{"@id":1}'],
  ])
})

test('text and bytes arrive as they are', async () => {
  const text = await arrive('post', '/text', json({ type: 'string' }, 'text/csv'), {
    body: 'a;b\nü',
  })
  expect([text.type, text.text]).toEqual(['text/csv', 'a;b\nü'])
  const bytes = await arrive('put', '/bytes', json({}, 'application/octet-stream'), {
    body: btoa('\x00\x01x'),
  })
  expect([bytes.type, bytes.text]).toEqual(['application/octet-stream', '\x00\x01x'])
})

test('Swagger 2.0 arrives as well', async () => {
  const document = {
    swagger: '2.0',
    info: { title: 'Old' },
    paths: {
      '/old/{id}': {
        post: {
          consumes: ['multipart/form-data'],
          parameters: [
            { name: 'id', in: 'path', type: 'integer', required: true },
            {
              name: 'ids',
              in: 'query',
              type: 'array',
              items: { type: 'integer' },
              collectionFormat: 'pipes',
            },
            { name: 'file', in: 'formData', type: 'file' },
          ],
        },
      },
    },
  }
  const baseUrl = `http://127.0.0.1:${server.port}/v1`
  const [tool] = draftFromOpenApi(JSON.stringify(document), { baseUrl }).spec.tools
  if (tool?.operation === undefined) throw new Error('no operation')
  const request = requestFrom(
    tool.operation,
    { id: 7, ids: [1, 2], file: btoa('f') },
    () => 'b0b0b0b0b0b0b0b0',
  )
  const response = await fetch(request.url, {
    method: request.method,
    headers: request.headers,
    body: request.body?.slice() ?? null,
  })
  expect(await response.json()).toMatchObject({
    method: 'POST',
    path: '/v1/old/7',
    query: [['ids', '1|2']],
    form: [['file', 'application/octet-stream:f']],
  })
})
