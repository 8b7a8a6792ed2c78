/** Taking away rows that are over, on a schedule, in small batches. */
import type { Log } from '@bmm/lib/log'
import { startRounds } from '@bmm/lib/rounds'
import type { Sql } from '@bmm/lib/sql'
import { deleteLeftovers, type Leftover, leftovers } from './revocation-store.ts'

const EVERY_MS = 10 * 60_000
const BATCH = 500
/** Of one table in one round: the rest waits for the next, so that a round never hogs the database. */
const MAX_BATCHES = 20
const DAY_MS = 86_400_000

/** How long rows stay once they are over: long enough to tell a replay from an unknown token. */
const keptForMs: Record<Leftover, number> = {
  rate_counts: 0,
  magic_links: DAY_MS,
  consent_requests: DAY_MS,
  sessions: DAY_MS,
  service_tokens: DAY_MS,
  grants: DAY_MS,
  refresh_tokens: DAY_MS,
  revocations: DAY_MS,
  signing_keys: DAY_MS,
  oauth_clients: 30 * DAY_MS,
}

/** One round; how many rows went. */
export async function cleanUp(sql: Sql, now: number): Promise<number> {
  let deleted = 0
  for (const table of leftovers) {
    for (let batch = 0; batch < MAX_BATCHES; batch++) {
      const count = await deleteLeftovers(sql, table, new Date(now - keptForMs[table]), BATCH)
      deleted += count
      if (count < BATCH) break
    }
  }
  return deleted
}

export function startCleanUp(options: { sql: Sql; log: Log; now: () => number }): AsyncDisposable {
  const { sql, log, now } = options
  return startRounds({
    ...{ name: 'clean-up', everyMs: EVERY_MS, log },
    async round() {
      const deleted = await cleanUp(sql, now())
      if (deleted > 0) log.info({ deleted }, 'expired rows were taken away')
    },
  })
}
