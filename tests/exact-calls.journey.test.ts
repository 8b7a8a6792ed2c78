/** What a client writes arrives at the API, and what the API answers arrives at the client: digits, cookies, letters, headers, streams. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { type Stack, startStack } from './stack.ts'

const big = '9007199254740993'
const email = 'calls@example.com'
const STREAM_TEST_MS = 90_000
const resultSchema = z.object({
  content: z.array(z.looseObject({ type: z.string(), text: z.string().optional() })),
  structuredContent: z.unknown().optional(),
  isError: z.boolean().optional(),
})
const personSchema = z.object({ org: z.object({ id: z.string() }) })
const tokenSchema = z.object({ token: z.string(), url: z.string() })

let stack: Stack
let upstream: ReturnType<typeof Bun.serve>
const seen: { path: string; cookie: string | null; authorization: string | null; body: string }[] =
  []
const last = () => seen.at(-1)

beforeAll(async () => {
  upstream = Bun.serve({ hostname: '127.0.0.1', port: 0, idleTimeout: 0, fetch: answer })
  stack = await startStack()
  await stack.run('login', '--email', email)
  const { org } = personSchema.parse(JSON.parse(await stack.run('whoami', '--json')))
  await stack.run('targets', 'allow', `127.0.0.1:${upstream.port}`, '--org', org.id)
  await create('open-api', {})
  await create('bearer-api', { token: { type: 'http', scheme: 'bearer' } }, 'TOKEN=sk-bearer-value')
  const cookieKey = { sid: { type: 'apiKey', in: 'cookie', name: 'session_id' } }
  await create('cookie-api', cookieKey, 'SID=cookie-key-value')
}, 240_000)
afterAll(async () => {
  await stack?.[Symbol.asyncDispose]()
  await upstream?.stop(true)
})

async function answer(request: Request): Promise<Response> {
  const url = new URL(request.url)
  const { headers } = request
  seen.push({
    path: url.pathname + url.search,
    cookie: headers.get('cookie'),
    authorization: headers.get('authorization'),
    body: await request.text(),
  })
  switch (url.pathname) {
    case '/answers/gbk':
      return new Response(Uint8Array.fromHex('bcdbb8f12031303020d4aa'), {
        headers: { 'content-type': 'text/plain; charset=GBK' },
      })
    case '/answers/big':
      return new Response(`{"id":${big}}`, {
        headers: { 'content-type': 'application/json', etag: '"v7"', link: '</2>; rel="next"' },
      })
    case '/answers/endless':
      return new Response(endless(), { headers: { 'content-type': 'text/event-stream' } })
    case '/login':
      return new Response(null, { status: 204, headers: { 'set-cookie': 'sid=s1; Path=/' } })
    default:
      return Response.json({ ok: true })
  }
}

function endless(): ReadableStream<Uint8Array> {
  let timer: ReturnType<typeof setInterval>
  return new ReadableStream({
    start(controller) {
      const send = () => controller.enqueue(new TextEncoder().encode('data: {"n":1}\n\n'))
      send()
      timer = setInterval(send, 300)
    },
    cancel: () => clearInterval(timer),
  })
}

async function create(slug: string, securitySchemes: object, credential?: string): Promise<void> {
  const file = join(stack.data, `${slug}.json`)
  const ok = { 200: { description: 'ok' } }
  const parameter = (name: string, place: string, type = 'string') => ({
    ...{ name, in: place, required: place === 'path' },
    schema: { type },
  })
  const body = { type: 'object', properties: { reply_to: { type: 'integer', format: 'int64' } } }
  const document = {
    openapi: '3.0.3',
    info: { title: slug, version: '1' },
    servers: [{ url: `http://127.0.0.1:${upstream.port}` }],
    security: Object.keys(securitySchemes).map((name) => ({ [name]: [] })),
    components: { securitySchemes },
    paths: {
      '/posts/{id}': {
        put: {
          operationId: 'putPost',
          parameters: [parameter('id', 'path', 'integer'), parameter('rate', 'query', 'number')],
          requestBody: { content: { 'application/json': { schema: body } } },
          responses: ok,
        },
      },
      '/cart': {
        get: {
          operationId: 'getCart',
          parameters: [parameter('lang', 'cookie'), parameter('Cookie', 'header')],
          responses: ok,
        },
      },
      '/login': { post: { operationId: 'login', responses: ok } },
      '/answers/{name}': {
        get: { operationId: 'getAnswer', parameters: [parameter('name', 'path')], responses: ok },
      },
    },
  }
  writeFileSync(file, JSON.stringify(document))
  const more = credential === undefined ? [] : ['--credential', credential]
  await stack.run('servers', 'create', '--openapi', file, '--slug', slug, ...more)
}

async function call(slug: string, tool: string, args: string) {
  const result = resultSchema.parse(JSON.parse(await stack.run('call', slug, tool, args, '--json')))
  return { ...result, texts: result.content.map(({ text }) => text ?? '') }
}

describe('numbers', () => {
  test('keep their digits from the command line to path, query and body', async () => {
    await call(
      'open-api',
      'putPost',
      `{"id":${big},"rate":0.1000000000000000055,"reply_to":${big}}`,
    )
    expect(last()).toMatchObject({
      path: `/posts/${big}?rate=0.1000000000000000055`,
      body: `{"reply_to":${big}}`,
    })
  })

  test('are taken as text, and arrive as numbers', async () => {
    await call('open-api', 'putPost', `{"id":"${big}","reply_to":"${big}"}`)
    expect(last()).toMatchObject({ path: `/posts/${big}`, body: `{"reply_to":${big}}` })
  })

  test('of an MCP client arrive byte for byte, however large', async () => {
    const { token, url } = tokenSchema.parse(
      JSON.parse(await stack.run('token', 'open-api', '--json')),
    )
    const response = await fetch(url, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${token}`,
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        'mcp-protocol-version': '2025-11-25',
      },
      body: `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"putPost","arguments":{"id":1000000000000000000000,"reply_to":-${big}}}}`,
    })
    expect(response.status).toBe(200)
    await response.text()
    expect(last()).toMatchObject({
      path: '/posts/1000000000000000000000',
      body: `{"reply_to":-${big}}`,
    })
  })

  test('of an answer read nowhere as another number', async () => {
    const { texts, structuredContent } = await call('open-api', 'getAnswer', '{"name":"big"}')
    expect(texts[0]).toBe(`{"id":${big}}`)
    expect(structuredContent).toBeUndefined()
    expect(texts[1]).toBe('Headers of the answer:\netag: "v7"\nlink: </2>; rel="next"')
  })
})

describe('cookies', () => {
  test('of a call stand beside a bearer and beside a cookie credential', async () => {
    await call('bearer-api', 'getCart', '{"lang":"de","Cookie":"cart=c1"}')
    expect(last()).toMatchObject({
      cookie: 'cart=c1; lang=de',
      authorization: 'Bearer sk-bearer-value',
    })
    await call('cookie-api', 'getCart', '{"lang":"de","Cookie":"session_id=mine"}')
    expect(last()).toMatchObject({ cookie: 'session_id=cookie-key-value; lang=de' })
  })

  test('of a login are sent with later calls, or are said to be dropped', async () => {
    const kept = await call('open-api', 'login', '{}')
    expect(kept.texts.join('\n')).toContain('go out with later calls')
    expect(kept.texts.join('\n')).not.toContain('s1')
    await call('open-api', 'getCart', '{"lang":"de"}')
    expect(last()?.cookie).toBe('lang=de; sid=s1')
    const dropped = await call('bearer-api', 'login', '{}')
    expect(dropped.texts.join('\n')).toContain('were dropped')
    await call('bearer-api', 'getCart', '{}')
    expect(last()?.cookie).toBeNull()
  })
})

describe('answers', () => {
  test('are read in the charset that they declare', async () => {
    expect((await call('open-api', 'getAnswer', '{"name":"gbk"}')).texts).toEqual(['价格 100 元'])
  })

  test(
    'that never end give what came, and say so',
    async () => {
      const { texts, isError } = await call('open-api', 'getAnswer', '{"name":"endless"}')
      expect(isError).toBeUndefined()
      expect(texts[0]).toStartWith('data: {"n":1}\n\ndata: {"n":1}\n\n')
      expect(texts[1]).toContain('a stream that had not ended')
    },
    STREAM_TEST_MS,
  )
})
