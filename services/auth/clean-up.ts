/** Taking away rows that are over, on a schedule, in small batches. */
import { errorFrom } from '@bmm/lib/errors'
import type { Log } from '@bmm/lib/log'
import { isOutage } from '@bmm/lib/outage'
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

/** Rounds until disposed; a failed round is logged and the next one tries again. */
export function startCleanUp(options: { sql: Sql; log: Log; now: () => number }): AsyncDisposable {
  const { sql, log, now } = options
  let round = Promise.resolve()
  const tick = async () => {
    try {
      const deleted = await cleanUp(sql, now())
      if (deleted > 0) log.info({ deleted }, 'expired rows were taken away')
    } catch (thrown) {
      const fault = { err: errorFrom(thrown) }
      if (isOutage(thrown)) log.warn(fault, 'the clean-up goes on later')
      else log.error(fault, 'the clean-up failed')
    }
  }
  const timer = setInterval(() => {
    round = round.then(tick)
  }, EVERY_MS)
  return {
    async [Symbol.asyncDispose]() {
      clearInterval(timer)
      await round
    },
  }
}
