/** Digests of what people confirm and what runs: SHA-256, written `sha256:<64 hex>`. */
import { createHash } from 'node:crypto'

export const digestPattern = /^sha256:[0-9a-f]{64}$/

/** The digest of exactly these bytes. */
export function digestOf(bytes: Uint8Array | string): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`
}
