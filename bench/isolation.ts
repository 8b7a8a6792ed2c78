/** Isolation: how much longer the slowest calls of one tenant take while others take whatever they are not refused. */
import { existsSync, writeFileSync } from 'node:fs'
import { setPriority } from 'node:os'
import { openOffenders } from '@bmm/tests/offenders'
import { openPlatform, type Platform } from '@bmm/tests/platform'
import { echoSpec } from './echo.ts'
import { type Figure, median, milliseconds, percentile } from './figure.ts'
import { timedCall } from './tool-call.ts'

const ROUNDS = 6
const WINDOW_MS = 6_000
/** Offenders wake their sandboxes, or the platform ends them, before anything is measured. */
const SETTLE_MS = 2_500
const CALLS_PER_SECOND = 40

/** Clients are on other machines: the one that measures waits for no processor, and offenders' stand last (offenders.ts). */
const AHEAD = -15

const echo = { tool: 'echo', input: { text: 'undisturbed' }, expected: 'undisturbed' }

/** Both sides of a round run one after the other, in turns that change. */
export async function measureIsolation(platform: Platform): Promise<Figure[]> {
  const url = await platform.serve(await platform.draft({ spec: echoSpec }), 'bench-victim')
  const token = await platform.token(url, platform.builder)
  const others = await openPlatform(platform.stack, 'offenders@example.com')
  const offenders = await openOffenders(others)
  await timedCall(url, token, echo)
  standAhead()
  const without: number[][] = []
  const beside: number[][] = []
  for (let round = 0; round < ROUNDS; round++) {
    const quiet = async () => void without.push(await steadyCalls(url, token))
    const disturbed = async () => {
      const { end } = offenders.begin()
      await Bun.sleep(SETTLE_MS)
      beside.push(await steadyCalls(url, token))
      await end()
      await Bun.sleep(SETTLE_MS)
    }
    for (const side of round % 2 === 0 ? [quiet, disturbed] : [disturbed, quiet]) await side()
  }
  const p99 = (rounds: readonly number[][]) => percentile(rounds.flat(), 0.99)
  const p50 = (rounds: readonly number[][]) => percentile(rounds.flat(), 0.5)
  const ratios = beside.map(
    (took, round) => percentile(took, 0.99) / percentile(without[round] ?? [], 0.99),
  )
  return [
    {
      what: `p99 of a tenant at ${CALLS_PER_SECOND} calls/s beside five offenders (flood of 640 at once, spinning, silent, streaming, flooding frames), ${ROUNDS} rounds`,
      value: `${(p99(beside) / p99(without)).toFixed(2)} × (${milliseconds(p99(beside))} : ${milliseconds(p99(without))}; median of rounds ${median(ratios).toFixed(2)} ×; p50 ${milliseconds(p50(beside))} : ${milliseconds(p50(without))})`,
      target: '≤ 1.25 ×',
    },
  ]
}

function standAhead(): void {
  setPriority(AHEAD)
  if (existsSync('/proc/self/autogroup')) writeFileSync('/proc/self/autogroup', String(AHEAD))
}

/** Calls at fixed moments, whatever becomes of the earlier ones; all must be answered. */
async function steadyCalls(url: string, token: string): Promise<number[]> {
  const calls: Promise<number>[] = []
  const begun = performance.now()
  for (let call = 0; call * (1_000 / CALLS_PER_SECOND) < WINDOW_MS; call++) {
    const due = begun + call * (1_000 / CALLS_PER_SECOND)
    await Bun.sleep(Math.max(0, due - performance.now()))
    calls.push(timedCall(url, token, echo))
  }
  return Promise.all(calls)
}
