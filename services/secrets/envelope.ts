/** Sealing and opening bytes: AES-256-GCM (NIST SP 800-38D) with associated data that names what is sealed. */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'

export const KEY_BYTES = 32
const NONCE_BYTES = 12
const TAG_BYTES = 16

/** What the sealed bytes belong to. Every part is bound, so a row that is moved or edited does not open. */
export type Binding = readonly (string | number)[]

/** Sealed bytes did not open: wrong key, wrong binding or tampered. Says nothing more, on purpose. */
export class SealBroken extends Error {
  override name = 'SealBroken'
}

/** nonce (12) ‖ ciphertext ‖ tag (16). A nonce is random: a data key seals far fewer than 2³² values. */
export function seal(key: Uint8Array, value: Uint8Array, binding: Binding): Uint8Array {
  const nonce = randomBytes(NONCE_BYTES)
  const cipher = createCipheriv('aes-256-gcm', key, nonce)
  cipher.setAAD(associatedData(binding))
  return Buffer.concat([nonce, cipher.update(value), cipher.final(), cipher.getAuthTag()])
}

/** The value; throws SealBroken. */
export function open(key: Uint8Array, sealed: Uint8Array, binding: Binding): Uint8Array {
  if (sealed.length < NONCE_BYTES + TAG_BYTES) throw new SealBroken('too short to be sealed')
  const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, NONCE_BYTES), {
    authTagLength: TAG_BYTES,
  })
  decipher.setAAD(associatedData(binding))
  decipher.setAuthTag(sealed.subarray(sealed.length - TAG_BYTES))
  try {
    return Buffer.concat([
      decipher.update(sealed.subarray(NONCE_BYTES, sealed.length - TAG_BYTES)),
      decipher.final(),
    ])
  } catch (error) {
    throw new SealBroken('does not open under this key and binding', { cause: error })
  }
}

/** Each part behind its length, so that no two lists of parts give the same bytes. */
function associatedData(binding: Binding): Uint8Array {
  const parts: Uint8Array[] = []
  for (const part of binding) {
    const bytes = Buffer.from(String(part), 'utf8')
    const length = Buffer.alloc(4)
    length.writeUInt32BE(bytes.length)
    parts.push(length, bytes)
  }
  return Buffer.concat(parts)
}
