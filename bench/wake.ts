/** Waking: the first answer of servers that sleep, and what a sandbox costs before it is needed. */
import { join } from 'node:path'
import type { Platform } from '@bmm/tests/platform'
import { z } from 'zod'
import { echoSpec } from './echo.ts'
import { type Figure, median, milliseconds, percentile } from './figure.ts'
import { timedCall } from './tool-call.ts'

const SERVERS = 16
/** Long enough for the pool to be full again: what is measured is the wake, not the queue behind it. */
const REST_MS = 250

const echo = { tool: 'echo', input: { text: 'awake' }, expected: 'awake' }

const timingsSchema = z.object({
  rounds: z.number(),
  startToPooledMs: z.number(),
  wakeToAnswerMs: z.number(),
})

/** Each server is fresh, so its first call takes a sandbox from the pool. */
export async function measureWakes(platform: Platform): Promise<Figure[]> {
  const draft = await platform.draft({ spec: echoSpec })
  const first: number[] = []
  const second: number[] = []
  for (let index = 0; index < SERVERS; index++) {
    const url = await platform.serve(draft, `bench-sleeper-${index}`)
    const token = await platform.token(url, platform.builder)
    await Bun.sleep(REST_MS)
    first.push(await timedCall(url, token, echo))
    second.push(await timedCall(url, token, echo))
  }
  return [
    {
      what: `wake from the pool to the first HTTP answer, ${SERVERS} fresh servers: p50 / p90`,
      value: `${milliseconds(percentile(first, 0.5))} / ${milliseconds(percentile(first, 0.9))} (the next call ${milliseconds(median(second))})`,
      target: 'p50 ≤ 10 ms',
    },
  ]
}

/** The runner's own measurement, without the rest of the platform. */
export async function measureSandboxes(): Promise<Figure[]> {
  const program = join(import.meta.dir, '../services/runner/keeper/timing.ts')
  const child = Bun.spawn([process.execPath, program], { stdout: 'pipe', stderr: 'pipe' })
  const [text, errors] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ])
  if ((await child.exited) !== 0) throw new Error(`sandboxes cannot be timed: ${errors}`)
  const { rounds, startToPooledMs, wakeToAnswerMs } = timingsSchema.parse(JSON.parse(text))
  return [
    {
      what: `sandbox alone, ${rounds} rounds: start to pooled / load and first answer`,
      value: `${milliseconds(startToPooledMs)} / ${milliseconds(wakeToAnswerMs)}`,
    },
  ]
}
