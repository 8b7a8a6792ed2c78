import { describe, expect, test } from 'bun:test'
import { bucketOf, emptyLatency, LATENCY_BUCKETS, latencyBoundsMs, quantileMs } from './latency.ts'

function histogram(times: readonly number[]) {
  const latency = emptyLatency()
  for (const ms of times) latency[bucketOf(ms)] = (latency[bucketOf(ms)] ?? 0) + 1
  return latency
}

describe('buckets', () => {
  test('grow by the square root of two, from an eighth of a millisecond to over five minutes', () => {
    for (const [at, bound] of latencyBoundsMs.entries()) {
      const before = latencyBoundsMs[at - 1]
      if (before !== undefined) expect(bound / before).toBeCloseTo(Math.SQRT2, 10)
    }
    expect([latencyBoundsMs[0], latencyBoundsMs.at(-1)]).toEqual([0.125, 524_288])
  })

  test('hold exactly what lies above the bound before and not above their own', () => {
    for (const [bucket, bound] of latencyBoundsMs.entries()) {
      expect([bucketOf(bound), bucketOf(bound * 1.000001)]).toEqual([bucket, bucket + 1])
    }
    expect([bucketOf(0), bucketOf(Number.MAX_VALUE)]).toEqual([0, LATENCY_BUCKETS - 1])
  })
})

describe('a time that a share of the calls took at most', () => {
  test('is off by less than the square root of two, whatever the times', () => {
    for (const spread of [0.5, 3, 40, 900, 60_000]) {
      const times = Array.from({ length: 1_000 }, (_, at) => 0.2 + (at / 1_000) ** 3 * spread)
      const latency = histogram(times)
      for (const share of [0.5, 0.95, 0.99]) {
        const real = times[Math.ceil(share * times.length) - 1] ?? 0
        const ratio = quantileMs(latency, share) / real
        expect(Math.max(ratio, 1 / ratio)).toBeLessThan(Math.SQRT2)
      }
    }
  })

  test('never falls as the share grows', () => {
    const latency = histogram([0.01, 0.3, 0.3, 5, 5, 5, 80, 80_000])
    const read = [0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1].map((share) => quantileMs(latency, share))
    expect(read).toEqual(read.toSorted((a, b) => a - b))
  })

  test('is 0 without calls, and no number is made up beyond the last bound', () => {
    expect(quantileMs(emptyLatency(), 0.5)).toBe(0)
    expect(quantileMs(histogram([590_000]), 0.99)).toBe(524_288)
  })

  test('of calls in one bucket stays within it', () => {
    const latency = histogram([10, 10, 10])
    const bucket = bucketOf(10)
    for (const share of [0.01, 0.5, 0.99]) {
      const ms = quantileMs(latency, share)
      expect(ms).toBeGreaterThanOrEqual(latencyBoundsMs[bucket - 1] ?? 0)
      expect(ms).toBeLessThanOrEqual(latencyBoundsMs[bucket] ?? 0)
    }
  })
})
