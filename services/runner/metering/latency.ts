/** How long calls took: a histogram with fixed buckets, and the times that can be read from one (pure). */

/** Small enough to tell a call of an awake sandbox from none. */
const FIRST_BOUND_MS = 0.125
const BUCKETS_PER_DOUBLING = 2
/** Up to 524 s; what takes longer, up to the ten minutes of a call, falls into one more bucket. */
const BOUNDS = 45

/** The highest time that falls into each bucket; one more bucket holds the rest. Stored rows depend on them. */
export const latencyBoundsMs: readonly number[] = Array.from(
  { length: BOUNDS },
  (_, at) => FIRST_BOUND_MS * 2 ** (at / BUCKETS_PER_DOUBLING),
)
export const LATENCY_BUCKETS = BOUNDS + 1

/** Calls by bucket. */
export type Latency = number[]

export function emptyLatency(): Latency {
  return new Array<number>(LATENCY_BUCKETS).fill(0)
}

export function countIn(latency: Latency, bucket: number): void {
  latency[bucket] = (latency[bucket] ?? 0) + 1
}

/** The bucket of a time: the first whose bound is not below it. */
export function bucketOf(ms: number): number {
  let low = 0
  let high = BOUNDS
  while (low < high) {
    const middle = (low + high) >> 1
    if (ms <= (latencyBoundsMs[middle] ?? 0)) high = middle
    else low = middle + 1
  }
  return low
}

/**
 * The time that this share of the calls took at most, 0 without calls. Within its bucket it is read as if the calls
 * lay evenly on the logarithmic scale, so it is off by less than the square root of two.
 */
export function quantileMs(latency: readonly number[], share: number): number {
  const calls = latency.reduce((sum, count) => sum + count, 0)
  if (calls === 0) return 0
  const rank = share * calls
  let below = 0
  for (const [bucket, count] of latency.entries()) {
    if (count > 0 && below + count >= rank) {
      return withinBucket(bucket, Math.max(0, rank - below) / count)
    }
    below += count
  }
  return withinBucket(BOUNDS, 1)
}

function withinBucket(bucket: number, part: number): number {
  const high = latencyBoundsMs[bucket]
  const low = latencyBoundsMs[bucket - 1]
  // Nothing is known of how far the last bucket reaches.
  if (high === undefined) return latencyBoundsMs[BOUNDS - 1] ?? 0
  return low === undefined ? high * part : low * (high / low) ** part
}
