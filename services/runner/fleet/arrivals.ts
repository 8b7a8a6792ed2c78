/** How many warm sandboxes to hold ready, from how many wakes arrived lately. */

const BUCKET_MS = 1_000
/** A burst is expected to come again within this time. */
const WINDOW_BUCKETS = 60

export type Arrivals = {
  /** A sandbox was asked for. */
  note(): void
  /** The most wakes in any one second of the last minute. */
  peak(): number
}

export function createArrivals(now: () => number): Arrivals {
  const counts = new Map<number, number>()
  const bucketNow = () => Math.floor(now() / BUCKET_MS)
  function forgetBefore(bucket: number) {
    for (const at of counts.keys()) if (at < bucket) counts.delete(at)
  }
  return {
    note() {
      const bucket = bucketNow()
      forgetBefore(bucket - WINDOW_BUCKETS)
      counts.set(bucket, (counts.get(bucket) ?? 0) + 1)
    },
    peak() {
      forgetBefore(bucketNow() - WINDOW_BUCKETS)
      return Math.max(0, ...counts.values())
    },
  }
}

/** The pool's size to aim at: the last minute's busiest second, within the operator's bounds. */
export function poolTarget(peak: number, bounds: { min: number; max: number }): number {
  return Math.min(bounds.max, Math.max(bounds.min, peak))
}
