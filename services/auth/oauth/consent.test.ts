/** Authorization and consent through the generated client: order of checks, redirects, single use, access. */
import { describe, expect, test } from 'bun:test'
import { outcomeOf } from '@bmm/lib/testing-outcome'
import {
  authOfFile,
  authorizationQuery,
  callback,
  getCode,
  issuer,
  openConsent,
  register,
  type SignedIn,
  signIn,
  testResource,
} from '../testing.ts'

const auth = await authOfFile()
const owner = await signIn(auth)

type Changes = Record<string, string | undefined>

async function authorize(
  changes: Changes = {},
  options: { signedIn?: boolean; unresolved?: boolean; extra?: Changes } = {},
) {
  const client = await register(auth)
  const resource = testResource(owner.orgId)
  const twice = Object.entries(options.extra ?? {}).map(([name, value = '']) => ({ name, value }))
  const { outcome } = await auth.oauth.startAuthorization({
    parameters: [...authorizationQuery(client.client_id, resource, changes), ...twice],
    sessionToken: options.signedIn === false ? '' : owner.sessionToken,
    ...(options.unresolved === true ? {} : { resource }),
  })
  return outcome
}

async function redirectedError(changes: Changes, options = {}) {
  const outcome = await authorize(changes, options)
  if (outcome.case !== 'redirectUrl') throw new Error(`no redirect: ${JSON.stringify(outcome)}`)
  const url = new URL(outcome.value)
  expect(`${url.origin}${url.pathname}`).toBe(callback)
  expect(url.searchParams.get('iss')).toBe(issuer)
  expect(url.searchParams.has('code')).toBe(false)
  return { error: url.searchParams.get('error'), state: url.searchParams.get('state') }
}

function decide(
  page: { requestId: string; csrfToken: string },
  resource: ReturnType<typeof testResource> | undefined,
  changes: { sessionToken?: string; csrfToken?: string; approved?: boolean } = {},
) {
  return auth.oauth.decideConsent({
    requestId: page.requestId,
    csrfToken: page.csrfToken,
    approved: true,
    sessionToken: owner.sessionToken,
    ...(resource === undefined ? {} : { resource }),
    ...changes,
  })
}

describe('an authorization request', () => {
  test('shows the consent page to who is signed in', async () => {
    const outcome = await authorize()
    expect(outcome.case).toBe('consent')
    if (outcome.case !== 'consent') return
    expect(outcome.value).toMatchObject({
      clientName: 'Test client',
      redirectHost: '127.0.0.1:43210',
      scopes: ['mcp:tools'],
      orgName: owner.email,
      userEmail: owner.email,
      resource: { name: 'Example', origins: ['https://api.example.com'] },
    })
  })

  test('asks a stranger to sign in', async () => {
    const outcome = await authorize({}, { signedIn: false })
    expect(outcome).toMatchObject({ case: 'login', value: { clientName: 'Test client' } })
  })

  test.each([
    ['no client', { client_id: undefined }, {}],
    ['an unknown client', { client_id: 'cli_00000000000000000000000000' }, {}],
    ['a second client', {}, { client_id: 'x' }],
    ['another path', { redirect_uri: 'http://127.0.0.1:43210/other' }, {}],
    ['another loopback name', { redirect_uri: 'http://localhost:43210/callback' }, {}],
    ['another host', { redirect_uri: 'https://evil.example/callback' }, {}],
    ['user information', { redirect_uri: 'http://127.0.0.1:43210@evil.example/callback' }, {}],
    ['a suffix of the host', { redirect_uri: 'http://127.0.0.1.evil.example:43210/callback' }, {}],
    ['a fragment', { redirect_uri: `${callback}#x` }, {}],
    ['a query of its own', { redirect_uri: `${callback}?next=x` }, {}],
    ['dot segments', { redirect_uri: 'http://127.0.0.1:43210/x/../callback' }, {}],
    ['a script', { redirect_uri: 'javascript:alert(1)//127.0.0.1/callback' }, {}],
    ['a second redirect_uri', {}, { redirect_uri: 'https://evil.example/' }],
  ])('with %s is an error page, never a redirect', async (_, changes, extra) => {
    const outcome = await authorize(changes as Changes, { extra: extra as Changes })
    expect(outcome.case).toBe('fault')
    if (outcome.case === 'fault') expect(outcome.value.description).not.toContain('evil')
  })

  test('may use any port of a registered loopback address', async () => {
    const outcome = await authorize({ redirect_uri: 'http://127.0.0.1:55555/callback' })
    expect(outcome.case).toBe('consent')
  })

  test.each([
    ['no PKCE', { code_challenge: undefined }, 'invalid_request'],
    ['plain PKCE', { code_challenge_method: 'plain' }, 'invalid_request'],
    ['PKCE without a method', { code_challenge_method: undefined }, 'invalid_request'],
    ['a short challenge', { code_challenge: 'abc' }, 'invalid_request'],
    ['no response type', { response_type: undefined }, 'invalid_request'],
    ['the implicit response type', { response_type: 'token' }, 'unsupported_response_type'],
    ['a fragment response', { response_mode: 'fragment' }, 'invalid_request'],
    ['a request object', { request: 'x' }, 'request_not_supported'],
    ['no resource', { resource: undefined }, 'invalid_target'],
    ['another resource', { resource: `${issuer}/s/other/mcp` }, 'invalid_target'],
    ['only unknown scopes', { scope: 'admin' }, 'invalid_scope'],
    ['a malformed scope', { scope: 'a"b' }, 'invalid_scope'],
    ['prompt none', { prompt: 'none' }, 'consent_required'],
  ])('with %s redirects with an error, state and iss', async (_, changes, error) => {
    expect(await redirectedError(changes as Changes)).toEqual({ error, state: 'xyz' })
  })

  test('that names a resource nobody knows is refused', async () => {
    const refused = await redirectedError({}, { unresolved: true })
    expect(refused).toEqual({ error: 'invalid_target', state: 'xyz' })
  })

  test('with a parameter twice is refused, and an ambiguous state is not sent back', async () => {
    expect(await redirectedError({}, { extra: { resource: 'x' } })).toEqual({
      error: 'invalid_target',
      state: 'xyz',
    })
    expect(await redirectedError({}, { extra: { scope: 'mcp:tools' } })).toEqual({
      error: 'invalid_request',
      state: 'xyz',
    })
    expect(await redirectedError({}, { extra: { state: 'abc' } })).toEqual({
      error: 'invalid_request',
      state: null,
    })
  })

  test('gets known scopes beside unknown ones, and the baseline without any', async () => {
    const mixed = await authorize({ scope: 'openid offline_access' })
    expect(mixed.case === 'consent' && mixed.value.scopes).toEqual(['mcp:tools', 'offline_access'])
    const none = await authorize({ scope: undefined })
    expect(none.case === 'consent' && none.value.scopes).toEqual(['mcp:tools'])
  })

  test('keeps only the newest open pages of a session', async () => {
    const client = await register(auth)
    const resource = testResource(owner.orgId)
    const first = await openConsent(auth, owner, client.client_id, resource)
    for (let page = 0; page < 20; page++) await openConsent(auth, owner, client.client_id, resource)
    const { outcome } = await decide(first, resource)
    expect(outcome.case).toBe('fault')
  })
})

describe('a decision', () => {
  async function freshPage() {
    const client = await register(auth)
    const resource = testResource(owner.orgId)
    return { resource, page: await openConsent(auth, owner, client.client_id, resource) }
  }

  test('to allow sends a code, the state and the issuer to the client', async () => {
    const { resource, page } = await freshPage()
    const { outcome } = await decide(page, resource)
    if (outcome.case !== 'redirectUrl') throw new Error('no redirect')
    const url = new URL(outcome.value)
    expect(url.searchParams.get('code')).toMatch(/^bmc_[A-Za-z0-9_-]{43}$/)
    expect(url.searchParams.get('state')).toBe('xyz')
    expect(url.searchParams.get('iss')).toBe(issuer)
  })

  test('to refuse sends access_denied', async () => {
    const { resource, page } = await freshPage()
    const { outcome } = await decide(page, resource, { approved: false })
    if (outcome.case !== 'redirectUrl') throw new Error('no redirect')
    expect(new URL(outcome.value).searchParams.get('error')).toBe('access_denied')
    expect(new URL(outcome.value).searchParams.get('state')).toBe('xyz')
  })

  test('counts once, even when it comes twenty times at once', async () => {
    const { resource, page } = await freshPage()
    const all = await Promise.all(Array.from({ length: 20 }, () => decide(page, resource)))
    expect(all.filter(({ outcome }) => outcome.case === 'redirectUrl')).toHaveLength(1)
    const { outcome } = await decide(page, resource)
    expect(outcome).toMatchObject({ case: 'fault', value: { status: 400 } })
  })

  test('with a wrong CSRF token is refused and uses nothing up', async () => {
    const { resource, page } = await freshPage()
    const other = await freshPage()
    const { csrfToken } = other.page
    expect((await decide(page, resource, { csrfToken })).outcome.case).toBe('fault')
    expect((await decide(page, resource, { csrfToken: '' })).outcome.case).toBe('fault')
    expect((await decide(page, resource)).outcome.case).toBe('redirectUrl')
  })

  test('from another session is refused, of the same person too', async () => {
    const { resource, page } = await freshPage()
    const stranger = await signIn(auth)
    const again = await signIn(auth, owner.email)
    expect(again.userId).toBe(owner.userId)
    for (const { sessionToken } of [stranger, again]) {
      expect((await decide(page, resource, { sessionToken })).outcome.case).toBe('fault')
    }
  })

  test('after the session was revoked is refused', async () => {
    const person = await signIn(auth)
    const client = await register(auth)
    const resource = testResource(person.orgId)
    const page = await openConsent(auth, person, client.client_id, resource)
    await auth.sessions.revokeSession({ sessionToken: person.sessionToken })
    const { sessionToken } = person
    const { outcome } = await decide(page, resource, { sessionToken })
    expect(outcome).toMatchObject({ case: 'fault', value: { status: 401 } })
  })

  test('about a server that is gone or replaced meanwhile grants nothing', async () => {
    for (const now of [undefined, testResource(owner.orgId)]) {
      const { page } = await freshPage()
      const { outcome } = await decide(page, now)
      if (outcome.case !== 'redirectUrl') throw new Error('no redirect')
      expect(new URL(outcome.value).searchParams.get('error')).toBe('invalid_target')
    }
  })

  test('after ten minutes is too late', async () => {
    const { resource, page } = await freshPage()
    auth.clock.advance(10 * 60_000 + 1)
    expect((await decide(page, resource)).outcome.case).toBe('fault')
  })
})

describe('access', () => {
  async function mayAuthorize(person: SignedIn, access: object): Promise<boolean> {
    const client = await register(auth)
    const resource = testResource(owner.orgId, access)
    const { outcome } = await auth.oauth.startAuthorization({
      parameters: authorizationQuery(client.client_id, resource),
      resource,
      sessionToken: person.sessionToken,
    })
    if (outcome.case === 'consent') return true
    if (outcome.case !== 'redirectUrl') throw new Error(`neither: ${JSON.stringify(outcome)}`)
    expect(new URL(outcome.value).searchParams.get('error')).toBe('access_denied')
    return false
  }

  test('follows the rule of the server: its organisation, named people, or anyone', async () => {
    const stranger = await signIn(auth)
    expect(await mayAuthorize(owner, { kind: 'org' })).toBe(true)
    expect(await mayAuthorize(stranger, { kind: 'org' })).toBe(false)
    const people = { kind: 'people', people: [stranger.userId] }
    expect(await mayAuthorize(stranger, people)).toBe(true)
    expect(await mayAuthorize(owner, people)).toBe(false)
    expect(await mayAuthorize(stranger, { kind: 'anyone' })).toBe(true)
  })

  test('that was withdrawn while the page was open is refused at the decision', async () => {
    const stranger = await signIn(auth)
    const client = await register(auth)
    const open = testResource(owner.orgId, { kind: 'anyone' })
    const page = await openConsent(auth, stranger, client.client_id, open)
    const closed = { ...open, access: JSON.stringify({ kind: 'org' }) }
    const { outcome } = await decide(page, closed, { sessionToken: stranger.sessionToken })
    if (outcome.case !== 'redirectUrl') throw new Error('no redirect')
    expect(new URL(outcome.value).searchParams.get('error')).toBe('access_denied')
  })

  test('under a rule that cannot be read is an error, not a grant', async () => {
    const client = await register(auth)
    const resource = { ...testResource(owner.orgId), access: '{"kind":"everyone"}' }
    expect(await outcomeOf(getCode(auth, owner, client.client_id, resource))).toThrow(
      'internal error',
    )
  })
})
