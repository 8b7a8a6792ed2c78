/** Allowances, by a clock of their own. */
import { expect, test } from 'bun:test'
import { createAllowance } from './allowance.ts'

test('so much is there at once, and whoever takes more waits until it is made up for', () => {
  const { take } = createAllowance({ atOnce: 2, perSecond: 20 }, 0)
  expect([take(1, 0), take(1, 0), take(1, 0), take(1, 0)]).toEqual([0, 0, 50, 100])
  expect([take(1, 100), take(1, 200)]).toEqual([50, 0])
})

test('what is not taken does not add up beyond what is there at once', () => {
  const { take } = createAllowance({ atOnce: 2, perSecond: 20 }, 0)
  expect([take(2, 60_000), take(1, 60_000)]).toEqual([0, 50])
})

test('more than is there may be taken in one', () => {
  const { take } = createAllowance({ atOnce: 10, perSecond: 100 }, 0)
  expect([take(60, 0), take(0, 250), take(0, 500)]).toEqual([500, 250, 0])
})

test('nobody waits longer than the longest wait', () => {
  const { take } = createAllowance({ atOnce: 10, perSecond: 100, longestWaitMs: 1_000 }, 0)
  expect([take(9_999, 0), take(1, 0), take(0, 600)]).toEqual([1_000, 1_000, 400])
})
