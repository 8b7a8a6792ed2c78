/** Opaque secrets that we hand out: a prefix that says what it is, 256 random bits, and only their hash kept. */
import { createHash, randomBytes } from 'node:crypto'

/** Session, magic link, client secret, CSRF token, authorization code, refresh token. */
export type OpaqueTokenKind = 'bms' | 'bml' | 'bmk' | 'bmx' | 'bmc' | 'bmr'

const SECRET_BYTES = 32

/** `bms_` and 43 characters of base64url. */
export function newOpaqueToken(kind: OpaqueTokenKind): string {
  return opaqueTokenFrom(kind, randomBytes(SECRET_BYTES))
}

/** The token of these 32 bytes. */
export function opaqueTokenFrom(kind: OpaqueTokenKind, secret: Buffer): string {
  return `${kind}_${secret.toString('base64url')}`
}

/** What is stored and looked up. A plain SHA-256 suffices: 256 random bits cannot be guessed back. */
export function tokenHash(token: string): Buffer {
  return createHash('sha256').update(token).digest()
}

/** Whether the text has the shape of such a token. */
export function isOpaqueToken(kind: OpaqueTokenKind, text: string): boolean {
  return text.startsWith(`${kind}_`) && /^[A-Za-z0-9_-]{43}$/.test(text.slice(kind.length + 1))
}
