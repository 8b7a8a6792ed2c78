/** A grant: what one person allowed one client on one server; its codes, refresh tokens and when each is good. */
import { createHash, createHmac } from 'node:crypto'
import { OFFLINE_SCOPE } from '@bmm/spec/scope'
import { opaqueTokenFrom } from '../opaque-token.ts'
import type { GrantType } from './client-registration.ts'
import { OAuthError } from './oauth-error.ts'

export const CODE_TTL_MS = 60_000
export const ACCESS_TOKEN_TTL_MS = 5 * 60_000
export const CONSENT_TTL_MS = 10 * 60_000
/** An unused refresh token ends after this. */
export const REFRESH_TTL_MS = 30 * 86_400_000
/** A person confirms again after this, however often the client refreshed. */
export const GRANT_MAX_AGE_MS = 365 * 86_400_000
/** How long a refresh may be repeated because its answer got lost. */
const RETRY_WINDOW_MS = 10_000

export type Grant = {
  /** `grt_…`. */
  id: string
  clientId: string
  userId: string
  orgId: string
  serverId: string
  resourceUrl: string
  scopes: string[]
  createdAt: Date
  expiresAt: Date
  revokedAt: Date | null
}

export type AuthorizationCode = {
  redirectUri: string
  codeChallenge: string
  expiresAt: Date
  consumedAt: Date | null
}

export type RefreshToken = { expiresAt: Date; consumedAt: Date | null }

/** RFC 7636 section 4.1. */
const verifierSyntax = /^[A-Za-z0-9._~-]{43,128}$/

/** Whether the verifier belongs to the S256 challenge. */
export function isVerifierOf(challenge: string, verifier: string): boolean {
  return (
    verifierSyntax.test(verifier) &&
    createHash('sha256').update(verifier).digest('base64url') === challenge
  )
}

/** Throws `invalid_grant` unless this client may redeem the code with these proofs now; `invalid_request` for no verifier at all. */
export function checkCode(
  code: AuthorizationCode,
  grant: Grant,
  presented: { clientId: string; verifier: string; redirectUri: string | undefined; now: number },
): void {
  const { clientId, verifier, redirectUri, now } = presented
  if (grant.clientId !== clientId) throw invalidGrant('The code was issued to another client.')
  if (code.expiresAt.getTime() <= now) throw invalidGrant('The code has expired.')
  // OAuth 2.1 dropped the parameter here; who still sends it must send the same.
  if (redirectUri !== undefined && redirectUri !== code.redirectUri) {
    throw invalidGrant('The redirect_uri is not that of the authorization request.')
  }
  if (!verifierSyntax.test(verifier)) {
    throw new OAuthError('invalid_request', 'The code_verifier is malformed.')
  }
  if (!isVerifierOf(code.codeChallenge, verifier)) {
    throw invalidGrant('The code_verifier does not match.')
  }
}

/** What a presented refresh token means. */
export type RefreshVerdict =
  /** Consume it and go on. */
  | 'rotate'
  /** Its answer got lost: give the same successor again. */
  | 'repeat'
  /** Stolen, by all that can be known: end the grant. */
  | 'kill'
  /** Simply over. */
  | 'refuse'

/** Decides on a refresh token that exists (RFC 9700 section 4.14.2). */
export function refreshVerdict(
  token: RefreshToken,
  grant: Grant,
  presented: { clientId: string; successor: RefreshToken | undefined; now: number },
): RefreshVerdict {
  const { clientId, successor, now } = presented
  if (grant.revokedAt !== null) return 'refuse'
  // A token in the hands of another client has leaked, used or not.
  if (grant.clientId !== clientId) return 'kill'
  if (token.consumedAt === null) return token.expiresAt.getTime() <= now ? 'refuse' : 'rotate'
  const honest =
    now - token.consumedAt.getTime() <= RETRY_WINDOW_MS &&
    successor !== undefined &&
    successor.consumedAt === null
  return honest ? 'repeat' : 'kill'
}

/** The refresh token that replaces this one: the same for every repetition, and stored nowhere in clear. */
export function successorOf(refreshToken: string, key: Buffer): string {
  return opaqueTokenFrom('bmr', createHmac('sha256', key).update(refreshToken).digest())
}

/** Whether the client gets refresh tokens: by its registration or by asking. */
export function hasRefresh(grantTypes: readonly GrantType[], scopes: readonly string[]): boolean {
  return grantTypes.includes('refresh_token') || scopes.includes(OFFLINE_SCOPE)
}

/** When a refresh token that is issued now ends: never after the grant's greatest age. */
export function refreshExpiry(grantCreatedAt: Date, now: number): Date {
  return new Date(Math.min(now + REFRESH_TTL_MS, grantCreatedAt.getTime() + GRANT_MAX_AGE_MS))
}

export function invalidGrant(description: string): OAuthError {
  return new OAuthError('invalid_grant', description)
}
