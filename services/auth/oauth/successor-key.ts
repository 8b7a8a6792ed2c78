/** The HMAC key that turns a presented refresh token into its successor. */
import { hkdfSync } from 'node:crypto'
import { KEY_BYTES } from '@bmm/lib/envelope'

/** Derived, so that nothing is ever computed with the key-encryption key itself. */
export function successorKey(kek: Uint8Array): Buffer {
  return Buffer.from(hkdfSync('sha256', kek, '', 'bmm-auth-refresh-successor-v1', KEY_BYTES))
}
