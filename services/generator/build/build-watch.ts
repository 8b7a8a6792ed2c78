/** Following a build: what happened so far, then each event as it comes, until the build ends. */
import { limited, unavailable } from '@bmm/lib/errors'
import type { Sql } from '@bmm/lib/sql'
import type { Hints } from '../hints.ts'
import { isFinished } from './build.ts'
import * as store from './build-store.ts'

export type BuildWatch = (
  build: store.BuildRow,
  afterSeq: bigint,
  signal: AbortSignal,
) => AsyncGenerator<store.EventRow>

export type BuildWatchOptions = {
  sql: Sql
  hints: Hints
  /** Aborts when the process ends: followers ask another one. */
  ending: AbortSignal
  /** Looked at this often when no hint comes. */
  pollMs?: number
  maxWatchers?: number
  maxWatchersOfOrg?: number
}

const PAGE = 200
const POLL_MS = 1_000
const MAX_WATCHERS = 500
const MAX_WATCHERS_OF_ORG = 20
const MAX_SEQ = 1_000_000_000n

/** Throws `too_many_watchers`, and `service_stopping` when the process ends before the build. */
export function buildWatch(options: BuildWatchOptions): BuildWatch {
  const { sql, hints, ending, pollMs = POLL_MS } = options
  const { maxWatchers = MAX_WATCHERS, maxWatchersOfOrg = MAX_WATCHERS_OF_ORG } = options
  const watchers = new Map<string, number>()
  let all = 0

  function enter(orgId: string): void {
    const ofOrg = watchers.get(orgId) ?? 0
    if (all >= maxWatchers || ofOrg >= maxWatchersOfOrg) {
      throw limited('too_many_watchers', 'Too many builds are being followed at once.', {
        retryAfterSeconds: 10,
      })
    }
    watchers.set(orgId, ofOrg + 1)
    all++
  }

  function leave(orgId: string): void {
    const ofOrg = (watchers.get(orgId) ?? 1) - 1
    if (ofOrg === 0) watchers.delete(orgId)
    else watchers.set(orgId, ofOrg)
    all--
  }

  return async function* watch(build, afterSeq, signal) {
    enter(build.orgId)
    const bell = hints.buildBell(build.id)
    const either = AbortSignal.any([signal, ending])
    try {
      let seen = Number(afterSeq > MAX_SEQ ? MAX_SEQ : afterSeq)
      while (!either.aborted) {
        // Asked before the events: when it had ended by then, they are all there.
        const current = await store.findBuild(sql, build.orgId, build.id)
        let page: store.EventRow[]
        do {
          page = await store.listEvents(sql, build.id, seen, PAGE)
          for (const event of page) {
            yield event
            seen = event.seq
          }
        } while (page.length === PAGE && !either.aborted)
        if (current === undefined || isFinished(current.state)) return
        await bell.wait(pollMs, either)
      }
      if (ending.aborted) {
        throw unavailable('service_stopping', 'The service restarts. Ask again in a moment.')
      }
    } finally {
      bell.close()
      leave(build.orgId)
    }
  }
}
