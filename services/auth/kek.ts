/** The key-encryption key of this service: wraps signing keys at rest, and derives the key of refresh successors. */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto'

const KEK_BYTES = 32
const IV_BYTES = 12
const TAG_BYTES = 16
const cipher = 'aes-256-gcm'

/** Why these bytes cannot be the key, as a sentence; undefined when they can. */
export function kekFault(kek: Buffer): string | undefined {
  if (kek.length !== KEK_BYTES) return `must be ${KEK_BYTES} bytes, or their base64 or hex`
  return kek.every((byte) => byte === kek[0]) ? 'is a placeholder: make a random one' : undefined
}

/** The key in raw, base64 or hex form, with or without a line end. */
export function kekFrom(source: Buffer): Buffer {
  if (source.length === KEK_BYTES) return source
  const text = source.toString('latin1').trim()
  if (/^[0-9a-fA-F]{64}$/.test(text)) return Buffer.from(text, 'hex')
  return /^[A-Za-z0-9+/_-]{43}=?$/.test(text) ? Buffer.from(text, 'base64') : Buffer.alloc(0)
}

/** Seals bytes under the key; the name is bound by associated data, so that rows cannot be swapped. */
export function wrap(kek: Buffer, name: string, plain: Uint8Array): Buffer {
  const iv = randomBytes(IV_BYTES)
  const sealing = createCipheriv(cipher, kek, iv, { authTagLength: TAG_BYTES })
  sealing.setAAD(Buffer.from(name))
  const sealed = Buffer.concat([sealing.update(plain), sealing.final()])
  return Buffer.concat([iv, sealing.getAuthTag(), sealed])
}

/** The bytes under `wrap`. Throws when key, name or a byte differs. */
export function unwrap(kek: Buffer, name: string, wrapped: Uint8Array): Buffer {
  const bytes = Buffer.from(wrapped)
  const opening = createDecipheriv(cipher, kek, bytes.subarray(0, IV_BYTES), {
    authTagLength: TAG_BYTES,
  })
  opening.setAAD(Buffer.from(name))
  opening.setAuthTag(bytes.subarray(IV_BYTES, IV_BYTES + TAG_BYTES))
  return Buffer.concat([opening.update(bytes.subarray(IV_BYTES + TAG_BYTES)), opening.final()])
}

/** The HMAC key that turns a presented refresh token into its successor. */
export function successorKey(kek: Buffer): Buffer {
  return Buffer.from(hkdfSync('sha256', kek, '', 'bmm-auth-refresh-successor-v1', KEK_BYTES))
}
