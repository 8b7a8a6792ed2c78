/** The OAuth endpoints and the pages: what is carried to the authorization server, and what browsers may do. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { limited, unauthenticated } from '@bmm/lib/errors'
import { newId } from '@bmm/lib/ids'
import { SessionService } from '@bmm/proto/auth/v1/auth_service'
import type {
  DecideConsentRequest,
  ExchangeTokenRequest,
  RegisterClientRequest,
  RevokeTokenRequest,
  StartAuthorizationRequest,
} from '@bmm/proto/auth/v1/oauth_service'
import { type TestGateway, type TestServer, testGateway, testSpec } from './testing.ts'

/** What the stand-in was asked, newest last. */
const asked = {
  register: [] as RegisterClientRequest[],
  token: [] as ExchangeTokenRequest[],
  revoke: [] as RevokeTokenRequest[],
  authorize: [] as StartAuthorizationRequest[],
  decide: [] as DecideConsentRequest[],
  links: [] as { email: string; clientIp: string; returnTo: string }[],
  finished: [] as string[],
  ended: [] as string[],
}
const session = `bms_${'s'.repeat(43)}`
let gw: TestGateway
let server: TestServer
let consentOutcome: 'login' | 'consent' | 'redirect' | 'fault' = 'consent'

const json = (body: unknown, status = 200) => ({
  outcome: {
    case: 'answer' as const,
    value: { status, body: new TextEncoder().encode(JSON.stringify(body)) },
  },
})
const fault = (status: number, error: string, retryAfterSeconds = 0) => ({
  outcome: {
    case: 'fault' as const,
    value: { status, error, description: 'A sentence.', retryAfterSeconds },
  },
})

beforeAll(async () => {
  gw = await testGateway({
    oauth: {
      registerClient(request) {
        asked.register.push(request)
        return json({ client_id: 'cli_1' }, 201)
      },
      exchangeToken(request) {
        asked.token.push(request)
        const grant = request.parameters.find(({ name }) => name === 'grant_type')?.value
        if (grant === 'bad') return fault(400, 'invalid_grant')
        if (grant === 'client') return fault(401, 'invalid_client')
        if (grant === 'often') return fault(429, 'temporarily_unavailable', 7)
        if (grant === 'implicit' && request.resource === undefined) {
          return { outcome: { case: 'resourceNeeded', value: { serverId: server.serverId } } }
        }
        return json({ access_token: 'at', token_type: 'Bearer' })
      },
      revokeToken(request) {
        asked.revoke.push(request)
        return {}
      },
      introspectToken: () => json({ active: false }),
      startAuthorization(request) {
        asked.authorize.push(request)
        switch (consentOutcome) {
          case 'login':
            return { outcome: { case: 'login', value: { clientName: 'Some <b>Client</b>' } } }
          case 'redirect':
            return {
              outcome: { case: 'redirectUrl', value: 'http://localhost:9/cb?error=invalid_scope' },
            }
          case 'fault':
            return fault(400, 'invalid_request')
          case 'consent':
            return { outcome: { case: 'consent', value: consentFor(request) } }
        }
      },
      decideConsent(request) {
        asked.decide.push(request)
        if (request.csrfToken !== 'csrf-1') return fault(403, 'access_denied')
        const answer = request.approved ? 'code=abc' : 'error=access_denied'
        return { outcome: { case: 'redirectUrl', value: `http://localhost:9/cb?${answer}` } }
      },
    },
    routes(name, router) {
      if (name !== 'auth') return
      router.service(SessionService, {
        startMagicLink(request) {
          if (request.email === 'often@example.com') {
            throw limited('rate_limited', 'Too many links. Come back tomorrow.')
          }
          asked.links.push(request)
          return {}
        },
        finishMagicLink({ token }) {
          if (token !== 'link-1') throw unauthenticated('link_invalid', 'The link is not valid.')
          asked.finished.push(token)
          return { sessionToken: session, returnTo: '/oauth/authorize?x=1', session: {} }
        },
        revokeSession({ sessionToken }) {
          asked.ended.push(sessionToken)
          return {}
        },
        getSession: () => ({
          session: { id: newId('ses'), user: { id: newId('usr'), email: 'ada@example.com' } },
        }),
      })
    },
  })
  server = gw.addServer(
    'pets',
    testSpec(['echo'], {
      name: 'Pets & <Friends>',
      egress: [{ origin: 'https://api.example.com' }],
    }),
  )
})
afterAll(async () => {
  await gw[Symbol.asyncDispose]()
})
beforeEach(() => {
  consentOutcome = 'consent'
  for (const list of Object.values(asked)) list.length = 0
})

function consentFor(request: StartAuthorizationRequest) {
  return {
    requestId: 'req-1',
    csrfToken: 'csrf-1',
    clientName: '<script>alert(1)</script> \u202eevil',
    redirectHost: 'localhost:9',
    scopes: ['mcp:tools', 'offline_access'],
    ...(request.resource === undefined ? {} : { resource: request.resource }),
    orgName: 'Ada & Sons',
    userEmail: 'ada@example.com',
  }
}

const form = (fields: Record<string, string> | [string, string][], headers = {}) => ({
  method: 'POST',
  redirect: 'manual' as const,
  headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers },
  body: new URLSearchParams(fields).toString(),
})
const browserForm = (fields: Record<string, string>, headers = {}) =>
  form(fields, { origin: gw.origin, cookie: `__Host-bmm=${session}`, ...headers })

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
    expect(new TextDecoder().decode(asked.register[0]?.metadata)).toBe(metadata)
    expect(asked.register[0]?.clientIp).toMatch(/^(127\.0\.0\.1|::1)$/)
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
    const request = asked.token[0]
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

  test('an unknown or repeated resource is passed on as none', async () => {
    for (const resource of [
      'https://evil.example/s/pets/mcp',
      `${server.url}?x`,
      `${server.url}/`,
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
    expect(asked.token.map(({ resource }) => resource)).toEqual(Array(4).fill(undefined))
  })

  test('the server of a grant is resolved when the authorization server asks for it', async () => {
    const response = await fetch(`${gw.origin}/oauth/token`, form({ grant_type: 'implicit' }))
    expect(response.status).toBe(200)
    expect(asked.token.map(({ resource }) => resource?.url)).toEqual([undefined, server.url])
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
    expect(asked.revoke[0]?.parameters[0]).toMatchObject({ name: 'token', value: 'x' })
    const inspected = await fetch(`${gw.origin}/oauth/introspect`, form({ token: 'x' }))
    expect(await inspected.json()).toEqual({ active: false })
  })

  const garbage: [string, string, RequestInit, number][] = [
    [
      'JSON where a form is due',
      '/oauth/token',
      { headers: { 'content-type': 'application/json' }, body: '{}' },
      415,
    ],
    [
      'a form where JSON is due',
      '/oauth/register',
      { headers: { 'content-type': 'application/x-www-form-urlencoded' }, body: 'a=b' },
      415,
    ],
    [
      'a huge form',
      '/oauth/token',
      {
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
        body: `a=${'x'.repeat(70_000)}`,
      },
      413,
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
      413,
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

describe('signing in', () => {
  test('every page forbids scripts, frames and caching', async () => {
    for (const path of ['/', '/login', '/login/finish?token=x', '/oauth/authorize?x=1']) {
      const { headers } = await fetch(`${gw.origin}${path}`)
      const policy = headers.get('content-security-policy') ?? ''
      expect(policy).toContain("default-src 'none'")
      expect(policy).toContain("frame-ancestors 'none'")
      expect(policy).not.toContain('script-src')
      expect(policy).not.toContain('unsafe')
      expect(headers.get('x-frame-options')).toBe('DENY')
      expect(headers.get('cache-control')).toBe('no-store')
      expect(headers.get('x-content-type-options')).toBe('nosniff')
    }
  })

  test('the form mails a link and keeps the way back', async () => {
    const page = await (await fetch(`${gw.origin}/login?return_to=/oauth/authorize%3Fa%3D1`)).text()
    expect(page).toContain('name="return_to" value="/oauth/authorize?a=1"')
    const response = await fetch(
      `${gw.origin}/login`,
      form(
        { email: ' ada@example.com ', return_to: '/oauth/authorize?a=1' },
        { origin: gw.origin },
      ),
    )
    expect(await response.text()).toContain('Look into your mail')
    expect(asked.links[0]).toMatchObject({
      email: 'ada@example.com',
      returnTo: '/oauth/authorize?a=1',
    })
  })

  test('the way back never leads to another site', async () => {
    for (const evil of [
      'https://evil.example',
      '//evil.example',
      '/\\evil.example',
      '/\t/evil.example',
      'javascript:alert(1)',
      '/ok\r\nset-cookie: a=b',
    ]) {
      const page = await fetch(`${gw.origin}/login?return_to=${encodeURIComponent(evil)}`)
      expect(await page.text()).toContain('name="return_to" value=""')
    }
  })

  test('a malformed address and a limit are said on the form', async () => {
    const post = (email: string) =>
      fetch(`${gw.origin}/login`, form({ email }, { origin: gw.origin }))
    const malformed = await post('nonsense')
    expect(malformed.status).toBe(400)
    expect(await malformed.text()).toContain('That is not an email address.')
    const often = await post('often@example.com')
    expect(often.status).toBe(429)
    expect(await often.text()).toContain('Come back tomorrow.')
  })

  test('looking at a link does not use it, pressing the button does', async () => {
    for (const method of ['GET', 'HEAD']) {
      const response = await fetch(`${gw.origin}/login/finish?token=link-1`, { method })
      expect(response.status).toBe(200)
      expect(response.headers.get('set-cookie')).toBeNull()
    }
    expect(asked.finished).toEqual([])
    const response = await fetch(
      `${gw.origin}/login/finish`,
      form({ token: 'link-1' }, { origin: gw.origin }),
    )
    expect([response.status, response.headers.get('location')]).toEqual([
      303,
      '/oauth/authorize?x=1',
    ])
    expect(response.headers.get('set-cookie')).toBe(
      `__Host-bmm=${session}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=2592000`,
    )
  })

  test('a spent link says what to do', async () => {
    const response = await fetch(
      `${gw.origin}/login/finish`,
      form({ token: 'spent' }, { origin: gw.origin }),
    )
    expect(response.status).toBe(400)
    expect(await response.text()).toContain('Ask for another link')
    expect(response.headers.get('set-cookie')).toBeNull()
  })

  test('signing out ends the session and the cookie', async () => {
    const response = await fetch(`${gw.origin}/logout`, browserForm({}))
    expect(response.status).toBe(303)
    expect(response.headers.get('set-cookie')).toContain('Max-Age=0')
    expect(asked.ended).toEqual([session])
  })

  test('no form works from another page or without an Origin', async () => {
    for (const path of ['/login', '/login/finish', '/logout', '/oauth/consent']) {
      for (const headers of [{ origin: 'https://evil.example' }, { origin: 'null' }, {}]) {
        const fields = { email: 'a@example.com', token: 'link-1', csrf_token: 'csrf-1' }
        const response = await fetch(
          `${gw.origin}${path}`,
          form(fields, { cookie: `__Host-bmm=${session}`, ...headers }),
        )
        expect([path, response.status]).toEqual([path, 403])
      }
    }
    expect([asked.links, asked.finished, asked.ended, asked.decide].flat()).toEqual([])
  })
})

describe('consent', () => {
  const query = (more = '') =>
    `${gw.origin}/oauth/authorize?client_id=c&redirect_uri=${encodeURIComponent('http://localhost:9/cb')}&resource=${encodeURIComponent(server.url)}${more}`
  const withCookie = { headers: { cookie: `__Host-bmm=${session}` }, redirect: 'manual' as const }

  test('shows who asks, marked as unverified, and where everything goes', async () => {
    const response = await fetch(query(), withCookie)
    const page = await response.text()
    expect(asked.authorize[0]?.sessionToken).toBe(session)
    expect(asked.authorize[0]?.resource?.serverId).toBe(server.serverId)
    expect(page).not.toContain('<script>')
    expect(page).toContain('&lt;script&gt;alert(1)&lt;/script&gt; evil')
    expect(page).not.toContain('\u202e')
    expect(page).toContain('Nobody has verified that name')
    expect(page).toContain('Pets &amp; &lt;Friends&gt;')
    expect(page).toContain('Ada &amp; Sons')
    expect(page).toContain('https://api.example.com')
    expect(page).toContain('localhost:9')
    expect(page).toContain('(this computer)')
    expect(page).toContain('ada@example.com')
    expect(page).toContain('name="csrf_token" value="csrf-1"')
    expect(response.headers.get('content-security-policy')).toContain(
      "form-action 'self' http://localhost:9;",
    )
  })

  test('an application’s own scheme may be where the form leads', async () => {
    const response = await fetch(
      `${gw.origin}/oauth/authorize?redirect_uri=${encodeURIComponent('cursor://anysphere/cb')}`,
      withCookie,
    )
    expect(response.headers.get('content-security-policy')).toContain("form-action 'self' cursor:;")
  })

  test('without a session the login page comes, with the way back', async () => {
    consentOutcome = 'login'
    const page = await (await fetch(query())).text()
    expect(asked.authorize[0]?.sessionToken).toBe('')
    expect(page).toContain('Some &lt;b&gt;Client&lt;/b&gt;')
    expect(page).toContain('value="/oauth/authorize?client_id=c&amp;redirect_uri=')
  })

  test('a trusted redirect goes to the client, an untrusted one stays here', async () => {
    consentOutcome = 'redirect'
    const redirected = await fetch(query(), withCookie)
    expect([redirected.status, redirected.headers.get('location')]).toEqual([
      303,
      'http://localhost:9/cb?error=invalid_scope',
    ])
    consentOutcome = 'fault'
    const refused = await fetch(query(), withCookie)
    expect([refused.status, refused.headers.get('location')]).toEqual([400, null])
  })

  const decision = (value: string, csrf = 'csrf-1') =>
    fetch(
      `${gw.origin}/oauth/consent`,
      browserForm({
        request_id: 'req-1',
        csrf_token: csrf,
        resource: server.url,
        decision: value,
      }),
    )

  test('Allow and Deny are carried with session, token and the server as it is now', async () => {
    expect((await decision('allow')).headers.get('location')).toBe('http://localhost:9/cb?code=abc')
    expect((await decision('deny')).headers.get('location')).toContain('error=access_denied')
    expect((await decision('anything')).headers.get('location')).toContain('error=access_denied')
    expect(asked.decide.map(({ approved }) => approved)).toEqual([true, false, false])
    expect(asked.decide[0]).toMatchObject({
      requestId: 'req-1',
      csrfToken: 'csrf-1',
      sessionToken: session,
    })
    expect(asked.decide[0]?.resource?.serverId).toBe(server.serverId)
  })

  test('a wrong CSRF token ends on an error page', async () => {
    const response = await decision('allow', 'guessed')
    expect([response.status, response.headers.get('location')]).toEqual([403, null])
  })
})
