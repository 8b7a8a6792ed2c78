/** Pauses: over in time, at once when they are ended, and never begun when they are over already. */
import { expect, test } from 'bun:test'
import { getEventListeners } from 'node:events'
import { pause } from './pause.ts'

test('a pause lasts its time, ends with its signal, and leaves nothing on it', async () => {
  const ending = new AbortController()
  const begun = performance.now()
  await pause(20, ending.signal)
  expect(performance.now() - begun).toBeGreaterThan(15)
  const ended = pause(3_600_000, ending.signal)
  expect(getEventListeners(ending.signal, 'abort')).toHaveLength(1)
  ending.abort()
  await ended
  await pause(3_600_000, ending.signal)
  expect(getEventListeners(ending.signal, 'abort')).toHaveLength(0)
})
