/** Each bound by itself, and what is given back. */
import { expect, test } from 'bun:test'
import { createAnswerMemory } from './answer-memory.ts'

const limits = { perSandbox: 10, perOrg: 15, total: 20 }

test('a sandbox, an organisation and all together hold so much at most, and others still find room', () => {
  const memory = createAnswerMemory(limits)
  const [first, second, foreign] = [{ answerBytes: 0 }, { answerBytes: 0 }, { answerBytes: 0 }]
  const mine = memory.hold(first, 'org_a')
  expect([mine.reserve(6), mine.reserve(4), mine.reserve(1)]).toEqual([true, true, false])
  const others = memory.hold(second, 'org_a')
  expect([others.reserve(6), others.reserve(5), others.reserve(1)]).toEqual([false, true, false])
  const strangers = memory.hold(foreign, 'org_b')
  expect([strangers.reserve(6), strangers.reserve(5)]).toEqual([false, true])
  expect(memory.bytes).toBe(20)
})

test('two requests of a sandbox share its bound; each gives back its own, once', () => {
  const memory = createAnswerMemory(limits)
  const sandbox = { answerBytes: 0 }
  const [one, two] = [memory.hold(sandbox, 'org_a'), memory.hold(sandbox, 'org_a')]
  expect([one.reserve(7), two.reserve(3), two.reserve(1)]).toEqual([true, true, false])
  one.release()
  one.release()
  expect([sandbox.answerBytes, memory.bytes]).toEqual([3, 3])
  expect(two.reserve(7)).toBe(true)
  two.release()
  expect([sandbox.answerBytes, memory.bytes]).toEqual([0, 0])
})
