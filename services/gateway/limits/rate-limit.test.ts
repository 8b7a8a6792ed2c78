/** Token buckets: bursts, refills, neighbours and bounded memory. */
import { expect, test } from 'bun:test'
import { rateLimiter } from './rate-limit.ts'

test('a burst passes, the next one waits, and time brings tokens back', () => {
  let time = 0
  const take = rateLimiter({ burst: 3, perMinute: 6 }, { now: () => time })
  expect([take('a'), take('a'), take('a')]).toEqual([0, 0, 0])
  expect(take('a')).toBe(10)
  time += 9_000
  expect(take('a')).toBe(1)
  time += 1_001
  expect(take('a')).toBe(0)
  expect(take('a')).toBe(10)
})

test('one visitor never spends the tokens of another', () => {
  const take = rateLimiter({ burst: 1, perMinute: 1 }, { now: () => 0 })
  expect(take('a')).toBe(0)
  expect(take('a')).toBeGreaterThan(0)
  expect(take('b')).toBe(0)
})

test('refused attempts do not lengthen the wait', () => {
  let time = 0
  const take = rateLimiter({ burst: 1, perMinute: 60 }, { now: () => time })
  take('a')
  for (let tries = 0; tries < 100; tries++) take('a')
  time += 1_000
  expect(take('a')).toBe(0)
})

test('many keys do not grow the memory: the oldest is forgotten', () => {
  const take = rateLimiter({ burst: 1, perMinute: 1 }, { now: () => 0, maxBuckets: 2 })
  expect([take('a'), take('b'), take('c')]).toEqual([0, 0, 0])
  expect(take('a')).toBe(0)
  expect(take('c')).toBeGreaterThan(0)
})

test('looking costs nothing and tells when the bucket is empty', () => {
  const take = rateLimiter({ burst: 1, perMinute: 60 }, { now: () => 0 })
  expect([take('a', 'look'), take('a', 'look'), take('a'), take('a', 'look')]).toEqual([0, 0, 0, 1])
})
