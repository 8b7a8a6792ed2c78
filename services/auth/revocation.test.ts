/** Revocation, introspection, the feed of ended grants and key rotation, through the generated client. */
import { describe, expect, test } from 'bun:test'
import { channels, revokedKey } from '@bmm/lib/hints'
import { subscribe } from '@bmm/lib/redis'
import { inTransaction } from '@bmm/lib/sql'
import { outcomeOf } from '@bmm/lib/testing-outcome'
import { until } from '@bmm/lib/testing-until'
import { calculateJwkThumbprint, createLocalJWKSet, decodeProtectedHeader, jwtVerify } from 'jose'
import { z } from 'zod'
import { cleanUp } from './clean-up.ts'
import { createRevocations } from './revocation-store.ts'
import { openSigningKeys } from './signing-keys.ts'
import {
  authOfFile,
  claimsOf,
  exchange,
  getTokens,
  isActive,
  issuer,
  jsonOf,
  openConsent,
  pairs,
  refreshForm,
  register,
  signIn,
  testResource,
} from './testing.ts'

const auth = await authOfFile()
const owner = await signIn(auth)
const { client_id: clientId } = await register(auth)
const resource = testResource(owner.orgId)

const freshTokens = () => getTokens(auth, owner, clientId, resource)
const revoke = async (token: string, client = clientId) =>
  (await auth.oauth.revokeToken({ parameters: pairs({ client_id: client, token }) })).fault?.error
const grantOf = (token: string) => String(claimsOf(token).grant)

describe('revoking', () => {
  test.each(['access_token', 'refresh_token'] as const)('an %s ends its grant', async (kind) => {
    const tokens = await freshTokens()
    const heard: string[] = []
    await using _ = await subscribe(auth.redis.redis, channels.tokenRevoked, (id) => heard.push(id))
    expect(await revoke(tokens[kind])).toBeUndefined()
    expect(await isActive(auth, clientId, tokens.access_token)).toBe(false)
    expect(await isActive(auth, clientId, tokens.refresh_token)).toBe(false)
    const grant = grantOf(tokens.access_token)
    expect(await auth.redis.redis.exists(revokedKey(grant))).toBe(1)
    await until(() => heard.includes(grant), 'the gateways to be told')
    expect(await revoke(tokens[kind])).toBeUndefined()
  })

  test('an unknown token is fine, one of another client is refused', async () => {
    expect(await revoke('nonsense')).toBeUndefined()
    expect(await revoke(`bmr_${'x'.repeat(43)}`)).toBeUndefined()
    const other = (await register(auth)).client_id
    const tokens = await freshTokens()
    expect(await revoke(tokens.refresh_token, other)).toBe('invalid_grant')
    expect(await revoke(tokens.access_token, other)).toBe('invalid_grant')
    expect(await isActive(auth, clientId, tokens.access_token)).toBe(true)
    expect(await revoke(tokens.access_token, 'cli_x')).toBe('invalid_client')
  })

  test('holds in Postgres also while Redis is away', async () => {
    const tokens = await freshTokens()
    const before = await auth.oauth.listRevocations({ after: 0n })
    auth.redis.redis.disconnect()
    expect(await revoke(tokens.refresh_token)).toBeUndefined()
    await auth.redis.redis.connect()
    const page = await auth.oauth.listRevocations({ after: before.cursor })
    expect(page.revocations.map(({ grantId }) => grantId)).toEqual([grantOf(tokens.access_token)])
  })
})

describe('introspection', () => {
  test('tells its client the claims, and another client nothing', async () => {
    const tokens = await freshTokens()
    const { outcome } = await auth.oauth.introspectToken({
      parameters: pairs({ client_id: clientId, token: tokens.access_token }),
    })
    if (outcome.case !== 'answer') throw new Error('no answer')
    expect(jsonOf(outcome.value.body)).toMatchObject({
      active: true,
      aud: resource.url,
      sub: owner.userId,
      iss: issuer,
    })
    const other = (await register(auth)).client_id
    expect(await isActive(auth, other, tokens.access_token)).toBe(false)
    expect(await isActive(auth, clientId, tokens.refresh_token)).toBe(true)
    expect(await isActive(auth, other, tokens.refresh_token)).toBe(false)
  })

  test('says inactive once the token has ended', async () => {
    const tokens = await freshTokens()
    auth.clock.advance(300_001)
    expect(await isActive(auth, clientId, tokens.access_token)).toBe(false)
    expect(await isActive(auth, clientId, tokens.refresh_token)).toBe(true)
  })
})

describe('the feed of ended grants', () => {
  test('brings what came after the cursor, once', async () => {
    const { cursor } = await auth.oauth.listRevocations({ after: 0n })
    const tokens = await freshTokens()
    await revoke(tokens.access_token)
    const page = await auth.oauth.listRevocations({ after: cursor })
    expect(page.revocations.map(({ grantId }) => grantId)).toEqual([grantOf(tokens.access_token)])
    expect(page.cursor).toBeGreaterThan(cursor)
    expect((await auth.oauth.listRevocations({ after: page.cursor })).revocations).toEqual([])
    const reset = await auth.oauth.listRevocations({ after: page.cursor + 1_000_000n })
    expect(reset.revocations.map(({ grantId }) => grantId)).toContain(grantOf(tokens.access_token))
  })

  test('misses none while a slow writer has drawn its number and not committed', async () => {
    const { sql } = auth.database
    const { cursor } = await auth.oauth.listRevocations({ after: 0n })
    const at = new Date(auth.clock.now())
    const drawn = Promise.withResolvers<void>()
    const commit = Promise.withResolvers<void>()
    const slow = inTransaction(sql, async (transaction) => {
      await createRevocations(transaction, ['grt_slow'], at)
      drawn.resolve()
      await commit.promise
    })
    await drawn.promise
    const fast = inTransaction(sql, (transaction) =>
      createRevocations(transaction, ['grt_fast'], at),
    )
    const early = await auth.oauth.listRevocations({ after: cursor })
    expect(early.revocations.map(({ grantId }) => grantId)).not.toContain('grt_fast')
    commit.resolve()
    await Promise.all([slow, fast])
    const late = await auth.oauth.listRevocations({ after: early.cursor })
    expect(late.revocations.map(({ grantId }) => grantId)).toEqual(['grt_slow', 'grt_fast'])
  })

  test('comes in pages of a thousand', async () => {
    const { cursor } = await auth.oauth.listRevocations({ after: 0n })
    const ids = Array.from({ length: 1_001 }, (_, index) => `grt_many_${index}`)
    await inTransaction(auth.database.sql, (transaction) =>
      createRevocations(transaction, ids, new Date(auth.clock.now())),
    )
    const first = await auth.oauth.listRevocations({ after: cursor })
    const second = await auth.oauth.listRevocations({ after: first.cursor })
    expect([first.revocations.length, second.revocations.length]).toEqual([1_000, 1])
  })
})

test('ending the grants of a server kills the tokens of all its people, and of no other server', async () => {
  const open = testResource(owner.orgId, { kind: 'anyone' })
  const stranger = await signIn(auth)
  const ended = [
    await getTokens(auth, owner, clientId, open),
    await getTokens(auth, stranger, clientId, open),
  ]
  const other = await freshTokens()
  expect(await auth.generator.endServerGrants({ serverId: open.serverId })).toMatchObject({
    ended: 2,
  })
  expect(await auth.generator.endServerGrants({ serverId: open.serverId })).toMatchObject({
    ended: 0,
  })
  for (const tokens of ended) {
    expect(await isActive(auth, clientId, tokens.access_token)).toBe(false)
    const form = refreshForm(clientId, tokens.refresh_token, open)
    expect(await exchange(auth.oauth, { form, resource: open })).toMatchObject({
      error: 'invalid_grant',
    })
  }
  expect(await isActive(auth, clientId, other.access_token)).toBe(true)
})

describe('signing keys', () => {
  const jwksSchema = z.object({ keys: z.array(z.record(z.string(), z.string())) })
  const jwks = async () => jwksSchema.parse(jsonOf((await auth.oauth.getJwks({})).jwks))
  const verifies = async (token: string) => {
    const { payload } = await jwtVerify(token, createLocalJWKSet(await jwks()), {
      audience: resource.url,
      currentDate: new Date(auth.clock.now()),
    })
    return payload.sub === owner.userId
  }

  test('are published as ES256 under their thumbprint, without private parts', async () => {
    for (const key of (await jwks()).keys) {
      expect(key).toMatchObject({ kty: 'EC', crv: 'P-256', alg: 'ES256', use: 'sig' })
      expect(key).not.toHaveProperty('d')
      expect(await calculateJwkThumbprint(key)).toBe(String(key.kid))
    }
  })

  test('rotate: new tokens by the new key, old tokens verify until they end, then the old key goes', async () => {
    const before = await freshTokens()
    const { keyId } = await auth.operator.rotateSigningKey({})
    const after = await freshTokens()
    expect(decodeProtectedHeader(after.access_token).kid).toBe(keyId)
    expect(decodeProtectedHeader(before.access_token).kid).not.toBe(keyId)
    expect(await verifies(before.access_token)).toBe(true)
    expect(await verifies(after.access_token)).toBe(true)
    expect(await isActive(auth, clientId, before.access_token)).toBe(true)
    const { sql } = auth.database
    const retired = await sql`
      select wrapped_private_key from signing_keys where retired_at is not null`
    expect(retired.length).toBeGreaterThan(0)
    for (const row of retired) expect(row.wrapped_private_key).toBeNull()
    auth.clock.advance(10 * 60_000 + 1)
    expect((await jwks()).keys.map((key) => key.kid)).toEqual([keyId])
  })

  test('rotated ten times at once leave exactly one active', async () => {
    await Promise.all(Array.from({ length: 10 }, () => auth.operator.rotateSigningKey({})))
    const active = await auth.database.sql`select 1 from signing_keys where retired_at is null`
    expect(active).toHaveLength(1)
    expect(await verifies((await freshTokens()).access_token)).toBe(true)
  })

  test('do not open under another key-encryption key', async () => {
    const { sql } = auth.database
    const kek = Buffer.alloc(32, 7)
    expect(await outcomeOf(openSigningKeys({ sql, kek, now: Date.now }))).toThrow()
  })
})

test('the clean-up takes what is over and leaves what lives', async () => {
  const { sql } = auth.database
  const old = await freshTokens()
  await openConsent(auth, owner, clientId, resource)
  await register(auth)
  auth.clock.advance(32 * 86_400_000)
  const again = await signIn(auth, owner.email)
  const live = await getTokens(auth, again, clientId, resource)
  expect(await cleanUp(sql, auth.clock.now())).toBeGreaterThan(5)
  const grants = await sql<{ id: string }[]>`select id from grants`
  expect(grants.map(({ id }) => id)).toEqual([grantOf(live.access_token)])
  const clients = await sql<{ id: string }[]>`select id from oauth_clients`
  expect(clients.map(({ id }) => id)).toContain(clientId)
  const [left] = await sql`
    select (select count(*)::int from refresh_tokens) as refresh, (select count(*)::int from sessions)
      as sessions, (select count(*)::int from revocations) as revocations,
      (select count(*)::int from consent_requests where decided_at is null) as requests,
      (select count(*)::int from signing_keys) as keys`
  expect(left).toEqual({ refresh: 1, sessions: 1, revocations: 0, requests: 0, keys: 1 })
  expect(await isActive(auth, clientId, live.refresh_token)).toBe(true)
  expect(await isActive(auth, clientId, old.refresh_token)).toBe(false)
  expect(await cleanUp(sql, auth.clock.now())).toBe(0)
})
