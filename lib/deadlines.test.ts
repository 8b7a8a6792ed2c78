/** Deadlines: in order, never early, not after being cleared, also by each other. */
import { expect, test } from 'bun:test'
import { createDeadlines, type Deadline } from './deadlines.ts'
import { until } from './testing-until.ts'

const TICK_MS = 25
const SLACK_MS = 10

test('each comes once, in order, never early and at most a tick late', async () => {
  const deadlines = createDeadlines()
  const begun = performance.now()
  const came: { delayMs: number; afterMs: number }[] = []
  const overdue: number[] = []
  for (const delayMs of [160, 10, 60, 110]) {
    deadlines.set(delayMs, {
      expire: () => came.push({ delayMs, afterMs: performance.now() - begun }),
    })
    // A busy machine delays both timers alike: a tick is what the deadlines themselves add.
    setTimeout(
      () => {
        if (!came.some((each) => each.delayMs === delayMs)) overdue.push(delayMs)
      },
      delayMs + TICK_MS + SLACK_MS,
    )
  }
  await Bun.sleep(160 + TICK_MS + 2 * SLACK_MS)
  expect(came.map(({ delayMs }) => delayMs)).toEqual([10, 60, 110, 160])
  expect(overdue).toEqual([])
  for (const { delayMs, afterMs } of came) expect(afterMs).toBeGreaterThanOrEqual(delayMs)
})

test('an earlier one than all that are set comes in time', async () => {
  const deadlines = createDeadlines()
  const came: string[] = []
  deadlines.set(5_000, { expire: () => came.push('late') })
  deadlines.set(20, { expire: () => came.push('soon') })
  await until(() => came.length > 0)
  expect(came).toEqual(['soon'])
})

test('a cleared one does not come, and clearing it again changes nothing', async () => {
  const deadlines = createDeadlines()
  const came: string[] = []
  const cleared = deadlines.set(20, { expire: () => came.push('cleared') })
  deadlines.set(20, { expire: () => came.push('kept') })
  deadlines.clear(cleared)
  deadlines.clear(cleared)
  deadlines.clear(undefined)
  await until(() => came.length > 0)
  expect(came).toEqual(['kept'])
})

test('one that is cleared by another of the same moment does not come', async () => {
  const deadlines = createDeadlines(() => Math.floor(performance.now() / TICK_MS) * TICK_MS)
  const came: string[] = []
  let second: Deadline | undefined
  deadlines.set(20, {
    expire() {
      came.push('first')
      deadlines.clear(second)
    },
  })
  second = deadlines.set(20, { expire: () => came.push('second') })
  await until(() => came.length > 0)
  await Bun.sleep(2 * TICK_MS)
  expect(came).toEqual(['first'])
})

test('one that sets another goes on', async () => {
  const deadlines = createDeadlines()
  let count = 0
  const again = {
    expire() {
      if (++count < 3) deadlines.set(5, again)
    },
  }
  deadlines.set(5, again)
  await until(() => count === 3)
})
