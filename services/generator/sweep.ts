/** Looking after what a crash or a lost queue left behind, and forgetting what is old. */
import { errorFrom } from '@bmm/lib/errors'
import type { JobQueue } from '@bmm/lib/jobs'
import type { Log } from '@bmm/lib/log'
import type { Sql } from '@bmm/lib/sql'
import { askForForsakenBuilds } from './build/build-store.ts'
import { deleteExpiredDrafts } from './draft/draft-store.ts'
import { deleteOldIdempotencyKeys } from './server/server-store.ts'
import type { Stopping } from './server/stopping.ts'

const INTERVAL_MS = 2_000
/** A build that was just asked for has its job in the queue; one without a worker for longer has lost it. */
const FRESH_MS = 5_000
const BUILDS_A_SWEEP = 50
const IDEMPOTENCY_HOURS = 24
/** Of one table: a draft has up to megabytes, and the next sweep is soon. */
const ROWS_A_SWEEP = 200

export type SweepOptions = {
  sql: Sql
  builds: JobQueue
  stopping: Stopping
  log: Log
  now: () => Date
  intervalMs?: number
  freshMs?: number
}

/** One round: every part is tried, whatever becomes of the others. */
export async function sweepOnce(options: SweepOptions): Promise<void> {
  const { sql, builds, stopping, log, now, freshMs = FRESH_MS } = options
  const parts: [string, () => Promise<void>][] = [
    [
      'builds',
      async () => {
        for (const id of await askForForsakenBuilds(sql, freshMs, BUILDS_A_SWEEP)) {
          log.info({ buildId: id }, 'a build without a worker is queued again')
          await builds.add(id)
        }
      },
    ],
    ['stops', () => stopping.sweep()],
    ['drafts', () => deleteExpiredDrafts(sql, now(), ROWS_A_SWEEP)],
    [
      'idempotency keys',
      () =>
        deleteOldIdempotencyKeys(
          sql,
          new Date(now().getTime() - IDEMPOTENCY_HOURS * 3_600_000),
          ROWS_A_SWEEP,
        ),
    ],
  ]
  for (const [what, sweep] of parts) {
    try {
      await sweep()
    } catch (error) {
      log.warn({ err: errorFrom(error), what }, 'a sweep failed')
    }
  }
}

/** Sweeps at once and then again and again; disposing waits for the round under way. */
export function startSweeping(options: SweepOptions): AsyncDisposable {
  const { intervalMs = INTERVAL_MS } = options
  let running = sweepOnce(options)
  let isOpen = true
  let timer: ReturnType<typeof setTimeout> | undefined
  function next(): void {
    if (!isOpen) return
    timer = setTimeout(() => {
      running = sweepOnce(options)
      running.then(next, next)
    }, intervalMs)
  }
  running.then(next, next)
  return {
    async [Symbol.asyncDispose]() {
      isOpen = false
      clearTimeout(timer)
      await running
    },
  }
}
