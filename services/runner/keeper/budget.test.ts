/** Shares of a budget by themselves; what the kernel makes of them is tried in processor-time.test.ts. */
import { expect, test } from 'bun:test'
import { testLog } from '@bmm/lib/testing'
import { until } from '@bmm/lib/testing-until'
import { createBudgets, shareOut } from './budget.ts'

test.each([
  ['everyone gets all of it while it is enough', [0.5, 0.3, 0.1], 1, 0.5],
  ['those who want most share what the others leave', [0.5, 0.1, 0.5, 0.1], 1, 0.4],
  ['all share evenly when all want more', [0.5, 0.5, 0.5, 0.5], 1, 0.25],
  ['nobody wants anything', [0, 0, 0], 1, 0.5],
])('%s', (_, wishes, budget, limit) => {
  expect(shareOut(wishes, budget)).toBeCloseTo(limit, 9)
})

const idle = { usedMs: () => 0, stand: () => {}, kill: () => {} }

test('an even share is given, taken back when there is room, and what takes no limit is ended', async () => {
  const budgets = createBudgets(0.5, testLog)
  const begun = performance.now()
  const quotas: number[][] = [[], [], []]
  let used: () => number | undefined = () => (performance.now() - begun) / 2
  let killed = 0
  const sandboxes = quotas.map((seen, at) => ({
    usedMs: () => used(),
    limit(quota: number) {
      seen.push(quota)
      if (at === 2) throw new Error('the file does not take it')
    },
    stand: () => {},
    kill: () => void killed++,
  }))
  try {
    const [first, second, third] = sandboxes.map((sandbox) => budgets.join('org_a', sandbox))
    const other: number[] = []
    budgets.join('org_b', { ...idle, limit: (q) => void other.push(q) })
    await until(() => killed === 1)
    expect(quotas).toEqual([[16_667], [16_667], [16_667]])
    expect([killed, other]).toEqual([1, []])
    third?.()
    const late: number[] = []
    const sandbox = { ...idle, limit: (q: number) => void late.push(q) }
    budgets.join('org_a', sandbox)()
    expect(late).toEqual([16_667])
    used = () => 0
    const areLast = (quota: number) => quotas.slice(0, 2).every((seen) => seen.at(-1) === quota)
    await until(() => areLast(50_000))
    // Nothing tells what they use: as much as they could, then.
    used = () => undefined
    await until(() => areLast(25_000))
    first?.()
    second?.()
  } finally {
    budgets.stop()
  }
})

test('a rank is told when it changes, and again where that failed', async () => {
  const budgets = createBudgets(10, testLog)
  const begun = performance.now()
  let usedMs = () => (performance.now() - begun) * 0.4
  let tries = 0
  const told: boolean[] = []
  const quiet: boolean[] = []
  try {
    budgets.join('org_a', {
      ...idle,
      limit: () => {},
      usedMs: () => usedMs(),
      stand(isBehind) {
        if (++tries < 3) throw new Error('the engine is away')
        told.push(isBehind)
      },
    })
    const stand = (isBehind: boolean) => void quiet.push(isBehind)
    budgets.join('org_b', { ...idle, limit: () => {}, stand })
    await until(() => told.length === 1)
    expect([told, tries]).toEqual([[true], 3])
    const lastMs = usedMs()
    usedMs = () => lastMs
    await until(() => told.length === 2)
    expect([told, tries]).toEqual([[true, false], 4])
    expect(quiet).toEqual([])
  } finally {
    budgets.stop()
  }
})
