import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { type Account, type Served, serve, signUp } from './account.ts'
import { isReady } from './children.ts'
import { hostileSpec } from './hostile-tool.ts'
import { canary, handshake, pageFaultOf, problemOf, send, sendRaw } from './refusal.ts'
import { type Stack, startStack } from './stack.ts'
import { startUpstream, type Upstream } from './upstream.ts'

const form = 'application/x-www-form-urlencoded'

let stack: Stack
let upstream: Upstream
let account: Account
let other: Account
let server: Served

beforeAll(async () => {
  upstream = startUpstream('the key')
  stack = await startStack()
  account = await signUp(stack, 'bad-input@example.com')
  other = await signUp(stack, 'somebody-else@example.com')
  const spec = hostileSpec(upstream.origin, 'https://example.com')
  const credentials = [{ name: 'API_KEY', value: 'the key' }]
  server = await serve(account, { source: { spec }, slug: 'bad-input', credentials })
}, 180_000)
afterAll(async () => {
  await stack?.[Symbol.asyncDispose]()
  await upstream?.[Symbol.asyncDispose]()
})

describe('who asks from where', () => {
  const session = () => ({ authorization: `Bearer ${account.session}` })
  const cookie = () => ({ cookie: `__Host-bmm=${account.session}` })

  test('a Host that is not ours is refused at every door', async () => {
    const paths = ['/', '/v1/me', '/s/bad-input/mcp', '/oauth/token', '/openapi.json', '/login']
    for (const path of paths) {
      for (const host of [
        'evil.example',
        `127.0.0.1:${new URL(stack.gateway).port}`,
        'localhost',
        `${canary}:1`,
      ]) {
        const answer = await send(`${stack.gateway}${path}`, {
          method: 'GET',
          headers: { host, ...session() },
        })
        expect([path, host, problemOf(answer).status]).toEqual([path, host, 421])
      }
    }
  })

  test.each<[string, () => Record<string, string>, string, string, number]>([
    ['a bearer from a foreign page', session, 'https://evil.example', 'POST', 403],
    ['a bearer from a foreign page reading', session, 'https://evil.example', 'GET', 403],
    ['a cookie from a foreign page', cookie, 'https://evil.example', 'POST', 403],
    ['a cookie from a foreign page reading', cookie, 'https://evil.example', 'GET', 403],
    ['a cookie from a sandboxed page', cookie, 'null', 'POST', 403],
    ['a cookie that changes without an Origin', cookie, '', 'POST', 403],
    ['a cookie from another port', cookie, 'http://localhost:1', 'POST', 403],
  ])('%s is refused', async (_, headers, origin, method, status) => {
    const path = method === 'GET' ? '/v1/servers' : '/v1/servers/bad-input/pause'
    const answer = await send(`${stack.gateway}${path}`, {
      method,
      headers: { ...headers(), ...(origin === '' ? {} : { origin }) },
    })
    expect(problemOf(answer)).toMatchObject({ status, code: 'origin_refused' })
  })

  test.each(['/login', '/logout', '/login/finish', '/oauth/consent'])(
    'the form of %s from a foreign page is refused',
    async (path) => {
      for (const origin of ['https://evil.example', undefined]) {
        const answer = await send(`${stack.gateway}${path}`, {
          body: `email=a@example.com&token=${canary}`,
          headers: { 'content-type': form, ...cookie(), ...(origin && { origin }) },
        })
        expect(pageFaultOf(answer).status).toBe(403)
      }
    },
  )
})

describe('the WebSocket of a build', () => {
  const path = () => `/v1/builds/${server.buildId}/events`
  const bearer = (who: Account) => ({ authorization: `Bearer ${who.session}` })
  const cookie = () => ({ cookie: `__Host-bmm=${account.session}` })

  test('opens for its own people', async () => {
    expect((await handshake(stack, path(), bearer(account))).status).toBe(101)
    const own = { ...cookie(), origin: stack.gateway }
    expect((await handshake(stack, path(), own)).status).toBe(101)
  })

  test.each<[string, () => Record<string, string>, number]>([
    ['no session', () => ({}), 401],
    ['a made-up session', () => ({ authorization: `Bearer bms_${canary}` }), 401],
    ['another organisation', () => bearer(other), 404],
    [
      'a foreign Origin and a bearer',
      () => ({ ...bearer(account), origin: 'https://evil.example' }),
      403,
    ],
    ['a foreign Origin and a cookie', () => ({ ...cookie(), origin: 'https://evil.example' }), 403],
    ['a cookie without an Origin', cookie, 403],
    ['a foreign Host', () => ({ ...bearer(account), host: 'evil.example' }), 421],
  ])('is refused before the upgrade with %s', async (_, headers, status) => {
    const answer = await handshake(stack, path(), headers())
    expect(answer.status).toBe(status)
    expect(answer.text).not.toContain(canary)
  })

  test('is refused for a build that is not there, and without an upgrade', async () => {
    const none = await handshake(stack, `/v1/builds/${canary}/events`, bearer(account))
    expect([none.status, none.text.includes(canary)]).toEqual([400, false])
    const plain = await send(`${stack.gateway}${path()}`, {
      method: 'GET',
      headers: bearer(account),
    })
    expect(problemOf(plain).status).toBe(426)
  })
})

describe('what is no HTTP', () => {
  const host = () => new URL(stack.gateway).host
  test.each<[string, () => string]>([
    ['bytes', () => `\x16\x03\x01${'\xff'.repeat(200)}\r\n\r\n`],
    ['a line without end', () => `GET /${'x'.repeat(200_000)}`],
    [
      'a header without end',
      () => `GET / HTTP/1.1\r\nhost: ${host()}\r\nx: ${'y'.repeat(200_000)}\r\n\r\n`,
    ],
    [
      'two lengths',
      () =>
        `POST /v1/login HTTP/1.1\r\nhost: ${host()}\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n{}    `,
    ],
    [
      'a length and chunks',
      () =>
        `POST /v1/login HTTP/1.1\r\nhost: ${host()}\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /v1/me HTTP/1.1\r\nhost: ${host()}\r\n\r\n`,
    ],
    [
      'a negative length',
      () => `POST /v1/login HTTP/1.1\r\nhost: ${host()}\r\ncontent-length: -1\r\n\r\n`,
    ],
    ['no host', () => 'GET /v1/me HTTP/1.1\r\n\r\n'],
    ['a tunnel', () => 'CONNECT evil.example:443 HTTP/1.1\r\nhost: evil.example\r\n\r\n'],
    [
      'another address in the line',
      () => `GET http://evil.example/v1/me HTTP/1.1\r\nhost: evil.example\r\n\r\n`,
    ],
  ])('%s is refused or closed, and the gateway goes on', async (_, text) => {
    const answer = await sendRaw(stack, text())
    const statuses = [...answer.matchAll(/^HTTP\/1\.1 (\d+)/gm)].map(([, status]) => Number(status))
    expect(statuses.length).toBeLessThanOrEqual(1)
    for (const status of statuses)
      expect([400, 401, 404, 413, 414, 415, 421, 431]).toContain(status)
    expect(await isReady(stack)).toBe(true)
  })
})
