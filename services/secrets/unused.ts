/** Forgetting what was confirmed and then came to nothing: its builder was killed before it wrote it down, or its build failed. */
import type { Log } from '@bmm/lib/log'
import { startRounds } from '@bmm/lib/rounds'
import { inTransaction, type Sql } from '@bmm/lib/sql'
import { deleteUnusedServers } from './store.ts'

const EVERY_MS = 10 * 60_000
/** A build takes minutes; one that the platform's own absence held up may take days. */
const KEPT_MS = 7 * 86_400_000
const SERVERS_A_ROUND = 500

/** One round; how many servers went. */
export function forgetUnused(sql: Sql, now: number): Promise<number> {
  const before = new Date(now - KEPT_MS)
  return inTransaction(sql, (transaction) =>
    deleteUnusedServers(transaction, before, SERVERS_A_ROUND),
  )
}

export function startForgetting(options: {
  sql: Sql
  log: Log
  now: () => number
}): AsyncDisposable {
  const { sql, log, now } = options
  return startRounds({
    ...{ name: 'forgetting', everyMs: EVERY_MS, log },
    async round() {
      const forgotten = await forgetUnused(sql, now())
      if (forgotten > 0) log.info({ forgotten }, 'servers that never came to be were forgotten')
    },
  })
}
