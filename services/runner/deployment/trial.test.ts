/** What a trial answers where there is no sandbox for it, or too many wait. */
import { expect, test } from 'bun:test'
import { reason } from '@bmm/lib/testing-outcome'
import { CallFailure } from '../calls/call-failure.ts'
import type { Pool } from '../fleet/pool.ts'
import { testServer } from '../testing.ts'
import { createTrials } from './trial.ts'

const { artefacts } = testServer()
const { signal } = new AbortController()

function poolThat(take: Pool['take']): Pool {
  const nothing = () => {}
  return {
    ...{ take, open: nothing, close: nothing, roomMade: nothing, stop: nothing },
    ...{ warm: 0, waiting: 0 },
  }
}

test('two run and fifty wait; the next one is refused, and each gets its turn', async () => {
  let started = 0
  const held = Promise.withResolvers<never>()
  const trial = createTrials(
    poolThat(() => {
      started++
      return held.promise
    }),
  )
  const trials = Array.from({ length: 52 }, () => reason(trial(artefacts, signal)))
  expect(await reason(trial(artefacts, signal))).toBe('too_many_trials')
  expect(started).toBe(2)
  held.reject(new CallFailure('busy', 'No sandbox is free.'))
  expect(new Set(await Promise.all(trials))).toEqual(new Set(['no_sandbox']))
  expect(started).toBe(52)
})

test('a sandbox that ends before it is taken is no fault of the trial: it can be asked for again', async () => {
  const trial = createTrials(poolThat(() => Promise.reject(new Error('SIGKILL'))))
  expect(await reason(trial(artefacts, signal))).toBe('no_sandbox')
})
