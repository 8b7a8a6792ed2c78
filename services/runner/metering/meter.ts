/** Counting calls in memory: by server, version, tool and hour, bounded, until somebody takes the counts away. */
import type { Verdict } from '@bmm/lib/call-frames'
import type { CallFailureCode } from '../calls/call-failure.ts'
import type { ServingDeployment } from '../deployment/deployment.ts'
import { type CallSums, emptySums } from './call-sums.ts'
import { bucketOf, countIn, emptyLatency, type Latency } from './latency.ts'

/** How a call ended. `answered` is any result, that of a tool that failed included: nobody here parses it. */
export type CallEnding = 'answered' | 'refused' | 'overdue' | 'cancelled' | 'failed'

/** Counts of one tool of one version in one hour. */
export type CallRollup = CallSums & {
  serverId: string
  orgId: string
  version: number
  tool: string
  /** Its start, in milliseconds since 1970. */
  hour: number
}

/** One call that has ended. */
export type EndedCall = {
  ending: CallEnding
  ms: number
  bytesIn: number
  bytesOut: number
}

/** Since the process started, of all servers together. */
export type MeterTotals = {
  endings: Record<CallEnding, { latency: Latency; msSum: number }>
  verdicts: Record<Verdict['verdict'], number>
  bytesIn: number
  bytesOut: number
}

export type Meter = {
  /** Counts a call that has ended: the hot path. */
  count(deployment: ServingDeployment, tool: string, call: EndedCall): void
  /** Counts what the gateway found: an error of an answered call, or a call that it turned away itself. */
  judge(deployment: ServingDeployment, tool: string, verdict: Verdict['verdict']): void
  /** Takes at most this many rollups away, oldest first. */
  take(limit: number): CallRollup[]
  readonly size: number
  readonly totals: MeterTotals
}

const HOUR_MS = 60 * 60 * 1_000
/** Rollups at a time; more only pile up while Postgres is away. About 1 KB each. */
const MAX_ROLLUPS = 20_000
/** Stands for every tool of a server once there is no room; no tool can have this name. */
export const OTHER_TOOL = '(other)'

export function createMeter(options: { now: () => number; maxRollups?: number }): Meter {
  const { now, maxRollups = MAX_ROLLUPS } = options
  let rollups = new Map<string, CallRollup>()
  const totals = newTotals()

  function rollupOf(deployment: ServingDeployment, tool: string): CallRollup {
    const { serverId, version } = deployment.statement
    const hour = Math.floor(now() / HOUR_MS)
    const key = `${serverId} ${version} ${hour} ${tool}`
    const known = rollups.get(key)
    if (known !== undefined) return known
    // Names come from the signed contract, whatever was asked for.
    const isListed = deployment.tools.includes(tool)
    if (isListed && rollups.size < maxRollups) {
      return added(key, deployment, { tool, hour: hour * HOUR_MS })
    }
    // One a server, in whatever hour it began: there are never more than that beyond the limit.
    const other = `${serverId} ${OTHER_TOOL}`
    return (
      rollups.get(other) ?? added(other, deployment, { tool: OTHER_TOOL, hour: hour * HOUR_MS })
    )
  }

  function added(
    key: string,
    { statement }: ServingDeployment,
    { tool, hour }: { tool: string; hour: number },
  ): CallRollup {
    const { serverId, orgId, version } = statement
    const rollup: CallRollup = { serverId, orgId, version, tool, hour, ...emptySums() }
    rollups.set(key, rollup)
    return rollup
  }

  return {
    count(deployment, tool, { ending, ms, bytesIn, bytesOut }) {
      const rollup = rollupOf(deployment, tool)
      const bucket = bucketOf(ms)
      rollup.calls++
      rollup.bytesIn += bytesIn
      rollup.bytesOut += bytesOut
      if (ending !== 'answered') rollup[ending]++
      if (ending !== 'refused') countIn(rollup.latency, bucket)
      const total = totals.endings[ending]
      countIn(total.latency, bucket)
      total.msSum += ms
      totals.bytesIn += bytesIn
      totals.bytesOut += bytesOut
    },
    judge(deployment, tool, verdict) {
      totals.verdicts[verdict]++
      const rollup = rollupOf(deployment, tool)
      if (verdict === 'tool_error') rollup.toolErrors++
      else if (verdict === 'result_invalid') rollup.failed++
      else {
        rollup.calls++
        rollup.refused++
      }
    },
    take(limit) {
      const taken = [...rollups.values()].slice(0, limit)
      if (taken.length === rollups.size) rollups = new Map()
      else for (const key of [...rollups.keys()].slice(0, limit)) rollups.delete(key)
      return taken
    },
    get size() {
      return rollups.size
    },
    totals,
  }
}

/** How a failure counts. */
export function endingOf(code: CallFailureCode): Exclude<CallEnding, 'answered'> {
  switch (code) {
    case 'busy':
      return 'refused'
    case 'deadline':
      return 'overdue'
    case 'cancelled':
      return 'cancelled'
    case 'sandbox_failed':
    case 'result_too_large':
    case 'unknown_server':
    case 'stale_epoch':
    case 'runner_stopping':
      return 'failed'
    default:
      return code satisfies never
  }
}

function newTotals(): MeterTotals {
  const none = () => ({ latency: emptyLatency(), msSum: 0 })
  return {
    endings: {
      answered: none(),
      refused: none(),
      overdue: none(),
      cancelled: none(),
      failed: none(),
    },
    verdicts: { tool_error: 0, result_invalid: 0, refused: 0 },
    ...{ bytesIn: 0, bytesOut: 0 },
  }
}
