import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import {
  type Account,
  obtainTokens,
  redirectUri,
  registerClient,
  type Served,
  serve,
  signUp,
  type Tokens,
} from './account.ts'
import { hostileSpec } from './hostile-tool.ts'
import { canary, oauthFaultOf, pageFaultOf, rpcFaultOf, send } from './refusal.ts'
import { type Stack, startStack } from './stack.ts'
import { startUpstream, type Upstream } from './upstream.ts'

const json = 'application/json'
const form = 'application/x-www-form-urlencoded'
const deep = '['.repeat(100_000)

let stack: Stack
let upstream: Upstream
let account: Account
let server: Served
let tokens: Tokens
let clientId: string

beforeAll(async () => {
  upstream = startUpstream('the key')
  stack = await startStack()
  account = await signUp(stack, 'bad-input@example.com')
  const spec = hostileSpec(upstream.origin, 'https://example.com')
  const credentials = [{ name: 'API_KEY', value: 'the key' }]
  server = await serve(account, { source: { spec }, slug: 'bad-input', credentials })
  tokens = await obtainTokens(stack, account, server.url)
  clientId = await registerClient(stack.gateway)
}, 180_000)
afterAll(async () => {
  await stack?.[Symbol.asyncDispose]()
  await upstream?.[Symbol.asyncDispose]()
})

describe('the MCP endpoint', () => {
  const request = (method: string, params: unknown) =>
    JSON.stringify({ jsonrpc: '2.0', id: 1, method, params })
  type Row = [string, string | Uint8Array, number, Record<string, string>?]
  const meta = {
    'io.modelcontextprotocol/protocolVersion': '2026-07-28',
    'io.modelcontextprotocol/clientCapabilities': {},
  }
  const modern = { 'mcp-protocol-version': '2026-07-28' }
  const legacy = { 'mcp-protocol-version': '2025-11-25' }
  const oldest = { 'mcp-protocol-version': '2025-03-26' }
  test.each<Row>([
    ['nothing', '', 400],
    ['no JSON', canary, 400],
    ['half of it', `{"jsonrpc":"2.0","id":1,"method":"${canary}`, 400],
    ['no object', `"${canary}"`, 400],
    ['null', 'null', 400],
    ['another protocol', `{"jsonrpc":"1.0","id":1,"method":"ping"}`, 400],
    ['an id that is an object', `{"jsonrpc":"2.0","id":{"a":"${canary}"},"method":"ping"}`, 400],
    ['a method that is none', `{"jsonrpc":"2.0","id":1,"method":["${canary}"]}`, 400],
    ['params in an array', `{"jsonrpc":"2.0","id":1,"method":"ping","params":["${canary}"]}`, 400],
    ['a key that stands twice', `{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}`, 400],
    ['a byte order mark', `\ufeff${request('ping', {})}`, 400],
    ['no UTF-8', Uint8Array.of(0x7b, 0xff, 0x7d), 400],
    ['brackets without end', deep, 400],
    ['2 MiB', request('ping', { x: 'y'.repeat(2 * 1024 * 1024) }), 413],
    ['a form', `a=${canary}`, 415, { 'content-type': form }],
    [
      'an unknown version',
      request('ping', {}),
      400,
      { 'mcp-protocol-version': canary.slice(0, 9) },
    ],
    ['an unknown method', request(canary, {}), 200, legacy],
    ['an unknown tool', request('tools/call', { name: canary, arguments: {} }), 200, legacy],
    [
      'arguments in an array',
      request('tools/call', { name: 'honest', arguments: [canary] }),
      200,
      legacy,
    ],
    [
      'arguments that are text',
      request('tools/call', { name: 'honest', arguments: canary }),
      200,
      legacy,
    ],
    ['a tool without a name', request('tools/call', { arguments: {} }), 200, legacy],
    ['a cursor that is none', request('tools/list', { cursor: canary }), 200, legacy],
    ['an empty batch', '[]', 400, oldest],
    ['a batch of hundreds', `[${Array(300).fill(request('ping', {})).join()}]`, 400, oldest],
    ['a batch where there are none', `[${request('ping', {})}]`, 400, legacy],
    ['a modern batch', `[${request('tools/list', { _meta: meta })}]`, 400, modern],
    ['modern without _meta', request('tools/list', {}), 400, modern],
    ['modern without its headers', request('tools/list', { _meta: meta }), 400],
    [
      'a method header that lies',
      request('tools/list', { _meta: meta }),
      400,
      { ...modern, 'mcp-method': 'tools/call' },
    ],
    [
      'a name header that lies',
      request('tools/call', { _meta: meta, name: 'honest', arguments: {} }),
      400,
      { ...modern, 'mcp-method': 'tools/call', 'mcp-name': 'run' },
    ],
    [
      'a modern method that is none',
      request(`x/${canary}`, { _meta: meta }),
      404,
      { ...modern, 'mcp-method': `x/${canary}` },
    ],
    ['a foreign Origin', request('ping', {}), 403, { origin: 'https://evil.example' }],
    ['the Origin null', request('ping', {}), 403, { origin: 'null' }],
  ])('%s', async (_, body, status, headers = {}) => {
    const answer = await send(server.url, {
      body,
      headers: {
        authorization: `Bearer ${tokens.accessToken}`,
        'content-type': json,
        accept: `${json}, text/event-stream`,
        ...headers,
      },
    })
    expect(rpcFaultOf(answer).status).toBe(status)
  })

  test('a batch decides on each of its messages', async () => {
    const body = `[${request('ping', {})},${request('tools/call', { name: canary })},5,{"jsonrpc":"2.0","method":"x"}]`
    const authorization = `Bearer ${tokens.accessToken}`
    const headers = { authorization, 'content-type': json, ...oldest }
    const answer = await send(server.url, { body, headers })
    expect([answer.status, answer.text.includes(canary)]).toEqual([200, false])
    expect(answer.json).toMatchObject([{ result: {} }, { error: {} }, { id: null, error: {} }])
  })

  test('a wrong Accept gets JSON all the same', async () => {
    const authorization = `Bearer ${tokens.accessToken}`
    const headers = { authorization, 'content-type': json, accept: 'text/html', ...legacy }
    const answer = await send(server.url, { body: request('ping', {}), headers })
    expect([answer.status, answer.json]).toEqual([200, { jsonrpc: '2.0', id: 1, result: {} }])
  })

  test.each(['GET', 'PUT', 'DELETE'])('%s is not a method here', async (method) => {
    const headers = { authorization: `Bearer ${tokens.accessToken}` }
    const answer = await send(server.url, { method, headers })
    expect(rpcFaultOf(answer).status).toBe(405)
    expect(answer.headers.get('allow')).toBe('POST')
  })

  test.each([
    ['none', undefined],
    ['a made-up one', `Bearer ${canary}`],
    ['one of three parts', `Bearer ${canary}.${canary}.${canary}`],
    ['another scheme', `Basic ${canary}`],
    ['a session', () => `Bearer ${account.session}`],
    ['a refresh token', () => `Bearer ${tokens.refreshToken}`],
    ['a changed one', () => `Bearer ${tokens.accessToken.slice(0, -4)}AAAA`],
    ['one without a signature', () => `Bearer ${unsigned(tokens.accessToken)}`],
  ])('as token %s gets 401 that says where to go', async (_, token) => {
    const authorization = typeof token === 'function' ? token() : token
    const headers = authorization === undefined ? undefined : { authorization }
    const answer = await send(server.url, {
      body: request('ping', {}),
      headers: { 'content-type': json, ...headers },
    })
    expect(rpcFaultOf(answer).status).toBe(401)
    expect(answer.headers.get('www-authenticate')).toContain('resource_metadata=')
  })

  test('a token in the address is refused, and a server that is not there too', async () => {
    const inAddress = await send(`${server.url}?access_token=${tokens.accessToken}`, { body: '{}' })
    expect(rpcFaultOf(inAddress).status).toBe(400)
    for (const slug of ['no-such-server', canary, 'UPPER', '%00', 'x'.repeat(3_000)]) {
      const answer = await send(`${stack.gateway}/s/${slug}/mcp`, { body: '{}' })
      expect([slug.slice(0, 20), answer.status]).toEqual([slug.slice(0, 20), 404])
      expect(answer.text).not.toContain(canary)
    }
  })
})

/** The same claims under `alg: none`. */
function unsigned(jwt: string): string {
  const header = Buffer.from('{"alg":"none","typ":"at+jwt"}').toString('base64url')
  return `${header}.${jwt.split('.')[1]}.`
}

describe('the OAuth endpoints', () => {
  type Row = [string, string, string, string, number, string]
  const c = encodeURIComponent
  test.each<Row>([
    ['register: no JSON', 'register', json, canary, 400, 'invalid_client_metadata'],
    ['register: an array', 'register', json, `["${canary}"]`, 400, 'invalid_client_metadata'],
    ['register: no redirect', 'register', json, '{}', 400, 'invalid_redirect_uri'],
    [
      'register: a redirect that is code',
      'register',
      json,
      `{"redirect_uris":["javascript:${canary}"]}`,
      400,
      'invalid_redirect_uri',
    ],
    [
      'register: a redirect in clear text',
      'register',
      json,
      `{"redirect_uris":["http://${canary}.example/cb"]}`,
      400,
      'invalid_redirect_uri',
    ],
    ['register: a form', 'register', form, `a=${canary}`, 400, 'invalid_request'],
    [
      'register: 100 KB',
      'register',
      json,
      `{"x":"${'y'.repeat(100_000)}"}`,
      400,
      'invalid_request',
    ],
    ['register: deep', 'register', json, deep.slice(0, 50_000), 400, 'invalid_client_metadata'],
    ['token: nothing', 'token', form, '', 401, 'invalid_client'],
    ['token: JSON', 'token', json, `{"code":"${canary}"}`, 400, 'invalid_request'],
    [
      'token: no client',
      'token',
      form,
      `grant_type=authorization_code&code=${canary}`,
      401,
      'invalid_client',
    ],
    [
      'token: an unknown client',
      'token',
      form,
      `grant_type=authorization_code&client_id=${canary}&code=a`,
      401,
      'invalid_client',
    ],
    [
      'token: twice the same',
      'token',
      form,
      `code=${canary}&code=b&client_id=CLIENT`,
      400,
      'invalid_request',
    ],
    ['token: 51 fields', 'token', form, 'a=b&'.repeat(51), 400, 'invalid_request'],
    ['token: 100 KB', 'token', form, `code=${'y'.repeat(100_000)}`, 400, 'invalid_request'],
    [
      'token: an unknown grant type',
      'token',
      form,
      `grant_type=${canary}&client_id=CLIENT`,
      400,
      'unsupported_grant_type',
    ],
    [
      'token: an unknown code',
      'token',
      form,
      `grant_type=authorization_code&client_id=CLIENT&code=${canary}&code_verifier=${'v'.repeat(43)}&redirect_uri=${c(redirectUri)}`,
      400,
      'invalid_grant',
    ],
    [
      'token: an unknown refresh token',
      'token',
      form,
      `grant_type=refresh_token&client_id=CLIENT&refresh_token=${canary}`,
      400,
      'invalid_grant',
    ],
    ['revoke: no token', 'revoke', form, 'client_id=CLIENT', 400, 'invalid_request'],
    ['revoke: no client', 'revoke', form, `token=${canary}`, 401, 'invalid_client'],
    ['introspect: no token', 'introspect', form, 'client_id=CLIENT', 400, 'invalid_request'],
    ['introspect: JSON', 'introspect', json, `{"token":"${canary}"}`, 400, 'invalid_request'],
  ])('%s', async (_, path, type, body, status, code) => {
    const answer = await send(`${stack.gateway}/oauth/${path}`, {
      body: body.replace('CLIENT', clientId),
      headers: { 'content-type': type },
    })
    const found = oauthFaultOf(answer)
    expect([found.status, found.code]).toEqual([status, code])
  })

  test('revoking and introspecting what nobody issued says nothing about it', async () => {
    const body = `client_id=${clientId}&token=${canary}`
    const headers = { 'content-type': form }
    const revoked = await send(`${stack.gateway}/oauth/revoke`, { body, headers })
    expect([revoked.status, revoked.text]).toEqual([200, ''])
    const known = await send(`${stack.gateway}/oauth/introspect`, { body, headers })
    expect([known.status, known.json]).toEqual([200, { active: false }])
  })

  const good = {
    response_type: 'code',
    code_challenge: 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM',
    code_challenge_method: 'S256',
    redirect_uri: redirectUri,
    state: 's',
  }
  test.each<[string, Record<string, string>, string]>([
    ['an unknown client', { client_id: canary }, 'page'],
    [
      'a redirect that is not registered',
      { redirect_uri: `https://evil.example/${canary}` },
      'page',
    ],
    ['no PKCE', { code_challenge: '' }, 'invalid_request'],
    ['plain PKCE', { code_challenge_method: 'plain' }, 'invalid_request'],
    ['another response type', { response_type: 'token' }, 'unsupported_response_type'],
    ['no resource', { resource: '' }, 'invalid_target'],
    ['an unknown resource', { resource: `https://evil.example/${canary}` }, 'invalid_target'],
    ['an unknown scope', { scope: canary }, 'invalid_scope'],
  ])('authorize with %s', async (_, changed, outcome) => {
    const wanted = { ...good, client_id: clientId, resource: server.url, ...changed }
    const given = Object.entries(wanted).filter(([, value]) => value !== '')
    const page = await send(`${stack.gateway}/oauth/authorize?${new URLSearchParams(given)}`, {
      method: 'GET',
      headers: { cookie: `__Host-bmm=${account.session}` },
    })
    if (outcome === 'page') {
      // Nobody is sent to an address that the client did not register.
      expect([pageFaultOf(page).status, page.headers.get('location')]).toEqual([400, null])
      return
    }
    const location = new URL(page.headers.get('location') ?? '', stack.gateway)
    expect(location.href.startsWith(redirectUri)).toBe(true)
    expect(location.searchParams.get('error')).toBe(outcome)
    expect(location.searchParams.get('iss')).toBe(stack.gateway)
    expect(location.href).not.toContain(canary)
  })

  test('a consent that was never asked for is refused', async () => {
    const answer = await send(`${stack.gateway}/oauth/consent`, {
      body: `request_id=${canary}&csrf_token=${canary}&decision=allow`,
      headers: {
        'content-type': form,
        origin: stack.gateway,
        cookie: `__Host-bmm=${account.session}`,
      },
    })
    expect(pageFaultOf(answer).status).toBe(400)
  })
})
