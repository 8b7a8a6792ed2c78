/** Turns: shares, order, and neighbours in between. */
import { expect, test } from 'bun:test'
import { fairTurns } from './fair-turns.ts'

const turn = () => new Promise<void>((resolve) => setImmediate(resolve))

test('a share is used up, and is there again in the next turn', async () => {
  const turns = fairTurns(2)
  expect([turns.take('a'), turns.take('a'), turns.take('a')]).toEqual([true, true, false])
  expect(turns.take('b')).toBe(true)
  await turn()
  expect(turns.take('a')).toBe(true)
})

test("what waits is done in order, a share a turn, everybody's in each", async () => {
  const turns = fairTurns(2)
  const done: string[] = []
  for (const what of ['a1', 'a2', 'a3', 'a4', 'a5']) turns.later('a', () => done.push(what))
  turns.later('b', () => done.push('b1'))
  expect(turns.take('a')).toBe(false)
  await turn()
  expect(done).toEqual(['a1', 'a2', 'b1'])
  // Behind the others, and not before what still waits; b has some of its share left.
  expect([turns.take('a'), turns.take('b'), turns.take('b')]).toEqual([false, true, false])
  turns.later('a', () => done.push('a6'))
  await turn()
  await turn()
  expect(done).toEqual(['a1', 'a2', 'b1', 'a3', 'a4', 'a5', 'a6'])
})

test('makes only the charged person sit out the turns that the work takes', async () => {
  const turns = fairTurns(2)
  expect(turns.take('a')).toBe(true)
  turns.charge('a', 4)
  const done: string[] = []
  turns.later('a', () => done.push('a'))
  turns.later('b', () => done.push('b'))
  await turn()
  expect(done).toEqual(['b'])
  await turn()
  expect(done).toEqual(['b', 'a'])
})
