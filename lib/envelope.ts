/** Sealing and opening bytes under a key: AES-256-GCM (NIST SP 800-38D) with associated data that names what is sealed. */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'

export const KEY_BYTES = 32
const NONCE_BYTES = 12
const TAG_BYTES = 16
const algorithm = 'aes-256-gcm'

/** What the sealed bytes belong to. Every part is bound, so a row that is moved or edited does not open. */
export type Binding = readonly (string | number)[]

/** Sealed bytes did not open: wrong key, wrong binding or tampered. Says nothing more, on purpose. */
export class SealBroken extends Error {
  override name = 'SealBroken'
}

/** nonce (12) ‖ ciphertext ‖ tag (16). A nonce is random: a key seals far fewer than 2³² values. */
export function seal(key: Uint8Array, value: Uint8Array, binding: Binding): Uint8Array {
  const { nonce, ciphertext, tag } = encrypt(key, value, boundBytes(binding))
  return Buffer.concat([nonce, ciphertext, tag])
}

/** The value; throws SealBroken. */
export function open(key: Uint8Array, sealed: Uint8Array, binding: Binding): Uint8Array {
  const end = sealed.length - TAG_BYTES
  return decrypt(key, boundBytes(binding), {
    nonce: sealed.subarray(0, NONCE_BYTES),
    ciphertext: sealed.subarray(NONCE_BYTES, end),
    tag: sealed.subarray(end),
  })
}

/** nonce (12) ‖ tag (16) ‖ ciphertext, bound to a name as it is: the layout of signing keys that are stored already. */
export function sealNamed(key: Uint8Array, value: Uint8Array, name: string): Uint8Array {
  const { nonce, ciphertext, tag } = encrypt(key, value, Buffer.from(name))
  return Buffer.concat([nonce, tag, ciphertext])
}

/** The value; throws SealBroken. */
export function openNamed(key: Uint8Array, sealed: Uint8Array, name: string): Uint8Array {
  const start = NONCE_BYTES + TAG_BYTES
  return decrypt(key, Buffer.from(name), {
    nonce: sealed.subarray(0, NONCE_BYTES),
    ciphertext: sealed.subarray(start),
    tag: sealed.subarray(NONCE_BYTES, start),
  })
}

/** Each part behind its length, so that no two lists of parts give the same bytes. */
export function boundBytes(binding: Binding): Uint8Array {
  const parts: Uint8Array[] = []
  for (const part of binding) {
    const bytes = Buffer.from(String(part), 'utf8')
    const length = Buffer.alloc(4)
    length.writeUInt32BE(bytes.length)
    parts.push(length, bytes)
  }
  return Buffer.concat(parts)
}

/** A key in raw, base64 or hex form, with or without a line end; empty when it is none of these. */
export function keyFrom(source: Uint8Array): Buffer {
  const bytes = Buffer.from(source)
  if (bytes.length === KEY_BYTES) return bytes
  const text = bytes.toString('latin1').trim()
  if (/^[0-9a-fA-F]{64}$/.test(text)) return Buffer.from(text, 'hex')
  return /^[A-Za-z0-9+/_-]{43}=?$/.test(text) ? Buffer.from(text, 'base64') : Buffer.alloc(0)
}

/** Why these bytes cannot be a key, as a sentence about it; undefined when they can. */
export function keyFault(key: Uint8Array): string | undefined {
  if (key.length !== KEY_BYTES) {
    return `must be ${KEY_BYTES} bytes, or their base64 or hex: make one with "openssl rand -base64 32"`
  }
  return key.every((byte) => byte === key[0]) ? 'is a placeholder: make a random one' : undefined
}

type Parts = { nonce: Uint8Array; ciphertext: Uint8Array; tag: Uint8Array }

function encrypt(key: Uint8Array, value: Uint8Array, associated: Uint8Array): Parts {
  const nonce = randomBytes(NONCE_BYTES)
  const cipher = createCipheriv(algorithm, key, nonce, { authTagLength: TAG_BYTES })
  cipher.setAAD(associated)
  const ciphertext = Buffer.concat([cipher.update(value), cipher.final()])
  return { nonce, ciphertext, tag: cipher.getAuthTag() }
}

function decrypt(key: Uint8Array, associated: Uint8Array, parts: Parts): Uint8Array {
  const { nonce, ciphertext, tag } = parts
  if (nonce.length !== NONCE_BYTES || tag.length !== TAG_BYTES) {
    throw new SealBroken('too short to be sealed')
  }
  const decipher = createDecipheriv(algorithm, key, nonce, { authTagLength: TAG_BYTES })
  decipher.setAAD(associated)
  decipher.setAuthTag(tag)
  try {
    return Buffer.concat([decipher.update(ciphertext), decipher.final()])
  } catch (error) {
    throw new SealBroken('does not open under this key and binding', { cause: error })
  }
}
