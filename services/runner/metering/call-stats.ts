/** Reading what was counted: how much may be asked at once, and the totals of an answer. */
import { invalid, limited } from '@bmm/lib/errors'
import { type CallSums, totalOf } from './call-sums.ts'
import type { RollupSpan, RollupSums } from './rollup-store.ts'

const HOUR_MS = 60 * 60 * 1_000
const DAY_MS = 24 * HOUR_MS
const MAX_SPAN_DAYS = { hour: 31, day: 400 } as const
const MAX_TOOLS = 1_000
/** A question over a long time reads many rows. */
const MAX_READS = 4
const MAX_READS_PER_ORG = 2
const RETRY_AFTER_SECONDS = 1

export type CallStats = {
  from: Date
  to: Date
  total: CallSums
  /** Most called first. */
  tools: [tool: string, sums: CallSums][]
  /** Oldest first. */
  points: [at: Date, sums: CallSums][]
}

export type ReadStats = (span: RollupSpan) => Promise<CallStats>

/** `sum` asks the store. What it returns throws `range_invalid`, `range_too_long` and `too_many_reads`. */
export function callStatsReader(sum: (span: RollupSpan) => Promise<RollupSums>): ReadStats {
  const reads = new Map<string, number>()
  let all = 0
  return async (asked) => {
    const span = wholeIntervals(asked)
    const mine = reads.get(span.orgId) ?? 0
    if (mine >= MAX_READS_PER_ORG || all >= MAX_READS) {
      throw limited('too_many_reads', 'Too many people read statistics at the moment. Try again.', {
        retryAfterSeconds: RETRY_AFTER_SECONDS,
      })
    }
    reads.set(span.orgId, mine + 1)
    all++
    try {
      return statsFrom(span, await sum(span))
    } catch (thrown) {
      throw isStatementTimeout(thrown) ? tooMuch() : thrown
    } finally {
      all--
      const left = (reads.get(span.orgId) ?? 1) - 1
      if (left > 0) reads.set(span.orgId, left)
      else reads.delete(span.orgId)
    }
  }
}

/** The span widened to whole intervals; throws where there is none, or too many. */
function wholeIntervals(span: RollupSpan): RollupSpan {
  const { from, to, interval } = span
  const lengthMs = interval === 'hour' ? HOUR_MS : DAY_MS
  const first = Math.floor(from.getTime() / lengthMs) * lengthMs
  const end = Math.ceil(to.getTime() / lengthMs) * lengthMs
  if (from >= to) throw invalid('range_invalid', 'The start of a span lies before its end.')
  const days = MAX_SPAN_DAYS[interval]
  // A span of exactly so many days that starts in the middle of an interval touches one more.
  if (end - first > days * DAY_MS + lengthMs) {
    throw invalid('range_too_long', `By ${interval}, ${days} days can be asked for at a time.`)
  }
  return { ...span, from: new Date(first), to: new Date(end) }
}

/** SQLSTATE query_canceled: a server of a thousand tools over a year is more than the limit of a statement takes. */
function isStatementTimeout(thrown: unknown): boolean {
  return thrown instanceof Error && 'code' in thrown && thrown.code === '57014'
}

function tooMuch() {
  return invalid('range_too_long', 'That is too much to sum up: ask for fewer days, or one tool.')
}

function statsFrom({ from, to }: RollupSpan, { tools, points }: RollupSums): CallStats {
  return {
    ...{ from, to },
    total: totalOf(tools.values()),
    tools: [...tools].sort(([, a], [, b]) => b.calls - a.calls).slice(0, MAX_TOOLS),
    points: [...points].map(([at, sums]) => [new Date(at), sums]),
  }
}
