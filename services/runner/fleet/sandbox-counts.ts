/** What happens to sandboxes, counted as it happens. */
import { type Tally, tally } from '@bmm/lib/metrics'
import { bucketOf, countIn, emptyLatency, type Latency } from '../metering/latency.ts'

export type SandboxCounts = {
  woken(ms: number): void
  readonly wakes: { latency: Latency; msSum: number }
  /** By code of the failure. */
  readonly failedWakes: Tally
  /** Those that nobody had asked to end, by code. */
  readonly ends: Tally
}

export function sandboxCounts(): SandboxCounts {
  const wakes = { latency: emptyLatency(), msSum: 0 }
  return {
    ...{ wakes, failedWakes: tally(), ends: tally() },
    woken(ms) {
      countIn(wakes.latency, bucketOf(ms))
      wakes.msSum += ms
    },
  }
}
