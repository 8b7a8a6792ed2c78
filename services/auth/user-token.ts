/** User tokens: how other services know which person is behind a call. Only this service can sign them. */
import { createPrivateKey, type KeyObject } from 'node:crypto'
import type { ServiceName } from '@bmm/lib/identity'
import { SignJWT } from 'jose'

const USER_TOKEN_TTL_MS = 5 * 60_000

/** The signing key behind a PKCS #8 PEM. Throws unless it is Ed25519. */
export function userTokenKey(pem: Buffer): KeyObject {
  const key = createPrivateKey({ key: pem, format: 'pem' })
  if (key.asymmetricKeyType !== 'ed25519') throw new Error('the key of user tokens is not Ed25519')
  return key
}

export type UserTokenOptions = {
  audiences: ServiceName[]
  /** `sha256:…` of the bytes that the person just confirmed, or empty. */
  confirmDigest: string
  key: KeyObject
  now: number
}

/** A session, or a service token with its scopes. */
export type Bearer = {
  id: string
  userId: string
  orgId: string
  role: string
  expiresAt: Date
  scopes?: readonly string[]
}

/** A token for a live bearer: five minutes, less when the bearer ends before. */
export async function signUserToken(
  bearer: Bearer,
  options: UserTokenOptions,
): Promise<{ token: string; expiresAt: Date }> {
  const { audiences, confirmDigest, key, now } = options
  const seconds = Math.floor(now / 1000)
  const endSeconds = Math.floor(
    Math.min(now + USER_TOKEN_TTL_MS, bearer.expiresAt.getTime()) / 1000,
  )
  const token = await new SignJWT({
    org: bearer.orgId,
    role: bearer.role,
    sid: bearer.id,
    ...(confirmDigest === '' ? {} : { cnf: confirmDigest }),
    ...(bearer.scopes === undefined ? {} : { scp: bearer.scopes }),
  })
    .setProtectedHeader({ alg: 'EdDSA', typ: 'bmm-user+jwt' })
    .setIssuer('auth')
    .setSubject(bearer.userId)
    .setAudience(audiences)
    .setIssuedAt(seconds)
    .setExpirationTime(endSeconds)
    .setJti(crypto.randomUUID())
    .sign(key)
  return { token, expiresAt: new Date(endSeconds * 1000) }
}
