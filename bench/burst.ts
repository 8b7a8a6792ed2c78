/** A burst: many users at once on a pool that holds a few sandboxes. */
import type { Platform } from '@bmm/tests/platform'
import { echoSpec } from './echo.ts'
import { type Figure, median, milliseconds } from './figure.ts'
import { timedCall } from './tool-call.ts'

const USERS = 24
const BURSTS = 5
/** The pool is full again, and has forgotten the burst before. */
const REST_MS = 5_000
const echo = { tool: 'echo', input: { text: 'together' }, expected: 'together' }

/** Each burst has a server of its own, so that everybody's first call wakes a sandbox. */
export async function measureBurst(platform: Platform): Promise<Figure[]> {
  const draft = await platform.draft({ spec: echoSpec })
  const people = Array.from({ length: USERS }, (_, user) =>
    platform.person(`burst-${user}@example.com`),
  )
  const last: number[] = []
  for (let burst = 0; burst < BURSTS; burst++) {
    const url = await platform.serve(draft, `bench-burst-${burst}`)
    const tokens: string[] = []
    for (const person of people) tokens.push(await platform.token(url, person))
    await Bun.sleep(REST_MS)
    const took = await Promise.all(tokens.map((token) => timedCall(url, token, echo)))
    last.push(Math.max(...took))
  }
  const [first = Number.NaN] = last
  return [
    {
      what: `burst of ${USERS} users on the default pool, ${BURSTS} times: when the last was answered`,
      value: `${milliseconds(median(last))} (the first burst ${milliseconds(first)}; later ones find a larger pool)`,
      target: '≤ 500 ms',
    },
  ]
}
