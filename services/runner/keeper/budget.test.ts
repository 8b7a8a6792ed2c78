/** Shares of a budget by themselves; what the kernel makes of them is tried in keeper.test.ts. */
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

test('who takes a processor for long stands behind, and comes forward when it has been quiet for a while', async () => {
  const budgets = createBudgets(10, testLog)
  const ranks: Record<string, boolean[]> = { long: [], brief: [], unknown: [] }
  const begun = performance.now()
  let isOver = false
  const used = (share: number) => () => (isOver ? 0 : (performance.now() - begun) * share)
  const sandbox = (name: string, usedMs: () => number | undefined) => ({
    ...{ usedMs, limit: () => {}, kill: () => {} },
    stand: (isBehind: boolean) => void ranks[name]?.push(isBehind),
  })
  try {
    budgets.join('org_a', sandbox('long', used(0.4)))
    budgets.join('org_b', sandbox('brief', used(0.1)))
    budgets.join(
      'org_c',
      sandbox('unknown', () => undefined),
    )
    await until(() => ranks.long?.length === 1)
    isOver = true
    const quietAt = performance.now()
    await until(() => ranks.long?.length === 2)
    expect(performance.now() - quietAt).toBeGreaterThan(500)
    expect(ranks).toEqual({ long: [true, false], brief: [], unknown: [] })
  } finally {
    budgets.stop()
  }
})

test('a rank that could not be told is told again', async () => {
  const budgets = createBudgets(10, testLog)
  const begun = performance.now()
  let tries = 0
  const told: boolean[] = []
  try {
    budgets.join('org_a', {
      ...idle,
      limit: () => {},
      usedMs: () => (performance.now() - begun) * 0.4,
      stand(isBehind) {
        if (++tries < 3) throw new Error('the engine is away')
        told.push(isBehind)
      },
    })
    await until(() => told.length === 1)
    expect([told, tries]).toEqual([[true], 3])
  } finally {
    budgets.stop()
  }
})
