/** Access tokens: JWTs for exactly one server (RFC 9068), ES256, five minutes. */
import { decodeProtectedHeader, jwtVerify, SignJWT } from 'jose'
import { z } from 'zod'
import type { SigningKey, SigningKeys } from '../signing-keys.ts'
import { ACCESS_TOKEN_TTL_MS, type Grant } from './grant.ts'

// ES256 over EdDSA: every JOSE library of a resource server or gateway product verifies it.
const algorithm = 'ES256'
const tokenType = 'at+jwt'

const claimsSchema = z.object({
  iss: z.string(),
  aud: z.string(),
  sub: z.string().startsWith('usr_'),
  client_id: z.string(),
  scope: z.string(),
  jti: z.string(),
  iat: z.number(),
  exp: z.number(),
  /** The grant: revoking it kills the token. */
  grant: z.string().startsWith('grt_'),
  /** The organisation that the person acts for. */
  org: z.string().startsWith('org_'),
  server: z.string().startsWith('srv_'),
})
export type AccessTokenClaims = z.infer<typeof claimsSchema>

/** A token for the grant's server with these scopes. */
export async function signAccessToken(
  grant: Grant,
  scopes: readonly string[],
  options: { issuer: string; key: SigningKey; now: number },
): Promise<string> {
  const seconds = Math.floor(options.now / 1000)
  return new SignJWT({
    client_id: grant.clientId,
    scope: scopes.join(' '),
    grant: grant.id,
    org: grant.orgId,
    server: grant.serverId,
  })
    .setProtectedHeader({ alg: algorithm, typ: tokenType, kid: options.key.kid })
    .setIssuer(options.issuer)
    .setAudience(grant.resourceUrl)
    .setSubject(grant.userId)
    .setJti(crypto.randomUUID())
    .setIssuedAt(seconds)
    .setExpirationTime(seconds + ACCESS_TOKEN_TTL_MS / 1000)
    .sign(options.key.key)
}

/** The claims of a token that this server signed and that has not ended, else undefined. */
export async function findAccessTokenClaims(
  token: string,
  options: { issuer: string; keys: SigningKeys; now: number },
): Promise<AccessTokenClaims | undefined> {
  try {
    const { kid } = decodeProtectedHeader(token)
    const key = kid === undefined ? undefined : await options.keys.findVerifying(kid)
    if (key === undefined) return undefined
    const { payload } = await jwtVerify(token, key, {
      algorithms: [algorithm],
      typ: tokenType,
      issuer: options.issuer,
      currentDate: new Date(options.now),
    })
    return claimsSchema.parse(payload)
  } catch (thrown) {
    if (isTokenFault(thrown)) return undefined
    throw thrown
  }
}

/** Whether the token is at fault and not, say, the database. */
function isTokenFault(thrown: unknown): boolean {
  if (thrown instanceof z.ZodError || thrown instanceof TypeError) return true
  return thrown instanceof Error && 'code' in thrown && String(thrown.code).startsWith('ERR_J')
}
