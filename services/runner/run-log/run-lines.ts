/** Reading the run log: pages, and following it as it grows. */
import { createBell } from '@bmm/lib/bell'
import { limited } from '@bmm/lib/errors'
import type { Sql } from '@bmm/lib/sql'
import { listNewestRunLines, listRunLinesAfter, type StoredRunLine } from '../store.ts'
import type { RunLog } from './run-log.ts'

const DEFAULT_LINES = 200
const FOLLOW_PAGE_LINES = 200
/** Looked at again without a notice: another process may have written. */
const LOOK_AGAIN_MS = 10_000
const MAX_FOLLOWERS_PER_ORG = 20
const MAX_FOLLOWERS = 500

/** Whose lines. */
export type RunLinesPlace = {
  serverId: string
  orgId: string
}

export type RunLines = {
  /** Lines after the cursor, or the newest ones when it is 0; newest last. */
  list(place: RunLinesPlace, afterSeq: bigint, limit: number): Promise<StoredRunLine[]>
  /** Lines after the cursor until the signal aborts; `following` first. Throws `too_many_followers`. */
  follow(
    place: RunLinesPlace,
    afterSeq: bigint,
    signal: AbortSignal,
  ): AsyncGenerator<'following' | StoredRunLine>
}

export function createRunLines({ sql, runLog }: { sql: Sql; runLog: RunLog }): RunLines {
  const followers = new Map<string, number>()
  let all = 0

  function enter(orgId: string) {
    const mine = followers.get(orgId) ?? 0
    if (mine >= MAX_FOLLOWERS_PER_ORG || all >= MAX_FOLLOWERS) {
      throw limited('too_many_followers', 'Too many people follow logs at the moment. Close some.')
    }
    followers.set(orgId, mine + 1)
    all++
  }
  function leave(orgId: string) {
    const left = (followers.get(orgId) ?? 1) - 1
    if (left === 0) followers.delete(orgId)
    else followers.set(orgId, left)
    all--
  }

  async function* pages(place: RunLinesPlace, afterSeq: bigint, signal: AbortSignal) {
    const bell = createBell()
    const unsubscribe = runLog.subscribe(place.serverId, bell.ring)
    try {
      for (let cursor = afterSeq; !signal.aborted; ) {
        const limit = FOLLOW_PAGE_LINES
        const lines = await listRunLinesAfter(sql, { ...place, afterSeq: cursor, limit })
        yield* lines
        cursor = lines.at(-1)?.seq ?? cursor
        if (lines.length < limit) await bell.wait(LOOK_AGAIN_MS, signal)
      }
    } finally {
      unsubscribe()
    }
  }

  return {
    list(place, afterSeq, limit) {
      const lines = limit === 0 ? DEFAULT_LINES : limit
      return afterSeq === 0n
        ? listNewestRunLines(sql, { ...place, limit: lines })
        : listRunLinesAfter(sql, { ...place, afterSeq, limit: lines })
    },
    async *follow(place, afterSeq, signal) {
      enter(place.orgId)
      try {
        yield 'following'
        yield* pages(place, afterSeq, signal)
      } finally {
        leave(place.orgId)
      }
    },
  }
}
