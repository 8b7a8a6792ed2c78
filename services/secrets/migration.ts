/** The migrations of this schema, with the steps that need the key-encryption key. */
import { join } from 'node:path'
import { ConfigError } from '@bmm/lib/env'
import { type Migration, type Querying, readMigrations } from '@bmm/lib/sql'
import { type KeyName, openAnyKey, sealKey } from './key-seal.ts'
import { markStoredRows } from './ledger.ts'
import * as store from './store.ts'

type Step = (transaction: Querying, kek: Uint8Array) => Promise<void>

/** All that is to be done is done in one transaction: who finds rows marked finds keys that say so. */
const steps = new Map<string, Step>([
  ['0002-row-macs.sql', markRows],
  ['0004-marked-keys.sql', sealKeysAnew],
])

/** Throws ConfigError inside of a step, which undoes it, when the key is not the one of the stored keys. */
export function secretsMigrations(kek: Uint8Array): Migration[] {
  return readMigrations(join(import.meta.dir, 'migrations')).map((migration) => {
    const step = steps.get(migration.name)
    if (step === undefined) return migration
    return { ...migration, after: (transaction) => step(transaction, kek) }
  })
}

/** Takes the rows that are there as they are, once: never where a key says that it was done before. */
async function markRows(transaction: Querying, kek: Uint8Array): Promise<void> {
  const keys = await openStoredKeys(transaction, kek)
  if (keys.some(({ rowsAreMarked }) => rowsAreMarked)) {
    throw notMarkedAgain('the stored keys say that rows were marked before')
  }
  const marked = await markStoredRows(transaction, kek)
  // Counted by what was marked: it is the rows that would be taken as they are.
  if (marked > 0 && keys.length === 0) throw notMarkedAgain('there are rows, and no keys')
}

async function sealKeysAnew(transaction: Querying, kek: Uint8Array): Promise<void> {
  for (const { name, key, rowsAreMarked } of await openStoredKeys(transaction, kek)) {
    if (!rowsAreMarked) await store.resealKey(transaction, name, sealKey(kek, key, name))
  }
}

async function openStoredKeys(transaction: Querying, kek: Uint8Array) {
  await store.lockKeys(transaction)
  const stored: { name: KeyName; wrapped: Uint8Array }[] = []
  for (const { version, wrapped } of await store.listDataKeys(transaction)) {
    stored.push({ name: ['data-key', version], wrapped })
  }
  for (const { keyId, wrapped } of await store.listStatementKeys(transaction)) {
    stored.push({ name: ['statement-key', keyId], wrapped })
  }
  return stored.map(({ name, wrapped }) => ({ name, ...openAnyKey(kek, wrapped, name) }))
}

function notMarkedAgain(why: string): ConfigError {
  return new ConfigError(
    `The schema "secrets" was changed outside of this service: it lacks the marks of its rows, yet ${why}. Nothing is marked again, for rows may be forged: restore the whole database from a backup`,
  )
}
