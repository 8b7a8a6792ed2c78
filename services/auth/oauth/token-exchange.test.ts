/** The token endpoint through the generated client: proofs, targets, replays, rotation, access. */
import { describe, expect, test } from 'bun:test'
import { revokedKey } from '@bmm/lib/hints'
import { decodeProtectedHeader, jwtVerify, UnsecuredJWT } from 'jose'
import {
  authOfFile,
  claimsOf,
  codeForm,
  exchange,
  getCode,
  getTokens,
  isActive,
  issuer,
  openConsent,
  refreshForm,
  register,
  signIn,
  testResource,
  tokensOf,
} from '../testing.ts'
import { findAccessTokenClaims } from './access-token.ts'

const auth = await authOfFile()
const owner = await signIn(auth)
const { client_id: clientId } = await register(auth)
const resource = testResource(owner.orgId)

const freshCode = () => getCode(auth, owner, clientId, resource)
const freshTokens = () => getTokens(auth, owner, clientId, resource)
const redeem = (code: string, changes: Record<string, string | undefined> = {}) =>
  exchange(auth.oauth, { form: { ...codeForm(clientId, code, resource), ...changes }, resource })
const refresh = (token: string, changes: Record<string, string | undefined> = {}) =>
  exchange(auth.oauth, {
    form: { ...refreshForm(clientId, token, resource), ...changes },
    resource,
  })

describe('an access token', () => {
  test('is an at+jwt of ES256 for exactly this server, person and grant', async () => {
    const tokens = await freshTokens()
    expect(tokens).toMatchObject({ token_type: 'Bearer', expires_in: 300, scope: 'mcp:tools' })
    const { alg, typ, kid = '' } = decodeProtectedHeader(tokens.access_token)
    expect([alg, typ]).toEqual(['ES256', 'at+jwt'])
    const key = await auth.keys.findVerifying(kid)
    if (key === undefined) throw new Error('unknown kid')
    const { payload } = await jwtVerify(tokens.access_token, key, {
      audience: resource.url,
      issuer,
    })
    expect(payload).toMatchObject({
      sub: owner.userId,
      org: owner.orgId,
      server: resource.serverId,
      client_id: clientId,
      scope: 'mcp:tools',
      grant: expect.stringMatching(/^grt_[0-9a-z]{26}$/),
      jti: expect.any(String),
    })
    expect((payload.exp ?? 0) - (payload.iat ?? 0)).toBe(300)
  })

  test('without a signature, with another type or by another key is nothing', async () => {
    const { access_token } = await freshTokens()
    const claims = claimsOf(access_token)
    const { kid = '' } = decodeProtectedHeader(access_token)
    const options = { issuer, keys: auth.keys, now: auth.clock.now() }
    expect(await findAccessTokenClaims(access_token, options)).toBeDefined()

    const unsigned = new UnsecuredJWT(claims).encode()
    const none = Buffer.from(JSON.stringify({ alg: 'none', typ: 'at+jwt', kid })).toString(
      'base64url',
    )
    const [, body = '', signature = ''] = access_token.split('.')
    const forgeries = [unsigned, `${none}.${body}.`, `${none}.${body}.${signature}`]
    const other = Buffer.from(JSON.stringify({ alg: 'ES256', typ: 'JWT', kid })).toString(
      'base64url',
    )
    const changed = Buffer.from(JSON.stringify({ ...claims, sub: 'usr_x' })).toString('base64url')
    forgeries.push(
      `${other}.${body}.${signature}`,
      `${access_token.split('.')[0]}.${changed}.${signature}`,
    )
    for (const forged of forgeries) {
      expect(await findAccessTokenClaims(forged, options)).toBeUndefined()
      expect(await isActive(auth, clientId, forged)).toBe(false)
    }
    const elsewhere = { ...options, issuer: 'https://other.example' }
    expect(await findAccessTokenClaims(access_token, elsewhere)).toBeUndefined()
  })
})

describe('a code', () => {
  test.each([
    ['no verifier', { code_verifier: undefined }, 'invalid_request'],
    ['another verifier', { code_verifier: 'x'.repeat(43) }, 'invalid_grant'],
    ['another redirect_uri', { redirect_uri: 'http://127.0.0.1:1/callback' }, 'invalid_grant'],
    ['another resource', { resource: `${issuer}/s/other/mcp` }, 'invalid_target'],
    ['another code', { code: `bmc_${'x'.repeat(43)}` }, 'invalid_grant'],
    ['no grant type', { grant_type: undefined }, 'invalid_request'],
    ['the password grant', { grant_type: 'password' }, 'unsupported_grant_type'],
    ['no client', { client_id: undefined }, 'invalid_client'],
    ['an unknown client', { client_id: 'cli_x' }, 'invalid_client'],
    ['a secret that was never given', { client_secret: 'x' }, 'invalid_client'],
  ])('with %s is refused and stays good for its owner', async (_, changes, error) => {
    const code = await freshCode()
    expect(await redeem(code, changes)).toMatchObject({ error })
    expect(await redeem(code)).toHaveProperty('tokens')
  })

  test('is refused for another server, also of the same organisation', async () => {
    const other = testResource(owner.orgId)
    const form = { ...codeForm(clientId, await freshCode(), resource), resource: other.url }
    expect(await exchange(auth.oauth, { form, resource: other })).toMatchObject({
      error: 'invalid_target',
    })
    const unresolved = codeForm(clientId, await freshCode(), resource)
    expect(await exchange(auth.oauth, { form: unresolved })).toMatchObject({
      error: 'invalid_target',
    })
  })

  test('with a parameter twice is refused', async () => {
    const form = codeForm(clientId, await freshCode(), resource)
    const twice = async (name: string, value: string) => {
      const parameters = Object.entries({ ...form }).map(([key, text]) => ({
        name: key,
        value: text,
      }))
      const { outcome } = await auth.oauth.exchangeToken({
        parameters: [...parameters, { name, value }],
        resource,
      })
      return outcome.case === 'fault' ? outcome.value.error : outcome.case
    }
    expect(await twice('resource', resource.url)).toBe('invalid_target')
    expect(await twice('code_verifier', form.code_verifier)).toBe('invalid_request')
  })

  test('is refused once the platform has moved, so that the client signs in again', async () => {
    const before = { ...testResource(owner.orgId), url: 'https://before.example.com/s/pets/mcp' }
    const code = await getCode(auth, owner, clientId, before)
    const form = codeForm(clientId, code, before)
    expect(await exchange(auth.oauth, { form, resource: before })).toMatchObject({
      error: 'invalid_grant',
    })
  })

  test('without resource asks for the server as it is now, then works', async () => {
    const form = { ...codeForm(clientId, await freshCode(), resource), resource: undefined }
    expect(await exchange(auth.oauth, { form })).toEqual({ resourceNeeded: resource.serverId })
    const other = testResource(owner.orgId)
    expect(await exchange(auth.oauth, { form, resource: other })).toMatchObject({
      error: 'invalid_target',
    })
    const tokens = tokensOf(await exchange(auth.oauth, { form, resource }))
    expect(claimsOf(tokens.access_token).aud).toBe(resource.url)
  })

  test('the redirect_uri may be left out at the token endpoint, as OAuth 2.1 does', async () => {
    expect(await redeem(await freshCode(), { redirect_uri: undefined })).toHaveProperty('tokens')
  })

  test('of another client is refused', async () => {
    const other = (await register(auth)).client_id
    expect(await redeem(await freshCode(), { client_id: other })).toMatchObject({
      error: 'invalid_grant',
    })
  })

  test('is good for a minute', async () => {
    const code = await freshCode()
    auth.clock.advance(60_001)
    expect(await redeem(code)).toMatchObject({ error: 'invalid_grant' })
  })

  test('that comes twice kills the tokens that it gave, at once and in Redis too', async () => {
    const code = await freshCode()
    const tokens = tokensOf(await redeem(code))
    expect(await isActive(auth, clientId, tokens.access_token)).toBe(true)
    expect(await redeem(code)).toMatchObject({ error: 'invalid_grant' })
    expect(await isActive(auth, clientId, tokens.access_token)).toBe(false)
    expect(await isActive(auth, clientId, tokens.refresh_token ?? '')).toBe(false)
    expect(await refresh(tokens.refresh_token ?? '')).toMatchObject({ error: 'invalid_grant' })
    const grant = String(claimsOf(tokens.access_token).grant)
    expect(await auth.redis.redis.ttl(revokedKey(grant))).toBeGreaterThan(600)
  })

  test('gives no refresh token to a client that neither registered nor asked for one', async () => {
    const { client_id } = await register(auth, { grant_types: ['authorization_code'] })
    const plain = await getTokens(auth, owner, client_id, resource)
    expect(plain.refresh_token).toBe('')
    const code = await getCode(auth, owner, client_id, resource, {
      scope: 'mcp:tools offline_access',
    })
    const tokens = tokensOf(
      await exchange(auth.oauth, { form: codeForm(client_id, code, resource), resource }),
    )
    expect(tokens.refresh_token).toMatch(/^bmr_/)
    expect(tokens.scope).toBe('mcp:tools offline_access')
  })

  test('is stored only as a hash, like every other secret of the flow', async () => {
    const page = await openConsent(auth, owner, clientId, resource)
    const code = await freshCode()
    const tokens = tokensOf(await redeem(code))
    const { sql } = auth.database
    const tables = await sql<{ name: string }[]>`
      select tablename as name from pg_tables where schemaname = 'auth'`
    const rows = await Promise.all(
      tables.map(({ name }) => sql`select row_to_json(t)::text as text from ${sql(name)} t`),
    )
    const dump = rows
      .flat()
      .map((row) => String(row.text))
      .join('\n')
    expect(dump).toContain(clientId)
    const secrets = [
      page.csrfToken,
      code,
      tokens.access_token,
      tokens.refresh_token ?? '',
      owner.sessionToken,
      'PRIVATE KEY',
    ]
    for (const secret of secrets) expect(dump).not.toContain(secret)
  })
})

describe('a refresh token', () => {
  test('is exchanged for new tokens of the same grant', async () => {
    const first = await freshTokens()
    const next = tokensOf(await refresh(first.refresh_token))
    expect(next.refresh_token).toMatch(/^bmr_/)
    expect(next.refresh_token).not.toBe(first.refresh_token)
    expect(claimsOf(next.access_token).grant).toBe(claimsOf(first.access_token).grant)
    expect(await refresh(next.refresh_token ?? '')).toHaveProperty('tokens')
  })

  test('repeated by its client within ten seconds gives the same successor again', async () => {
    const first = await freshTokens()
    const next = tokensOf(await refresh(first.refresh_token))
    auth.clock.advance(9_000)
    const again = tokensOf(await refresh(first.refresh_token))
    expect(again.refresh_token).toBe(next.refresh_token)
    expect(await isActive(auth, clientId, again.access_token)).toBe(true)
    expect(await refresh(next.refresh_token ?? '')).toHaveProperty('tokens')
  })

  test('repeated later kills the whole family', async () => {
    const first = await freshTokens()
    const next = tokensOf(await refresh(first.refresh_token))
    auth.clock.advance(10_001)
    expect(await refresh(first.refresh_token)).toMatchObject({ error: 'invalid_grant' })
    expect(await isActive(auth, clientId, next.access_token)).toBe(false)
    expect(await refresh(next.refresh_token ?? '')).toMatchObject({ error: 'invalid_grant' })
  })

  test('repeated once its successor was used kills the family, however soon', async () => {
    const first = await freshTokens()
    const next = tokensOf(await refresh(first.refresh_token))
    const third = tokensOf(await refresh(next.refresh_token ?? ''))
    expect(await refresh(first.refresh_token)).toMatchObject({ error: 'invalid_grant' })
    expect(await refresh(third.refresh_token ?? '')).toMatchObject({ error: 'invalid_grant' })
  })

  test('in the hands of another client kills the family, used or not', async () => {
    const other = (await register(auth)).client_id
    const fresh = await freshTokens()
    expect(await refresh(fresh.refresh_token, { client_id: other })).toMatchObject({
      error: 'invalid_grant',
    })
    expect(await refresh(fresh.refresh_token)).toMatchObject({ error: 'invalid_grant' })
    const used = await freshTokens()
    const next = tokensOf(await refresh(used.refresh_token))
    expect(await refresh(used.refresh_token, { client_id: other })).toMatchObject({
      error: 'invalid_grant',
    })
    expect(await refresh(next.refresh_token ?? '')).toMatchObject({ error: 'invalid_grant' })
  })

  test('is refused for another server and stays good', async () => {
    const { refresh_token } = await freshTokens()
    const other = testResource(owner.orgId)
    const form = { ...refreshForm(clientId, refresh_token, resource), resource: other.url }
    expect(await exchange(auth.oauth, { form, resource: other })).toMatchObject({
      error: 'invalid_target',
    })
    expect(await refresh(refresh_token, { scope: 'admin' })).toMatchObject({
      error: 'invalid_scope',
    })
    expect(await refresh(refresh_token)).toHaveProperty('tokens')
  })

  test('without resource asks for the server as it is now', async () => {
    const { refresh_token } = await freshTokens()
    const form = { ...refreshForm(clientId, refresh_token, resource), resource: undefined }
    expect(await exchange(auth.oauth, { form })).toEqual({ resourceNeeded: resource.serverId })
    expect(await exchange(auth.oauth, { form, resource })).toHaveProperty('tokens')
  })

  test('ends, with the grant, when the person may no longer use the server', async () => {
    const stranger = await signIn(auth)
    const open = { ...resource, access: JSON.stringify({ kind: 'anyone' }) }
    const tokens = await getTokens(auth, stranger, clientId, open)
    expect(await refresh(tokens.refresh_token)).toMatchObject({ error: 'invalid_grant' })
    expect(await isActive(auth, clientId, tokens.access_token)).toBe(false)
    const form = refreshForm(clientId, tokens.refresh_token, open)
    expect(await exchange(auth.oauth, { form, resource: open })).toMatchObject({
      error: 'invalid_grant',
    })
  })

  test('ends after thirty unused days', async () => {
    const { refresh_token } = await freshTokens()
    auth.clock.advance(30 * 86_400_000 + 1)
    expect(await refresh(refresh_token)).toMatchObject({ error: 'invalid_grant' })
  })
})

describe('a confidential client', () => {
  const form = (id: string, code: string) => {
    const { client_id: _, ...rest } = codeForm(id, code, resource)
    return rest
  }
  const basic = (id: string, secret: string) =>
    `Basic ${Buffer.from(`${encodeURIComponent(id)}:${encodeURIComponent(secret)}`).toString('base64')}`

  test('proves itself by its secret, in the way that it registered', async () => {
    const person = await signIn(auth)
    const own = testResource(person.orgId)
    const client = await register(auth, { token_endpoint_auth_method: 'client_secret_basic' })
    const { client_id: id, client_secret: secret = '' } = client
    const code = await getCode(auth, person, id, own)
    const ask = (changes: { authorization?: string; form?: Record<string, string> }) =>
      exchange(auth.oauth, {
        resource: own,
        authorization: changes.authorization ?? '',
        form: { ...form(id, code), resource: own.url, ...changes.form },
      })
    const refused = { error: 'invalid_client', status: 401 }
    expect(await ask({})).toEqual(refused)
    expect(await ask({ form: { client_id: id } })).toEqual(refused)
    expect(await ask({ form: { client_id: id, client_secret: secret } })).toEqual(refused)
    expect(await ask({ authorization: basic(id, 'wrong') })).toEqual(refused)
    expect(await ask({ authorization: 'Basic !!!' })).toEqual(refused)
    expect(await ask({ authorization: 'Bearer x' })).toEqual(refused)
    const both = { authorization: basic(id, secret), form: { client_secret: secret } }
    expect(await ask(both)).toMatchObject({ error: 'invalid_request' })
    expect(await ask({ authorization: basic(id, secret) })).toHaveProperty('tokens')
  })

  test('may send its secret in the form when it registered that', async () => {
    const person = await signIn(auth)
    const own = testResource(person.orgId)
    const client = await register(auth, { token_endpoint_auth_method: 'client_secret_post' })
    const { client_id: id, client_secret: secret = '' } = client
    const code = await getCode(auth, person, id, own)
    const full = { ...codeForm(id, code, own), client_secret: secret }
    const wrong = { ...full, client_secret: `${secret}x` }
    expect(await exchange(auth.oauth, { form: wrong, resource: own })).toMatchObject({
      error: 'invalid_client',
    })
    expect(await exchange(auth.oauth, { form: full, resource: own })).toHaveProperty('tokens')
  })
})
