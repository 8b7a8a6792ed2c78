import { describe, expect, test } from 'bun:test'
import {
  GRANT_MAX_AGE_MS,
  type Grant,
  isVerifierOf,
  REFRESH_TTL_MS,
  refreshExpiry,
  refreshVerdict,
  successorOf,
} from './grant.ts'

const now = Date.UTC(2026, 10, 22)
const grant: Grant = {
  id: 'grt_1',
  clientId: 'cli_1',
  userId: 'usr_1',
  orgId: 'org_1',
  serverId: 'srv_1',
  resourceUrl: 'https://example.com/s/a/mcp',
  scopes: ['mcp:tools'],
  createdAt: new Date(now),
  expiresAt: new Date(now + 1_000),
  revokedAt: null,
}

test('the verifier of RFC 7636 appendix B fits its challenge, and no other does', () => {
  const challenge = 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM'
  const verifier = 'dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk'
  expect(isVerifierOf(challenge, verifier)).toBe(true)
  expect(isVerifierOf(challenge, `${verifier}x`)).toBe(false)
  expect(isVerifierOf(challenge, challenge)).toBe(false)
  expect(isVerifierOf(verifier, verifier)).toBe(false)
  expect(isVerifierOf(challenge, '')).toBe(false)
})

describe('a presented refresh token', () => {
  const at = (ms: number) => new Date(now + ms)
  const fresh = { expiresAt: at(1_000), consumedAt: null }
  const used = { expiresAt: at(1_000), consumedAt: at(-9_999) }
  const own = { clientId: 'cli_1', successor: undefined, now }
  const stranger = { clientId: 'cli_2', successor: fresh, now }

  test.each([
    ['fresh', 'rotate', fresh, grant, own],
    ['expired', 'refuse', { expiresAt: at(0), consumedAt: null }, grant, own],
    ['just used', 'repeat', used, grant, { ...own, successor: fresh }],
    ['used and followed', 'kill', used, grant, { ...own, successor: used }],
    ['used without a successor', 'kill', used, grant, own],
    [
      'used long ago',
      'kill',
      { ...used, consumedAt: at(-10_001) },
      grant,
      { ...own, successor: fresh },
    ],
    ['fresh, of another client', 'kill', fresh, grant, stranger],
    ['just used, of another client', 'kill', used, grant, stranger],
    ['of an ended grant', 'refuse', fresh, { ...grant, revokedAt: at(-1) }, own],
    ['of an ended grant, just used', 'refuse', used, { ...grant, revokedAt: at(-1) }, stranger],
  ] as const)('%s: %s', (_, verdict, token, of, presented) => {
    expect(refreshVerdict(token, of, presented)).toBe(verdict)
  })
})

test('a successor is the same for every repetition and needs the key', () => {
  const [key, other] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)]
  expect(successorOf('bmr_a', key)).toBe(successorOf('bmr_a', key))
  expect(successorOf('bmr_a', key)).not.toBe(successorOf('bmr_a', other))
  expect(successorOf('bmr_a', key)).not.toBe(successorOf('bmr_b', key))
  expect(successorOf('bmr_a', key)).toMatch(/^bmr_[A-Za-z0-9_-]{43}$/)
})

test('refreshing prolongs a grant up to a year', () => {
  expect(refreshExpiry(grant.createdAt, now).getTime()).toBe(now + REFRESH_TTL_MS)
  const late = now + GRANT_MAX_AGE_MS - 5_000
  expect(refreshExpiry(grant.createdAt, late).getTime()).toBe(now + GRANT_MAX_AGE_MS)
})
