/** The OAuth endpoints: documents, and what is carried to the authorization server and back. */
import { describe, expect, test } from 'bun:test'
import { form, oauthWorldOfFile } from './testing-oauth.ts'

const world = await oauthWorldOfFile()
const { gw, server } = world

describe('discovery', () => {
  test('the metadata of RFC 8414 says only what there is', async () => {
    const response = await fetch(`${gw.origin}/.well-known/oauth-authorization-server`)
    expect(response.headers.get('access-control-allow-origin')).toBe('*')
    const issuer = gw.origin
    expect(await response.json()).toEqual({
      issuer,
      authorization_endpoint: `${issuer}/oauth/authorize`,
      token_endpoint: `${issuer}/oauth/token`,
      registration_endpoint: `${issuer}/oauth/register`,
      revocation_endpoint: `${issuer}/oauth/revoke`,
      introspection_endpoint: `${issuer}/oauth/introspect`,
      jwks_uri: `${issuer}/oauth/jwks`,
      scopes_supported: ['mcp:tools', 'offline_access'],
      response_types_supported: ['code'],
      response_modes_supported: ['query'],
      grant_types_supported: ['authorization_code', 'refresh_token'],
      code_challenge_methods_supported: ['S256'],
      token_endpoint_auth_methods_supported: ['none', 'client_secret_basic', 'client_secret_post'],
      revocation_endpoint_auth_methods_supported: [
        'none',
        'client_secret_basic',
        'client_secret_post',
      ],
      introspection_endpoint_auth_methods_supported: [
        'none',
        'client_secret_basic',
        'client_secret_post',
      ],
      authorization_response_iss_parameter_supported: true,
    })
  })

  test('the key set is that of the authorization server', async () => {
    const { keys } = (await (await fetch(`${gw.origin}/oauth/jwks`)).json()) as { keys: unknown[] }
    expect(keys).toEqual([gw.publicJwk])
  })

  test('CORS is open for documents, registration and tokens, and nowhere else', async () => {
    const preflight = (path: string) =>
      fetch(`${gw.origin}${path}`, {
        method: 'OPTIONS',
        headers: {
          origin: 'https://client.example',
          'access-control-request-method': 'POST',
          'access-control-request-headers': 'content-type,mcp-protocol-version',
        },
      })
    for (const path of ['/oauth/token', '/oauth/register', '/oauth/jwks', '/.well-known/x/y']) {
      const response = await preflight(path)
      expect([path, response.status]).toEqual([path, 204])
      expect(response.headers.get('access-control-allow-origin')).toBe('*')
      expect(response.headers.get('access-control-allow-headers')).toContain('mcp-protocol-version')
      expect(response.headers.get('access-control-allow-credentials')).toBeNull()
    }
    for (const path of ['/oauth/authorize', '/oauth/consent', '/login', '/v1/me', '/s/pets/mcp']) {
      const response = await preflight(path)
      expect([path, response.headers.get('access-control-allow-origin')]).toEqual([path, null])
    }
  })
})

describe('tokens and clients', () => {
  test('a registration is carried as it came', async () => {
    const metadata = '{"redirect_uris":["http://localhost:1/cb"], "x": 1}'
    const response = await fetch(`${gw.origin}/oauth/register`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: metadata,
    })
    expect([response.status, await response.json()]).toEqual([201, { client_id: 'cli_1' }])
    expect(response.headers.get('cache-control')).toBe('no-store')
    expect(new TextDecoder().decode(world.asked.register[0]?.metadata)).toBe(metadata)
    expect(world.asked.register[0]?.clientIp).toMatch(/^(127\.0\.0\.1|::1)$/)
  })

  test('a token request keeps repeated parameters and the Authorization header', async () => {
    const pairs: [string, string][] = [
      ['grant_type', 'authorization_code'],
      ['code', 'a'],
      ['code', 'b'],
      ['resource', server.url],
    ]
    const response = await fetch(
      `${gw.origin}/oauth/token`,
      form(pairs, { authorization: 'Basic abc' }),
    )
    expect(await response.json()).toEqual({ access_token: 'at', token_type: 'Bearer' })
    expect(response.headers.get('access-control-allow-origin')).toBe('*')
    const request = world.asked.token[0]
    expect(request?.parameters.map(({ name, value }) => [name, value] as [string, string])).toEqual(
      pairs,
    )
    expect(request?.authorization).toBe('Basic abc')
    expect(request?.resource).toMatchObject({
      serverId: server.serverId,
      orgId: server.orgId,
      url: server.url,
      name: 'Pets & <Friends>',
      access: '{"kind":"org"}',
      origins: ['https://api.example.com'],
    })
  })

  test('refuses a wrong method with what the address takes', async () => {
    for (const path of ['/oauth/token', '/oauth/register', '/oauth/revoke', '/oauth/introspect']) {
      for (const method of ['GET', 'HEAD', 'PUT']) {
        const response = await fetch(`${gw.origin}${path}`, { method })
        expect([path, method, response.status]).toEqual([path, method, 405])
        expect(response.headers.get('allow')).toContain('POST')
      }
    }
  })

  test('an unknown or repeated resource is passed on as none', async () => {
    for (const resource of [
      'https://evil.example/s/pets/mcp',
      `${server.url}?x`,
      `${server.url}//`,
    ]) {
      await fetch(`${gw.origin}/oauth/token`, form({ grant_type: 'x', resource }))
    }
    await fetch(
      `${gw.origin}/oauth/token`,
      form([
        ['resource', server.url],
        ['resource', server.url],
      ]),
    )
    expect(world.asked.token.map(({ resource }) => resource)).toEqual(Array(4).fill(undefined))
  })

  test('the server of a grant is resolved when the authorization server asks for it', async () => {
    const response = await fetch(`${gw.origin}/oauth/token`, form({ grant_type: 'implicit' }))
    expect(response.status).toBe(200)
    expect(world.asked.token.map(({ resource }) => resource?.url)).toEqual([undefined, server.url])
  })

  test('faults come out as they are', async () => {
    const post = (grant: string) => fetch(`${gw.origin}/oauth/token`, form({ grant_type: grant }))
    const bad = await post('bad')
    expect([bad.status, await bad.json()]).toEqual([
      400,
      { error: 'invalid_grant', error_description: 'A sentence.' },
    ])
    const client = await post('client')
    expect([client.status, client.headers.get('www-authenticate')]).toEqual([
      401,
      'Basic realm="oauth"',
    ])
    expect((await post('often')).headers.get('retry-after')).toBe('7')
  })

  test('a revocation and an introspection are carried', async () => {
    const revoked = await fetch(`${gw.origin}/oauth/revoke`, form({ token: 'x' }))
    expect([revoked.status, await revoked.text()]).toEqual([200, ''])
    expect(world.asked.revoke[0]?.parameters[0]).toMatchObject({ name: 'token', value: 'x' })
    const inspected = await fetch(`${gw.origin}/oauth/introspect`, form({ token: 'x' }))
    expect(await inspected.json()).toEqual({ active: false })
  })

  const garbage: [string, string, RequestInit, number][] = [
    [
      'JSON where a form is due',
      '/oauth/token',
      { headers: { 'content-type': 'application/json' }, body: '{}' },
      400,
    ],
    [
      'a form where JSON is due',
      '/oauth/register',
      { headers: { 'content-type': 'application/x-www-form-urlencoded' }, body: 'a=b' },
      400,
    ],
    [
      'a huge form',
      '/oauth/token',
      {
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
        body: `a=${'x'.repeat(70_000)}`,
      },
      400,
    ],
    [
      'a thousand parameters',
      '/oauth/token',
      {
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
        body: Array.from({ length: 1000 }, (_, index) => `a${index}=`).join('&'),
      },
      400,
    ],
    [
      'huge metadata',
      '/oauth/register',
      { headers: { 'content-type': 'application/json' }, body: 'x'.repeat(70_000) },
      400,
    ],
  ]
  for (const [what, path, init, status] of garbage) {
    test(`${what} is refused with ${status} and an OAuth error`, async () => {
      const response = await fetch(`${gw.origin}${path}`, { method: 'POST', ...init })
      expect(response.status).toBe(status)
      expect(await response.json()).toMatchObject({ error: 'invalid_request' })
    })
  }
})
