/** The migrations of this schema, with the one step that needs the key-encryption key. */
import { join } from 'node:path'
import { type Migration, readMigrations } from '@bmm/lib/sql'
import { checkKek } from './keyring.ts'
import { markStoredRows } from './ledger.ts'

const markingStep = '0002-row-macs.sql'

/** Throws ConfigError inside of the step, which undoes it, when the key is not the one of the stored keys. */
export function secretsMigrations(kek: Uint8Array): Migration[] {
  return readMigrations(join(import.meta.dir, 'migrations')).map((migration) => {
    if (migration.name !== markingStep) return migration
    return {
      ...migration,
      async after(transaction) {
        await checkKek(transaction, kek)
        await markStoredRows(transaction, kek)
      },
    }
  })
}
