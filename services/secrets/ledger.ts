/** Who owns a server, its epoch, and what was confirmed: rows that count only while they bear this service's MAC. */
import { createHash, createHmac, hkdfSync, timingSafeEqual } from 'node:crypto'
import { type Binding, boundBytes, KEY_BYTES } from '@bmm/lib/envelope'
import { precondition } from '@bmm/lib/errors'
import type { Log } from '@bmm/lib/log'
import type { Querying } from '@bmm/lib/sql'
import * as store from './store.ts'

/** Servers whose highest epoch is remembered; the least lately seen are forgotten. */
const MAX_REMEMBERED = 100_000
const BATCH = 500

/**
 * Whoever writes into the database between a confirmation and a signature could else have other egress signed, or a
 * stopped server's secrets opened. A row that was put back as it once was still bears its MAC: within the life of the
 * process its lower epoch gives it away, afterwards the epochs that runner and broker keep.
 */
export type Ledger = {
  findServer(sql: Querying, serverId: string): Promise<store.ServerRow | undefined>
  /** As findServer, locking the row so that epochs are given out one after another. */
  lockServer(sql: Querying, serverId: string): Promise<store.ServerRow | undefined>
  /** Makes the server known as this organisation's, unless it is known already. */
  ensureServer(sql: Querying, serverId: string, orgId: string): Promise<void>
  setStatement(sql: Querying, serverId: string, row: store.ServerRow): Promise<void>
  findConfirmation(sql: Querying, id: string): Promise<store.ConfirmationRow | undefined>
  /** The confirmation that the newest serve statement was signed for. */
  findLastConfirmed(sql: Querying, serverId: string): Promise<store.ConfirmationRow | undefined>
  /** Inserts unless the id exists; the caller compares what is there. */
  insertConfirmation(sql: Querying, row: store.ConfirmationRow): Promise<void>
  /** Writes down what was signed for it. */
  useConfirmation(sql: Querying, used: store.ConfirmationRow): Promise<void>
}

export function openLedger({ kek, log }: { kek: Uint8Array; log: Log }): Ledger {
  const key = macKey(kek)
  const epochs = new Map<string, number>()

  const tampered = (what: string) => {
    log.error({ row: what }, 'a stored row was changed outside of this service, or put back')
    return precondition(
      'row_tampered',
      `The stored row of ${what} was changed outside of the service or put back from a backup of its own: nothing is signed or opened by it. The operator must restore the whole database.`,
    )
  }
  function checkedServer(serverId: string, row: store.MarkedServerRow): store.ServerRow {
    if (!bears(row.mac, serverMac(key, serverId, row))) throw tampered(`server ${serverId}`)
    return row
  }
  function isRolledBack(serverId: string, { epoch }: store.ServerRow): boolean {
    const highest = epochs.get(serverId) ?? 0
    if (epoch < highest) return true
    epochs.delete(serverId)
    epochs.set(serverId, epoch)
    const oldest = epochs.size > MAX_REMEMBERED ? epochs.keys().next().value : undefined
    if (oldest !== undefined) epochs.delete(oldest)
    return false
  }
  async function readServer(find: typeof store.findServer, sql: Querying, serverId: string) {
    // Once more when it looks rolled back: another call may just have seen a newer row than this one read.
    for (let attempt = 0; attempt < 2; attempt++) {
      const found = await find(sql, serverId)
      if (found === undefined) return undefined
      const row = checkedServer(serverId, found)
      if (!isRolledBack(serverId, row)) return row
    }
    throw tampered(`server ${serverId}`)
  }
  function checkedConfirmation(row: store.MarkedConfirmationRow | undefined) {
    if (row !== undefined && !bears(row.mac, confirmationMac(key, row))) {
      throw tampered(`confirmation ${row.id}`)
    }
    return row
  }

  return {
    findServer: (sql, serverId) => readServer(store.findServer, sql, serverId),
    lockServer: (sql, serverId) => readServer(store.lockServer, sql, serverId),
    async ensureServer(sql, serverId, orgId) {
      const mac = serverMac(key, serverId, { ...unsigned, orgId })
      await store.ensureServer(sql, serverId, orgId, mac)
    },
    async setStatement(sql, serverId, row) {
      await store.setStatement(sql, serverId, { ...row, mac: serverMac(key, serverId, row) })
    },
    findConfirmation: async (sql, id) => checkedConfirmation(await store.findConfirmation(sql, id)),
    findLastConfirmed: async (sql, serverId) =>
      checkedConfirmation(await store.findLastConfirmed(sql, serverId)),
    async insertConfirmation(sql, row) {
      await store.insertConfirmation(sql, { ...row, mac: confirmationMac(key, row) })
    },
    async useConfirmation(sql, used) {
      await store.useConfirmation(sql, { ...used, mac: confirmationMac(key, used) })
    },
  }
}

/** Marks the rows that earlier versions stored, taking what is there as it is; how many it marked. */
export async function markStoredRows(sql: Querying, kek: Uint8Array): Promise<number> {
  const key = macKey(kek)
  let marked = 0
  for (;;) {
    const rows = await store.listUnmarkedServers(sql, BATCH)
    for (const { serverId, ...row } of rows) {
      await store.markServer(sql, serverId, serverMac(key, serverId, row))
    }
    marked += rows.length
    if (rows.length < BATCH) break
  }
  for (;;) {
    const rows = await store.listUnmarkedConfirmations(sql, BATCH)
    for (const row of rows) await store.markConfirmation(sql, row.id, confirmationMac(key, row))
    marked += rows.length
    if (rows.length < BATCH) break
  }
  return marked
}

const unsigned = { epoch: 0, statement: null, signature: null, keyId: null }

function macKey(kek: Uint8Array): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', kek, '', 'bmm-secrets-row-mac-v1', KEY_BYTES))
}

function serverMac(key: Uint8Array, serverId: string, row: store.ServerRow): Buffer {
  const { orgId, epoch, statement, signature, keyId } = row
  const signed = createHash('sha256')
    .update(statement ?? '')
    .update(signature ?? '')
    .digest('hex')
  return mac(key, ['server', serverId, orgId, epoch, signed, keyId ?? ''])
}

function confirmationMac(key: Uint8Array, row: store.ConfirmationRow): Buffer {
  const { id, serverId, userId, specDigest, contract, version, moduleDigest, epoch } = row
  const used = [version ?? '', moduleDigest ?? '', epoch ?? '']
  return mac(key, ['confirmation', id, serverId, userId, specDigest, contract, ...used])
}

function mac(key: Uint8Array, binding: Binding): Buffer {
  return createHmac('sha256', key).update(boundBytes(binding)).digest()
}

function bears(stored: Uint8Array, expected: Buffer): boolean {
  return stored.length === expected.length && timingSafeEqual(stored, expected)
}
