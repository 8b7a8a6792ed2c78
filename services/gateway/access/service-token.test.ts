/** Service tokens at the edge: how long an answer is remembered, what is counted, and what happens when nobody answers. */
import { expect, test } from 'bun:test'
import { reasonOf, retryAfterOf, unauthenticated, unavailable } from '@bmm/lib/errors'
import { Permission } from '@bmm/proto/v1/options'
import { timestampFromMs } from '@bufbuild/protobuf/wkt'
import { rateLimiter } from '../limits/rate-limit.ts'
import type { Standing } from './revocation.ts'
import { type ProgramRequest, serviceTokens } from './service-token.ts'

const value = `bmm_${'a'.repeat(49)}`
const request: ProgramRequest = {
  value,
  visitor: '192.0.2.1',
  permissions: [Permission.SERVERS_READ],
  audiences: ['generator'],
}

function world(limits: { strangers?: number; rate?: number } = {}) {
  const state = {
    now: 1_000_000,
    exchanges: 0,
    standing: 'good' as Standing,
    livesMs: 300_000,
    failure: undefined as Error | undefined,
  }
  const burst = (count: number) =>
    rateLimiter({ burst: count, perMinute: 1 }, { now: () => state.now })
  const tokens = serviceTokens({
    tokens: {
      async exchangeServiceToken({ confirmDigest }) {
        state.exchanges++
        await Bun.sleep(5)
        if (state.failure !== undefined) throw state.failure
        return {
          $typeName: 'bmm.auth.v1.ExchangeServiceTokenResponse',
          userToken: `user ${state.exchanges} ${confirmDigest ?? ''}`.trim(),
          expiresAt: timestampFromMs(state.now + state.livesMs),
          ...{ tokenId: 'tok_1', userId: 'usr_1', orgId: 'org_1', scopes: ['servers:read'] },
          ...{ userEmail: 'ada@example.com', orgName: 'Ada', role: 'owner', tokenName: 'ci' },
        }
      },
    },
    revocations: { standing: async () => state.standing },
    strangers: burst(limits.strangers ?? 10),
    rate: burst(limits.rate ?? 100),
    now: () => state.now,
  })
  const reason = (asked: Partial<ProgramRequest> = {}) =>
    tokens.admit({ ...request, ...asked }).then(() => 'admitted', reasonOf)
  return { state, tokens, reason }
}

test('an answer is used again for seconds, for the same audiences, and many at once ask once', async () => {
  const { state, tokens, reason } = world()
  await Promise.all(Array.from({ length: 20 }, () => tokens.admit(request)))
  expect(state.exchanges).toBe(1)
  await reason({ audiences: ['generator', 'secrets'] })
  expect(state.exchanges).toBe(2)
  state.now += 3_900
  await reason()
  expect(state.exchanges).toBe(2)
  state.now += 200
  await reason()
  expect(state.exchanges).toBe(3)
})

test('an answer is never used beyond its own end', async () => {
  const { state, reason } = world()
  state.livesMs = 1_000
  await reason()
  state.now += 1_001
  await reason()
  expect(state.exchanges).toBe(2)
})

test('a confirmation is asked for each time and remembered for nothing else', async () => {
  const { state, tokens } = world()
  const confirmDigest = `sha256:${'a'.repeat(64)}`
  const confirmed = await tokens.admit({ ...request, confirmDigest })
  expect(confirmed.userToken).toContain(confirmDigest)
  expect((await tokens.confirm({ ...request, confirmDigest })).userToken).toContain(confirmDigest)
  expect(state.exchanges).toBe(2)
  expect((await tokens.admit(request)).userToken).not.toContain(confirmDigest)
})

test('a revocation acts on the next request, remembered or not; unknown ones refuse', async () => {
  const { state, reason } = world()
  expect(await reason()).toBe('admitted')
  state.standing = 'revoked'
  expect(await reason()).toBe('token_invalid')
  state.standing = 'unknown'
  expect(await reason()).toBe('revocations_unknown')
  state.standing = 'good'
  expect(await reason()).toBe('admitted')
})

test('every permission needs a scope', async () => {
  const { reason } = world()
  const { SERVERS_READ, CREDENTIALS_WRITE } = Permission
  expect(await reason({ permissions: [SERVERS_READ, CREDENTIALS_WRITE] })).toBe('scope_missing')
  expect(await reason({ permissions: [Permission.UNSPECIFIED] })).toBe('scope_missing')
})

test('a token has its rate, whoever sends it, and is told when to come back', async () => {
  const { tokens, reason } = world({ rate: 3 })
  for (let count = 0; count < 3; count++) expect(await reason()).toBe('admitted')
  expect(await reason({ visitor: '198.51.100.7' })).toBe('rate_limited')
  const refused = await tokens.admit(request).catch((error) => error)
  expect(retryAfterOf(refused)).toBe(60)
})

test('who guesses is slowed down without asking auth, and nobody else is', async () => {
  const { state, reason } = world({ strangers: 4 })
  state.failure = unauthenticated('token_invalid', 'It is unknown.')
  expect(await reason({ value: '' })).toBe('token_missing')
  expect(await reason({ value: 'bmm_short' })).toBe('token_invalid')
  expect(state.exchanges).toBe(0)
  expect(await reason()).toBe('token_invalid')
  expect(await reason({ value: `bmm_${'b'.repeat(49)}` })).toBe('token_invalid')
  expect(await reason({ value: `bmm_${'c'.repeat(49)}` })).toBe('rate_limited')
  expect(state.exchanges).toBe(2)
  state.failure = undefined
  expect(await reason({ visitor: '198.51.100.7' })).toBe('admitted')
})

test('auth that does not answer is no refusal of the token', async () => {
  const { state, reason } = world({ strangers: 1 })
  state.failure = unavailable('auth_down', 'It does not answer.')
  for (let count = 0; count < 3; count++) expect(await reason()).toBe('auth_down')
})
