/** How the key-encryption key seals the other keys, and the word in the seal that says that stored rows are marked. */
import { ConfigError } from '@bmm/lib/env'
import { open, SealBroken, seal } from '@bmm/lib/envelope'

export type KeyName = readonly ['data-key', number] | readonly ['statement-key', string]

/**
 * Whoever can write the schema can undo a migration, but cannot take this word out of a seal: rows are marked only
 * where every key lacks it, and every key gets it in the same transaction.
 */
const rowsMarked = 'rows-are-marked'

export function sealKey(kek: Uint8Array, key: Uint8Array, name: KeyName): Uint8Array {
  return seal(kek, key, [...name, rowsMarked])
}

/** The key; throws ConfigError, as of a foreign key-encryption key so of a seal without the word. */
export function openKey(kek: Uint8Array, sealed: Uint8Array, name: KeyName): Uint8Array {
  const { key, rowsAreMarked } = openAnyKey(kek, sealed, name)
  if (rowsAreMarked) return key
  throw new ConfigError(
    `The stored key ${name.join(' ')} is of a time before rows were marked and was put back outside of this service: restore the whole database from a backup`,
  )
}

/** As openKey, also of an earlier version. Throws ConfigError when another key-encryption key sealed it. */
export function openAnyKey(kek: Uint8Array, sealed: Uint8Array, name: KeyName) {
  const key = opened(kek, sealed, [...name, rowsMarked])
  if (key !== undefined) return { key, rowsAreMarked: true }
  const earlier = opened(kek, sealed, name)
  if (earlier !== undefined) return { key: earlier, rowsAreMarked: false }
  throw new ConfigError(
    'BMM_KEK: this is not the key-encryption key that wrapped the stored keys; give the one this data was made with',
  )
}

function opened(kek: Uint8Array, sealed: Uint8Array, binding: readonly (string | number)[]) {
  try {
    return open(kek, sealed, binding)
  } catch (error) {
    if (!(error instanceof SealBroken)) throw error
    return undefined
  }
}
