import { expect, test } from 'bun:test'
import { createTurns, sandboxTurns } from './turns.ts'

const never = new AbortController().signal
const limits = { perSandbox: 2, perOrg: 3, total: 3, waiting: 4, waitingPerOrg: 2 }

/** What has been granted by now. */
async function settled<T>(promise: Promise<T>): Promise<T | 'waiting'> {
  return Promise.race([promise, new Promise<'waiting'>((r) => setTimeout(() => r('waiting'), 5))])
}

test('a sandbox has so many turns at once, and the next when one is given back', async () => {
  const turns = createTurns(limits)
  const sandbox = sandboxTurns()
  const first = await turns.take('a', sandbox, never)
  await turns.take('a', sandbox, never)
  const third = turns.take('a', sandbox, never)
  expect(await settled(third)).toBe('waiting')
  first?.()
  expect(await settled(third)).toBeFunction()
})

test('organisations get their turns alternately, whoever asks more', async () => {
  const turns = createTurns({ ...limits, perSandbox: 1, total: 1, waitingPerOrg: 4, waiting: 8 })
  const order: string[] = []
  const start = await turns.take('x', sandboxTurns(), never)
  const waiting = ['a', 'a', 'a', 'b', 'b'].map(async (org) => {
    const giveBack = await turns.take(org, sandboxTurns(), never)
    order.push(org)
    giveBack?.()
  })
  await new Promise(setImmediate)
  start?.()
  await Promise.all(waiting)
  expect(order).toEqual(['a', 'b', 'a', 'b', 'a'])
})

test('an organisation whose upstreams are slow leaves turns to the others', async () => {
  const turns = createTurns({ ...limits, perOrg: 2 })
  const first = await turns.take('a', sandboxTurns(), never)
  await turns.take('a', sandboxTurns(), never)
  const third = turns.take('a', sandboxTurns(), never)
  expect(await settled(third)).toBe('waiting')
  expect(await settled(turns.take('b', sandboxTurns(), never))).toBeFunction()
  first?.()
  expect(await settled(third)).toBeFunction()
})

test('too many of one organisation in the line are turned away, others are not', async () => {
  const turns = createTurns({ ...limits, perOrg: 9 })
  for (let at = 0; at < 3; at++) await turns.take('a', sandboxTurns(), never)
  void turns.take('a', sandboxTurns(), never)
  void turns.take('a', sandboxTurns(), never)
  expect(await settled(turns.take('a', sandboxTurns(), never))).toBeUndefined()
  expect(await settled(turns.take('b', sandboxTurns(), never))).toBe('waiting')
})

test('who gives up waiting leaves the line and takes nothing', async () => {
  const turns = createTurns({ ...limits, total: 1 })
  const first = await turns.take('a', sandboxTurns(), never)
  const stop = new AbortController()
  const sandbox = sandboxTurns()
  const given = turns.take('a', sandbox, stop.signal).catch(() => 'gave up')
  stop.abort(new Error('gone'))
  expect(await given).toBe('gave up')
  expect(sandbox).toEqual({ active: 0, waiting: [] })
  first?.()
  expect(await settled(turns.take('b', sandboxTurns(), never))).toBeFunction()
})
