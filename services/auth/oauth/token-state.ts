/** Revoking and introspecting tokens (RFC 7009, RFC 7662): only by the client that holds them. */
import type { Sql } from '@bmm/lib/sql'
import { isOpaqueToken, tokenHash } from '../opaque-token.ts'
import type { Revoker } from '../revocation.ts'
import type { SigningKeys } from '../signing-keys.ts'
import { type AccessTokenClaims, findAccessTokenClaims } from './access-token.ts'
import type { Grant } from './grant.ts'
import { successorOf } from './grant.ts'
import { OAuthError } from './oauth-error.ts'
import { findGrant, findRefreshToken } from './oauth-store.ts'
import type { Parameters } from './parameters.ts'
import { authenticateClient } from './token-exchange.ts'

export type TokenStateOptions = {
  sql: Sql
  issuer: string
  keys: SigningKeys
  successorKey: Buffer
  revoker: Revoker
  now: () => number
}

type KnownToken =
  | { kind: 'access'; grant: Grant; claims: AccessTokenClaims }
  | { kind: 'refresh'; grant: Grant; usable: boolean; expiresAt: Date }

/** Ends the grant of a token; an unknown or ended one is fine. Throws OAuthError. */
export async function revokeToken(
  options: TokenStateOptions,
  parameters: Parameters,
  authorization: string,
): Promise<void> {
  parameters.refuseRepeated()
  const client = await authenticateClient(options.sql, parameters, authorization)
  const known = await findToken(options, parameters.get('token'))
  if (known === undefined) return
  if (known.grant.clientId !== client.id) {
    // RFC 7009 section 2.1: refused, and the client is told.
    throw new OAuthError('invalid_grant', 'The token was issued to another client.')
  }
  await options.revoker.end({ grantId: known.grant.id }, 'revoked by client')
}

/** The introspection response: `active` and nothing more unless the token is this client's and good. */
export async function introspectToken(
  options: TokenStateOptions,
  parameters: Parameters,
  authorization: string,
): Promise<object> {
  parameters.refuseRepeated()
  const client = await authenticateClient(options.sql, parameters, authorization)
  const known = await findToken(options, parameters.get('token'))
  if (known === undefined || known.grant.clientId !== client.id) return { active: false }
  if (known.grant.revokedAt !== null) return { active: false }
  if (known.kind === 'access') return { active: true, token_type: 'Bearer', ...known.claims }
  if (!known.usable) return { active: false }
  const { grant } = known
  return {
    active: true,
    iss: options.issuer,
    aud: grant.resourceUrl,
    sub: grant.userId,
    client_id: grant.clientId,
    scope: grant.scopes.join(' '),
    exp: Math.floor(known.expiresAt.getTime() / 1000),
  }
}

/** The shape tells the two kinds apart, so `token_type_hint` is not needed (RFC 7009 section 2.1). */
async function findToken(
  options: TokenStateOptions,
  token: string,
): Promise<KnownToken | undefined> {
  const { sql, now } = options
  if (isOpaqueToken('bmr', token)) {
    const successorHash = tokenHash(successorOf(token, options.successorKey))
    const found = await findRefreshToken(sql, tokenHash(token), successorHash)
    if (found === undefined) return undefined
    const { consumedAt, expiresAt } = found.token
    const usable = consumedAt === null && expiresAt.getTime() > now()
    return { kind: 'refresh', grant: found.grant, usable, expiresAt }
  }
  const claims = await findAccessTokenClaims(token, {
    issuer: options.issuer,
    keys: options.keys,
    now: now(),
  })
  const grant = claims === undefined ? undefined : await findGrant(sql, claims.grant)
  return claims === undefined || grant === undefined ? undefined : { kind: 'access', claims, grant }
}
