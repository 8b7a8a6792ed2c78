/** Which keys exist, which is active, and how the key-encryption key guards them. */
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
} from 'node:crypto'
import { KEY_BYTES, SealBroken } from '@bmm/lib/envelope'
import { inTransaction, type Sql } from '@bmm/lib/sql'
import { digestOf } from '@bmm/spec/digest'
import type { StatementKeys } from '@bmm/spec/statement'
import { openKey, sealKey } from './key-seal.ts'
import * as store from './store.ts'

const KEY_ID_CHARACTERS = 24

export type Keyring = {
  /** The key that new values are sealed under. */
  active(): { version: number; key: Uint8Array }
  /** The key of a version; throws when it is unknown. */
  get(version: number): Promise<Uint8Array>
  /** Makes a new active data key and returns its version. */
  rotate(createdBy: string): Promise<number>
  signer: { keyId: string; key: KeyObject }
  /** Public keys that verify statements, newest first. */
  statementKeys: StatementKeys
}

/**
 * Unwraps every stored key, making the first ones on an empty database. Throws ConfigError when the
 * key-encryption key is not the one that wrapped them: a service with the wrong key must not start.
 */
export async function openKeyring(sql: Sql, kek: Uint8Array): Promise<Keyring> {
  await inTransaction(sql, async (transaction) => {
    await store.lockKeys(transaction)
    if ((await store.listDataKeys(transaction)).length === 0) {
      await store.insertDataKey(transaction, newDataKey(kek, 1, 'system'))
    }
    if ((await store.listStatementKeys(transaction)).length === 0) {
      await store.insertStatementKey(transaction, newStatementKey(kek))
    }
  })
  const keys = new Map<number, Uint8Array>()
  let activeVersion = 0
  const load = async () => {
    for (const row of await store.listDataKeys(sql)) {
      if (!keys.has(row.version))
        keys.set(row.version, openKey(kek, row.wrapped, ['data-key', row.version]))
      if (row.active) activeVersion = row.version
    }
  }
  await load()
  const pairs = (await store.listStatementKeys(sql)).map((row) => statementPair(kek, row))
  const newest = pairs[0]
  if (newest === undefined) throw new Error('there is no statement key')

  return {
    active() {
      const key = keys.get(activeVersion)
      if (key === undefined) throw new Error('there is no active data key')
      return { version: activeVersion, key }
    },
    async get(version) {
      if (!keys.has(version)) await load()
      const key = keys.get(version)
      if (key === undefined) throw new SealBroken(`data key ${version} is unknown`)
      return key
    },
    async rotate(createdBy) {
      const version = await inTransaction(sql, async (transaction) => {
        await store.lockKeys(transaction)
        const [latest] = await store.listDataKeys(transaction)
        const next = (latest?.version ?? 0) + 1
        await store.deactivateDataKeys(transaction)
        await store.insertDataKey(transaction, newDataKey(kek, next, createdBy))
        return next
      })
      await load()
      return version
    },
    signer: { keyId: newest.keyId, key: newest.privateKey },
    statementKeys: new Map(pairs.map(({ keyId, publicKey }) => [keyId, publicKey])),
  }
}

/** The public half comes from the wrapped one: a row that is not sealed by us would else verify statements. */
function statementPair(kek: Uint8Array, { keyId, wrapped }: store.StatementKeyRow) {
  const der = Buffer.from(openKey(kek, wrapped, ['statement-key', keyId]))
  const privateKey = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
  const publicKey = createPublicKey(privateKey).export({ format: 'der', type: 'spki' })
  return { keyId, privateKey, publicKey }
}

function newDataKey(kek: Uint8Array, version: number, createdBy: string): store.NewDataKey {
  return {
    version,
    createdBy,
    wrapped: sealKey(kek, randomBytes(KEY_BYTES), ['data-key', version]),
  }
}

function newStatementKey(kek: Uint8Array): store.NewStatementKey {
  const { privateKey } = generateKeyPairSync('ed25519')
  const publicKey = createPublicKey(privateKey).export({ format: 'der', type: 'spki' })
  const keyId = digestOf(publicKey).slice('sha256:'.length, 'sha256:'.length + KEY_ID_CHARACTERS)
  const der = privateKey.export({ format: 'der', type: 'pkcs8' })
  return { keyId, publicKey, wrapped: sealKey(kek, der, ['statement-key', keyId]) }
}
