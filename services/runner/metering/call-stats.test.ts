import { expect, test } from 'bun:test'
import { reasonOf } from '@bmm/lib/errors'
import { callStatsReader } from './call-stats.ts'
import type { RollupSpan } from './rollup-store.ts'

const HOUR_MS = 3_600_000

function span(changes: Partial<RollupSpan> = {}): RollupSpan {
  const from = new Date(Date.UTC(2026, 10, 22, 12))
  const to = new Date(from.getTime() + HOUR_MS)
  return { serverId: 'srv', orgId: 'a', tool: '', interval: 'hour', from, to, ...changes }
}

const reasonFor = (read: Promise<unknown>) => read.then(() => undefined, reasonOf)

test('a span is widened to whole hours or whole days of UTC', async () => {
  const asked: RollupSpan[] = []
  const read = callStatsReader(async (one) => {
    asked.push(one)
    return { tools: new Map(), points: new Map() }
  })
  const from = new Date('2026-11-22T10:59:59.999Z')
  const to = new Date('2026-11-22T12:00:00.001Z')
  await read(span({ from, to }))
  await read(span({ from, to, interval: 'day' }))
  expect(asked.map((one) => [one.from.toISOString(), one.to.toISOString()])).toEqual([
    ['2026-11-22T10:00:00.000Z', '2026-11-22T13:00:00.000Z'],
    ['2026-11-22T00:00:00.000Z', '2026-11-23T00:00:00.000Z'],
  ])
})

test('two questions of an organisation run at a time, and four of all', async () => {
  const gate = Promise.withResolvers<void>()
  const read = callStatsReader(async () => {
    await gate.promise
    return { tools: new Map(), points: new Map() }
  })
  const under = ['a', 'a', 'b', 'c'].map((orgId) => read(span({ orgId })))
  expect(await reasonFor(read(span({ orgId: 'a' })))).toBe('too_many_reads')
  expect(await reasonFor(read(span({ orgId: 'd' })))).toBe('too_many_reads')
  gate.resolve()
  await Promise.all(under)
  expect(await reasonFor(read(span({ orgId: 'a' })))).toBeUndefined()
})

test('a question that the database gives up is too long, and gives its place back', async () => {
  const read = callStatsReader(async () => {
    throw Object.assign(new Error('canceling statement'), { code: '57014' })
  })
  for (let n = 0; n < 5; n++) expect(await reasonFor(read(span()))).toBe('range_too_long')
})
