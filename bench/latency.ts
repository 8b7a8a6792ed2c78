/** Added latency: the echo through everything beside a server written by hand, both called at the same easy pace. */
import type { Platform } from '@bmm/tests/platform'
import { echoSpec } from './echo.ts'
import { type Figure, median, percentile } from './figure.ts'
import { timedCall } from './tool-call.ts'
import { startServer } from './yardstick.ts'

const ROUNDS = 5
const CALLS_PER_SECOND = 200
const ROUND_MS = 2_000
const WARM_UP_MS = 4_000
const echo = { tool: 'echo', input: { text: 'quick' }, expected: 'quick' }

/** Takes half a minute. */
export async function measureLatency(platform: Platform): Promise<Figure[]> {
  const url = await platform.serve(await platform.draft({ spec: echoSpec }), 'bench-latency')
  const token = await platform.token(url, platform.builder)
  await using plain = await startServer('plain-server')
  const ours: number[][] = []
  const theirs: number[][] = []
  for (const at of [url, plain.url.href]) await pacedCalls(at, token, WARM_UP_MS)
  for (let round = 0; round < ROUNDS; round++) {
    theirs.push(await pacedCalls(plain.url.href, token, ROUND_MS))
    ours.push(await pacedCalls(url, token, ROUND_MS))
  }
  const p50 = (rounds: number[][]) => median(rounds.map((took) => percentile(took, 0.5)))
  const added = median(
    ours.map((took, round) => percentile(took, 0.5) - percentile(theirs[round] ?? [], 0.5)),
  )
  return [
    {
      what: `added p50 at ${CALLS_PER_SECOND} calls/s over a bare Bun server written by hand, ${ROUNDS} rounds`,
      value: `${added.toFixed(2)} ms (${p50(ours).toFixed(2)} : ${p50(theirs).toFixed(2)} ms)`,
      target: '≤ 0.5 ms',
    },
  ]
}

/** Calls at fixed moments, whatever becomes of the earlier ones. */
async function pacedCalls(url: string, token: string, durationMs: number): Promise<number[]> {
  const calls: Promise<number>[] = []
  const begun = performance.now()
  const everyMs = 1_000 / CALLS_PER_SECOND
  for (let call = 0; call * everyMs < durationMs; call++) {
    await Bun.sleep(Math.max(0, begun + call * everyMs - performance.now()))
    calls.push(timedCall(url, token, echo))
  }
  return Promise.all(calls)
}
