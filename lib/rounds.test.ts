/** Rounds: never two at once, past failures, and over when they are disposed. */
import { expect, test } from 'bun:test'
import { startRounds } from './rounds.ts'
import { testLog } from './testing.ts'
import { until } from './testing-until.ts'

test('a failed round is followed by the next, never two at once, and none comes afterwards', async () => {
  let rounds = 0
  let running = 0
  let most = 0
  {
    await using _rounds = startRounds({
      ...{ name: 'counting', everyMs: 5, log: testLog },
      async round() {
        rounds++
        most = Math.max(most, ++running)
        await Bun.sleep(20)
        running--
        if (rounds === 1) throw new Error('not this time')
      },
    })
    await until(() => rounds >= 3)
  }
  expect([most, running]).toEqual([1, 0])
  const seen = rounds
  await Bun.sleep(60)
  expect(rounds).toBe(seen)
})
