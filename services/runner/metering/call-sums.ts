/** What is summed of calls, of whatever they have in common: a tool's hour, a day, a server (pure). */
import { emptyLatency, type Latency } from './latency.ts'

export type CallSums = {
  calls: number
  toolErrors: number
  refused: number
  overdue: number
  cancelled: number
  failed: number
  bytesIn: number
  bytesOut: number
  latency: Latency
}

/** Of no calls. */
export function emptySums(): CallSums {
  return {
    ...{ calls: 0, toolErrors: 0, refused: 0, overdue: 0, cancelled: 0, failed: 0 },
    ...{ bytesIn: 0, bytesOut: 0, latency: emptyLatency() },
  }
}

export function totalOf(parts: Iterable<CallSums>): CallSums {
  const total = emptySums()
  for (const part of parts) {
    total.calls += part.calls
    total.toolErrors += part.toolErrors
    total.refused += part.refused
    total.overdue += part.overdue
    total.cancelled += part.cancelled
    total.failed += part.failed
    total.bytesIn += part.bytesIn
    total.bytesOut += part.bytesOut
    total.latency = total.latency.map((count, bucket) => count + (part.latency[bucket] ?? 0))
  }
  return total
}
