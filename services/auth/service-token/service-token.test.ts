/** The text of service tokens, and who may make, use, see and end them. */
import { beforeEach, describe, expect, test } from 'bun:test'
import { channels, revokedKey } from '@bmm/lib/hints'
import { subscribe } from '@bmm/lib/redis'
import { reason } from '@bmm/lib/testing-outcome'
import { until } from '@bmm/lib/testing-until'
import { Service } from '@bmm/proto/v1/options'
import { cleanUp } from '../clean-up.ts'
import { tokenHash } from '../opaque-token.ts'
import { authOfFile, claimsOf, type SignedIn, signIn } from '../testing.ts'
import { isServiceToken, newServiceToken } from './service-token.ts'

const DAY_SECONDS = 86_400
const DAY_MS = DAY_SECONDS * 1000

const auth = await authOfFile()
let owner: SignedIn

beforeEach(async () => {
  owner = await signIn(auth)
})

const make = (person = owner, changes: { scopes?: string[]; name?: string; days?: number } = {}) =>
  auth.tokens.createServiceToken({
    sessionToken: person.sessionToken,
    name: changes.name ?? 'ci',
    scopes: changes.scopes ?? ['servers:read'],
    lifetimeSeconds: BigInt((changes.days ?? 1) * DAY_SECONDS),
  })
const use = (value: string, confirmDigest = '') =>
  auth.tokens.exchangeServiceToken({ value, audiences: [Service.GENERATOR], confirmDigest })
const list = async (person = owner) =>
  (await auth.tokens.listServiceTokens({ sessionToken: person.sessionToken })).tokens
const revoke = (tokenId: string, person = owner) =>
  auth.tokens.revokeServiceToken({ sessionToken: person.sessionToken, tokenId })

describe('the text', () => {
  test('has 256 bits and a checksum that catches a typo, a cut and a foreign prefix', () => {
    const token = newServiceToken()
    expect(token).toMatch(/^bmm_[0-9A-Za-z]{49}$/)
    expect(isServiceToken(token)).toBe(true)
    const typo = token.slice(0, 20) + (token[20] === 'a' ? 'b' : 'a') + token.slice(21)
    for (const wrong of [typo, token.slice(0, -1), `bms_${token.slice(4)}`, `${token}0`, '']) {
      expect(isServiceToken(wrong)).toBe(false)
    }
    expect(newServiceToken()).not.toBe(token)
  })

  test('is the same for the same secret, whatever its leading zeros', () => {
    const zero = newServiceToken(Buffer.alloc(32))
    expect(zero.slice(0, 47)).toBe(`bmm_${'0'.repeat(43)}`)
    expect(newServiceToken(Buffer.alloc(32, 0xff))).toHaveLength(zero.length)
    expect(isServiceToken(newServiceToken(Buffer.alloc(32, 0xff)))).toBe(true)
  })
})

describe('making', () => {
  test('shows the value once and keeps its hash alone', async () => {
    const { value, token } = await make(owner, { scopes: ['tools:call', 'servers:read'] })
    expect(isServiceToken(value)).toBe(true)
    expect(token?.scopes).toEqual(['servers:read', 'tools:call'])
    const [row] = await auth.database
      .sql`select * from service_tokens where id = ${token?.id ?? ''}`
    expect(Buffer.from(row?.token_hash)).toEqual(tokenHash(value))
    expect(JSON.stringify(row)).not.toContain(value.slice(4, 40))
    expect((await list()).map(({ id, userEmail }) => [id, userEmail])).toEqual([
      [token?.id ?? '', owner.email],
    ])
  })

  test('needs a session: no token makes another one, nor lists, nor revokes', async () => {
    const { value, token } = await make()
    const bearer = { ...owner, sessionToken: value }
    expect(await reason(make(bearer))).toBe('session_invalid')
    expect(await reason(list(bearer))).toBe('session_invalid')
    expect(await reason(revoke(token?.id ?? '', bearer))).toBe('session_invalid')
  })

  test('takes known scopes, a name and a life of at most 366 days', async () => {
    expect(await reason(make(owner, { scopes: ['servers:own'] }))).toBe('scope_unknown')
    expect(await reason(make(owner, { scopes: ['toString'] }))).toBe('scope_unknown')
    expect(await reason(make(owner, { scopes: [] }))).toBe('invalid_request')
    expect(await reason(make(owner, { name: '\u0000\u202e ' }))).toBe('name_invalid')
    expect(await reason(make(owner, { days: 367 }))).toBe('invalid_request')
    expect(await reason(make(owner, { days: 0 }))).toBe('invalid_request')
  })

  test('stops at 50 live ones, also when many come at once', async () => {
    const made = await Promise.all(Array.from({ length: 55 }, () => reason(make())))
    expect(made.filter((each) => each === 'done')).toHaveLength(50)
    expect(made.filter((each) => each === 'too_many_tokens')).toHaveLength(5)
    const [first] = await list()
    await revoke(first?.id ?? '')
    expect(await reason(make())).toBe('done')
  }, 30_000)
})

describe('using', () => {
  test('gives a user token of its person, with the scopes and what was confirmed', async () => {
    const digest = `sha256:${'a'.repeat(64)}`
    const { value, token } = await make(owner, { scopes: ['servers:write'] })
    const answer = await use(value, digest)
    expect(claimsOf(answer.userToken)).toMatchObject({
      sub: owner.userId,
      org: owner.orgId,
      role: 'owner',
      sid: token?.id ?? '',
      scp: ['servers:write'],
      cnf: digest,
      aud: ['generator'],
    })
    const user = await auth.identities.of('generator').verifyUser(answer.userToken)
    expect([user.scopes, user.confirmDigest]).toEqual([['servers:write'], digest])
  })

  test('is refused for what is unknown, mistyped, a session, or over', async () => {
    const { value } = await make(owner, { days: 1 })
    for (const wrong of [newServiceToken(), `${value.slice(0, -1)}!`, owner.sessionToken, 'x']) {
      expect(await reason(use(wrong))).toBe('token_invalid')
    }
    expect(await reason(use(value))).toBe('done')
    await auth.database.sql`update service_tokens set expires_at = now() - interval '1 second'`
    expect(await reason(use(value))).toBe('token_invalid')
    expect(await list()).toEqual([])
  })

  test('never mints a user token that outlives it', async () => {
    const { value, token } = await make()
    await auth.database.sql`
      update service_tokens set expires_at = ${new Date(auth.clock.now() + 30_000)}
      where id = ${token?.id ?? ''}`
    const { exp = 0 } = claimsOf((await use(value)).userToken)
    expect(Number(exp) * 1000).toBeLessThanOrEqual(auth.clock.now() + 30_000)
  })

  test('takes the role that its person has now, and ends with the membership', async () => {
    const { value } = await make()
    await auth.database.sql`
      update members set role = 'viewer' where user_id = ${owner.userId}`
    expect(claimsOf((await use(value)).userToken).role).toBe('viewer')
    await auth.database.sql`delete from members where user_id = ${owner.userId}`
    expect(await reason(use(value))).toBe('token_invalid')
  })

  test('keeps when it was last used, once a minute', async () => {
    const { value } = await make()
    const lastUse = async () => (await list())[0]?.lastUsedAt?.seconds
    expect(await lastUse()).toBeUndefined()
    await use(value)
    await until(async () => (await lastUse()) !== undefined, 'the use to be kept')
    const first = await lastUse()
    auth.clock.advance(30_000)
    await use(value)
    await Bun.sleep(100)
    expect(await lastUse()).toBe(first)
    auth.clock.advance(31_000)
    await use(value)
    await until(async () => (await lastUse()) !== first, 'the later use to be kept')
  })
})

describe('revoking', () => {
  test('ends it at once, marks it in Redis and tells the gateways', async () => {
    const { value, token } = await make()
    const id = token?.id ?? ''
    const heard: string[] = []
    await using _ = await subscribe(auth.redis.redis, channels.tokenRevoked, (it) => heard.push(it))
    const { cursor } = await auth.oauth.listRevocations({ after: 0n })
    await revoke(id)
    expect(await reason(use(value))).toBe('token_invalid')
    expect(await auth.redis.redis.exists(revokedKey(id))).toBe(1)
    const { revocations } = await auth.oauth.listRevocations({ after: cursor })
    expect(revocations.map(({ grantId }) => grantId)).toEqual([id])
    await until(() => heard.includes(id), 'the gateways to be told')
    expect(await reason(revoke(id))).toBe('token_not_found')
  })

  test('is for its organisation alone, and among builders for its person alone', async () => {
    const { token } = await make()
    const id = token?.id ?? ''
    const stranger = await signIn(auth)
    expect(await reason(revoke(id, stranger))).toBe('token_not_found')
    expect(await list(stranger)).toEqual([])
    const builder = await signIn(auth)
    await auth.database.sql`
      insert into members (org_id, user_id, role, created_at)
      values (${owner.orgId}, ${builder.userId}, 'builder', now())`
    await auth.database.sql`
      update sessions set org_id = ${owner.orgId} where user_id = ${builder.userId}`
    expect(await reason(revoke(id, builder))).toBe('token_not_found')
    expect(await list(builder)).toEqual([])
    const theirs = await make(builder)
    expect((await list(builder)).map((each) => each.id)).toEqual([theirs.token?.id ?? ''])
    expect(await list()).toHaveLength(2)
    expect(await reason(revoke(theirs.token?.id ?? ''))).toBe('done')
  })

  test('is not needed for what ended by itself: the row goes a day later', async () => {
    const { token } = await make(owner, { days: 1 })
    await cleanUp(auth.database.sql, auth.clock.now() + 1.5 * DAY_MS)
    const rows = () => auth.database.sql`select 1 from service_tokens where id = ${token?.id ?? ''}`
    expect(await rows()).toHaveLength(1)
    await cleanUp(auth.database.sql, auth.clock.now() + 2.5 * DAY_MS)
    expect(await rows()).toHaveLength(0)
  })
})
