/** Access tokens of the authorization server: verified once, remembered by digest, bound to one server. */
import { CALL_SCOPE, OFFLINE_SCOPE } from '@bmm/spec/scope'
import { errors as joseErrors, jwtVerify } from 'jose'
import { z } from 'zod'
import type { KeySet } from './key-set.ts'

/** What the metadata documents offer; the challenge of a 401 names the scope of calls alone. */
export const NORMAL_SCOPES = `${CALL_SCOPE} ${OFFLINE_SCOPE}`

const MAX_TOKEN_CHARACTERS = 4_096
/** RFC 6750 section 2.1. */
const tokenPattern = /^[A-Za-z0-9._~+/-]+=*$/
const MAX_REMEMBERED = 10_000
const CLOCK_SKEW_SECONDS = 5
/** Longer lives are not issued, so such a token is not ours. */
const MAX_LIFE_SECONDS = 10 * 60

export type AccessClaims = {
  userId: string
  orgId: string
  serverId: string
  clientId: string
  grantId: string
  audience: string
  scopes: ReadonlySet<string>
  /** Seconds since 1970. */
  expiresAt: number
}

/** The claims behind a token for a resource, or undefined when it is not good there, for whatever reason. */
export type AccessTokens = {
  /** Answers at once when the token was verified before. */
  verify(
    token: string,
    resource: string,
  ): AccessClaims | undefined | Promise<AccessClaims | undefined>
}

/** RFC 9068 section 2.2, with our own grant, organisation and server. */
const claimsSchema = z.object({
  sub: z.string().startsWith('usr_'),
  org: z.string().startsWith('org_'),
  server: z.string().startsWith('srv_'),
  grant: z.string().startsWith('grt_'),
  client_id: z.string().min(1),
  aud: z.string(),
  scope: z.string(),
  iat: z.number(),
  exp: z.number(),
})

export function accessTokens(options: {
  issuer: string
  keys: KeySet
  now?: () => number
  maxRemembered?: number
}): AccessTokens {
  const { now = Date.now, maxRemembered = MAX_REMEMBERED } = options
  const remembered = new Map<string, AccessClaims>()

  function admit(digest: string, claims: AccessClaims, resource: string): AccessClaims | undefined {
    remembered.delete(digest)
    if (claims.expiresAt + CLOCK_SKEW_SECONDS <= now() / 1_000) return undefined
    remembered.set(digest, claims)
    if (remembered.size > maxRemembered) forgetOldest(remembered)
    return claims.audience === resource ? claims : undefined
  }

  async function verifyFirst(token: string, digest: string, resource: string) {
    const claims = await verified(token, options.issuer, options.keys, now)
    return claims && admit(digest, claims, resource)
  }

  return {
    verify(token, resource) {
      if (token.length > MAX_TOKEN_CHARACTERS) return undefined
      const digest = Bun.CryptoHasher.hash('sha256', token, 'base64')
      const known = remembered.get(digest)
      if (known !== undefined) return admit(digest, known, resource)
      return tokenPattern.test(token) ? verifyFirst(token, digest, resource) : undefined
    },
  }
}

async function verified(
  token: string,
  issuer: string,
  keys: KeySet,
  now: () => number,
): Promise<AccessClaims | undefined> {
  if (!hasCanonicalSignature(token)) return undefined
  try {
    const { payload } = await jwtVerify(
      token,
      async ({ kid }) => {
        const key = kid === undefined ? undefined : await keys.find(kid)
        if (key === undefined) throw new joseErrors.JWKSNoMatchingKey()
        return key
      },
      {
        algorithms: [keys.algorithm],
        typ: 'at+jwt',
        issuer,
        currentDate: new Date(now()),
        clockTolerance: CLOCK_SKEW_SECONDS,
        requiredClaims: ['exp', 'iat', 'jti'],
      },
    )
    const claims = claimsSchema.safeParse(payload)
    if (!claims.success || claims.data.exp - claims.data.iat > MAX_LIFE_SECONDS) return undefined
    const { sub, org, server, grant, client_id, aud, scope, exp } = claims.data
    return {
      userId: sub,
      orgId: org,
      serverId: server,
      clientId: client_id,
      grantId: grant,
      audience: aud,
      scopes: new Set(scope.split(' ')),
      expiresAt: exp,
    }
  } catch (error) {
    if (error instanceof joseErrors.JOSEError) return undefined
    throw error
  }
}

/** Bits beyond the last byte say nothing: a second spelling of one token is refused (RFC 4648 section 3.5). */
function hasCanonicalSignature(token: string): boolean {
  const signature = token.slice(token.lastIndexOf('.') + 1)
  return Buffer.from(signature, 'base64url').toString('base64url') === signature
}

function forgetOldest(remembered: Map<string, unknown>): void {
  for (const digest of remembered.keys()) {
    remembered.delete(digest)
    return
  }
}
