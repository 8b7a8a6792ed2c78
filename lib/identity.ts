/** Who calls: services by short JWTs of their own keys, people by user tokens that only `auth` mints. */
import { createPublicKey, type KeyObject } from 'node:crypto'
import { createContextKey, type HandlerContext } from '@connectrpc/connect'
import { importPKCS8, errors as joseErrors, jwtVerify, SignJWT } from 'jose'
import { z } from 'zod'
import { unauthenticated } from './errors.ts'

export const serviceNames = [
  'auth',
  'secrets',
  'generator',
  'runner',
  'broker',
  'keeper',
  'gateway',
  'operator',
] as const
export type ServiceName = (typeof serviceNames)[number]

/** Header that carries the user token beside the service's own. */
export const USER_HEADER = 'bmm-user'
const SERVICE_TOKEN_SECONDS = 60
const CLOCK_SKEW_SECONDS = 5
/** Replays are refused while remembered; past this many in a minute calls are refused instead of forgotten. */
const MAX_REMEMBERED_CALLS = 200_000

const publicKeysSchema = z.record(z.string(), z.string())

/** A person behind a call, as `auth` said it. */
export type UserClaims = {
  userId: string
  orgId: string
  role: string
  /** `ses_…`, or `tok_…` where a service token stands behind the call. */
  sessionId: string
  /** Present for a service token: then only what its scopes permit is allowed, whatever the role. */
  scopes?: readonly string[]
  /** `sha256:…` of the bytes that the person just confirmed. */
  confirmDigest?: string
  /** The token itself, for forwarding. */
  token: string
}

export type Caller = { service: ServiceName; user?: UserClaims }

export type Identity = {
  name: ServiceName
  /** A JWT for one method of one service, valid for 60 seconds, usable once for changing RPCs. */
  sign(callee: ServiceName, method: string): Promise<string>
  /** The calling service; throws `service_token_invalid` or `service_token_replayed`. */
  verify(token: string, method: string, options: { once: boolean }): Promise<ServiceName>
  /** The person of a user token for this service; throws `user_token_invalid`. */
  verifyUser(token: string): Promise<UserClaims>
}

export type IdentityOptions = {
  name: ServiceName
  /** Ed25519, PKCS #8 PEM. */
  privateKeyPem: string
  /** Text of the public-keys file: JSON, name → SubjectPublicKeyInfo DER in base64; `auth-user` signs user tokens. */
  publicKeys: string
  now?: () => number
}

/** Loads a service's identity. Throws when a key is malformed. */
export async function openIdentity(options: IdentityOptions): Promise<Identity> {
  const { name, now = Date.now } = options
  const privateKey = await importPKCS8(options.privateKeyPem, 'EdDSA')
  const publicKeys = new Map<string, KeyObject>()
  for (const [owner, der] of Object.entries(
    publicKeysSchema.parse(JSON.parse(options.publicKeys)),
  )) {
    publicKeys.set(
      owner,
      createPublicKey({ key: Buffer.from(der, 'base64'), format: 'der', type: 'spki' }),
    )
  }
  const seen = replayGuard(now)

  return {
    name,
    async sign(callee, method) {
      const seconds = Math.floor(now() / 1000)
      return new SignJWT({ mtd: method })
        .setProtectedHeader({ alg: 'EdDSA', typ: 'bmm-service+jwt' })
        .setIssuer(name)
        .setAudience(callee)
        .setIssuedAt(seconds)
        .setExpirationTime(seconds + SERVICE_TOKEN_SECONDS)
        .setJti(crypto.randomUUID())
        .sign(privateKey)
    },
    async verify(token, method, { once }) {
      const claims = await verified(
        token,
        'bmm-service+jwt',
        publicKeys.get(issuerOf(token)),
        name,
        now,
        'service_token_invalid',
      )
      const service = serviceNames.find((known) => known === claims.iss)
      const lifetime = (claims.exp ?? 0) - (claims.iat ?? 0)
      if (
        service === undefined ||
        claims.mtd !== method ||
        claims.jti === undefined ||
        lifetime > SERVICE_TOKEN_SECONDS
      ) {
        throw unauthenticated('service_token_invalid', 'The service token is not for this call.')
      }
      if (once && !seen(`${service} ${claims.jti}`)) {
        throw unauthenticated('service_token_replayed', 'The service token was used before.')
      }
      return service
    },
    async verifyUser(token) {
      const claims = await verified(
        token,
        'bmm-user+jwt',
        publicKeys.get('auth-user'),
        name,
        now,
        'user_token_invalid',
      )
      const parsed = userClaimsSchema.safeParse(claims)
      if (!parsed.success)
        throw unauthenticated('user_token_invalid', 'The user token is malformed.')
      const { sub, org, role, sid, cnf, scp } = parsed.data
      return {
        userId: sub,
        orgId: org,
        role,
        sessionId: sid,
        token,
        ...(cnf === undefined ? {} : { confirmDigest: cnf }),
        ...(scp === undefined ? {} : { scopes: scp }),
      }
    },
  }
}

const userClaimsSchema = z.object({
  sub: z.string().startsWith('usr_'),
  org: z.string().startsWith('org_'),
  role: z.string(),
  sid: z.string(),
  cnf: z.string().optional(),
  scp: z.array(z.string()).optional(),
})

export const callerKey = createContextKey<Caller | undefined>(undefined)

/** Who calls this RPC; the identity interceptor put it there. */
function callerOf(context: HandlerContext): Caller {
  const caller = context.values.get(callerKey)
  if (caller === undefined) throw unauthenticated('service_token_missing', 'No caller is known.')
  return caller
}

/** The person behind this RPC; throws `user_required` when there is none. */
export function userOf(context: HandlerContext): UserClaims {
  const { user } = callerOf(context)
  if (user === undefined)
    throw unauthenticated('user_required', 'This call needs a signed-in person.')
  return user
}

async function verified(
  token: string,
  typ: string,
  key: KeyObject | undefined,
  audience: string,
  now: () => number,
  reason: string,
) {
  if (key === undefined) throw unauthenticated(reason, 'The token is from nobody known here.')
  try {
    const { payload } = await jwtVerify(token, key, {
      algorithms: ['EdDSA'],
      typ,
      audience,
      currentDate: new Date(now()),
      clockTolerance: CLOCK_SKEW_SECONDS,
      requiredClaims: ['exp', 'iat'],
    })
    return payload
  } catch (error) {
    if (error instanceof joseErrors.JOSEError) {
      throw unauthenticated(reason, 'The token is not valid here.', { cause: error })
    }
    throw error
  }
}

/** The unverified issuer: it only chooses the key that then has to verify. */
function issuerOf(token: string): string {
  try {
    const payload: unknown = JSON.parse(
      Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8'),
    )
    const issuer = z.object({ iss: z.enum(serviceNames) }).safeParse(payload)
    return issuer.success ? issuer.data.iss : ''
  } catch {
    return ''
  }
}

/** Returns a function that is true the first time it sees an id within a token's lifetime. */
function replayGuard(now: () => number) {
  const windowMs = (SERVICE_TOKEN_SECONDS + 2 * CLOCK_SKEW_SECONDS) * 1000
  let current = new Set<string>()
  let previous = new Set<string>()
  let turnedAt = now()
  return (id: string): boolean => {
    if (now() - turnedAt > windowMs) {
      previous = now() - turnedAt > 2 * windowMs ? new Set() : current
      current = new Set()
      turnedAt = now()
    }
    if (current.has(id) || previous.has(id) || current.size >= MAX_REMEMBERED_CALLS) return false
    current.add(id)
    return true
  }
}
