/** Counts on their way to Postgres: one statement at most every 750 ms, kept while it is away, never added twice. */
import { errorFrom } from '@bmm/lib/errors'
import type { Log } from '@bmm/lib/log'
import { startRounds } from '@bmm/lib/rounds'
import type { CallRollup, Meter } from './meter.ts'

export type RollupStore = {
  /** Adds the counts, unless this flush of this process was added before. */
  add(flush: RollupFlush): Promise<void>
  /** Deletes old rows; answers whether there may be more. */
  purge(): Promise<boolean>
}

export type RollupFlush = {
  processId: string
  /** Rises with each flush of the process. */
  flush: number
  rollups: readonly StoredRollup[]
}

/** Of a deleted server only its organisation's month remembers anything. */
export type StoredRollup = CallRollup & { isServerDeleted: boolean }

export type Rollups = AsyncDisposable & {
  /** Stores what was counted up to now. Never rejects: what cannot be stored is kept and tried again. */
  flush(): Promise<void>
}

/** With the time that the statement takes, a killed process loses less than a second of counts. */
const FLUSH_MS = 750
const BATCH_ROLLUPS = 2_000
const PURGE_MS = 10 * 60 * 1_000
/** Of one round: the rest waits for the next, so that a round never hogs the database. */
const MAX_PURGES = 20

export function openRollups(options: {
  meter: Meter
  store: RollupStore
  /** Whether everything of the server is gone. */
  isDeleted: (serverId: string) => boolean
  log: Log
  flushMs?: number
}): Rollups {
  const { meter, store, log } = options
  const processId = crypto.randomUUID()
  /** Sent, and not known to be stored: it goes again as it is, so that the store can tell. */
  let pending: RollupFlush | undefined
  let flushes = 0
  let failing = false
  let running: Promise<void> | undefined
  let queued: Promise<void> | undefined
  const flushTimer = setInterval(() => {
    if (running === undefined && (pending !== undefined || meter.size > 0)) void flush()
  }, options.flushMs ?? FLUSH_MS)
  const purging = startRounds({
    ...{ name: 'deleting old counts', everyMs: PURGE_MS, log },
    async round() {
      for (let batch = 0; batch < MAX_PURGES; batch++) if (!(await store.purge())) return
    },
  })

  /** Stores what is pending, then what was counted; false when there is more than one batch of it. */
  async function storeBatch(): Promise<boolean> {
    if (pending !== undefined) await store.add(pending)
    pending = undefined
    const taken = meter.take(BATCH_ROLLUPS)
    if (taken.length > 0) {
      const rollups = taken.map((rollup) => ({
        ...rollup,
        isServerDeleted: options.isDeleted(rollup.serverId),
      }))
      pending = { processId, flush: ++flushes, rollups }
      await store.add(pending)
      pending = undefined
    }
    return taken.length < BATCH_ROLLUPS
  }

  async function storeAll(): Promise<void> {
    try {
      while (!(await storeBatch()));
      if (failing) log.info('counts of calls are stored again')
      failing = false
    } catch (error) {
      if (!failing) log.warn({ err: errorFrom(error) }, 'counts of calls cannot be stored yet')
      failing = true
    }
  }

  /** What is under way has taken its counts already: whoever asks meanwhile gets the next one. */
  function flush(): Promise<void> {
    if (running === undefined) {
      running = storeAll().finally(() => {
        running = undefined
      })
      return running
    }
    queued ??= running.then(() => {
      queued = undefined
      return flush()
    })
    return queued
  }

  return {
    flush,
    async [Symbol.asyncDispose]() {
      clearInterval(flushTimer)
      await purging[Symbol.asyncDispose]()
      await flush()
    },
  }
}
