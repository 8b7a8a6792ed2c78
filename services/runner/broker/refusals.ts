/** Refused requests on their way to Postgres: in batches, bounded in memory, in rate and in what is kept. */
import { errorFrom } from '@bmm/lib/errors'
import type { Log } from '@bmm/lib/log'
import { startRounds } from '@bmm/lib/rounds'
import type { Sql } from '@bmm/lib/sql'
import * as store from './store.ts'

const FLUSH_MS = 500
const MAX_WAITING = 2_000
/** A tool in a loop must not fill the disk; what is beyond is counted in the log only. */
const MAX_PER_SERVER_AND_MINUTE = 60
const MINUTE_MS = 60_000
const DAY_MS = 24 * 60 * MINUTE_MS
const KEEP_DAYS = 30
const KEEP_PER_SERVER = 1_000
const TRIM_MS = 10 * MINUTE_MS
const MAX_HOST = 253
const MAX_METHOD = 20
const MAX_MESSAGE = 500

export type Refusals = AsyncDisposable & {
  record(row: store.RefusalRow): void
  /** Resolves when everything recorded so far is stored, or could not be. */
  flush(): Promise<void>
}

export function openRefusals({
  sql,
  log,
  now,
}: {
  sql: Sql
  log: Log
  now: () => number
}): Refusals {
  let waiting: store.RefusalRow[] = []
  let counts = new Map<string, number>()
  let countedSince = now()
  let dropped = 0
  let flushing: Promise<void> = Promise.resolve()
  const touched = new Set<string>()

  function isWithinRate(serverId: string): boolean {
    if (now() - countedSince >= MINUTE_MS) {
      if (dropped > 0) log.warn({ dropped }, 'refusals were not recorded: too many')
      counts = new Map()
      countedSince = now()
      dropped = 0
    }
    const count = (counts.get(serverId) ?? 0) + 1
    counts.set(serverId, count)
    return count <= MAX_PER_SERVER_AND_MINUTE
  }

  async function write(): Promise<void> {
    const rows = waiting
    waiting = []
    if (rows.length === 0) return
    try {
      await store.insertRefusals(sql, rows)
    } catch (error) {
      log.warn({ fault: errorFrom(error).message, rows: rows.length }, 'refusals are lost')
    }
  }

  async function trim(): Promise<void> {
    const serverIds = [...touched]
    touched.clear()
    const before = new Date(now() - KEEP_DAYS * DAY_MS)
    await store.trimRefusals(sql, serverIds, KEEP_PER_SERVER, before)
  }

  const flush = () => {
    flushing = flushing.then(write)
    return flushing
  }
  const flushTimer = setInterval(() => void flush(), FLUSH_MS)
  const trimming = startRounds({ name: 'trimming refusals', everyMs: TRIM_MS, round: trim, log })
  return {
    record(row) {
      if (waiting.length >= MAX_WAITING || !isWithinRate(row.serverId)) {
        dropped++
        return
      }
      touched.add(row.serverId)
      waiting.push({
        ...row,
        host: row.host.slice(0, MAX_HOST),
        method: row.method.slice(0, MAX_METHOD),
        message: row.message.slice(0, MAX_MESSAGE),
      })
    },
    flush,
    async [Symbol.asyncDispose]() {
      clearInterval(flushTimer)
      await trimming[Symbol.asyncDispose]()
      await flush()
    },
  }
}
