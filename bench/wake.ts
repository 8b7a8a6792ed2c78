/** Waking: the first answer of servers that sleep, and what a sandbox costs before it is needed. */
import { join } from 'node:path'
import { testDockerSocket } from '@bmm/lib/env'
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

/** Each server is fresh, so its first call takes a sandbox from the pool; a `docker run` of the same after each. */
export async function measureWakes(platform: Platform): Promise<Figure[]> {
  await using docker = await openDockerRun(testDockerSocket())
  const containers: number[] = []
  const draft = await platform.draft({ spec: echoSpec })
  const first: number[] = []
  const second: number[] = []
  for (let index = 0; index < SERVERS; index++) {
    const url = await platform.serve(draft, `bench-sleeper-${index}`)
    const token = await platform.token(url, platform.builder)
    await Bun.sleep(REST_MS)
    first.push(await timedCall(url, token, echo))
    second.push(await timedCall(url, token, echo))
    if (docker !== undefined) containers.push(await docker.firstAnswerMs())
  }
  const beside = median(first) / median(containers)
  return [
    {
      what: `wake from the pool to the first HTTP answer, ${SERVERS} fresh servers: p50 / p90`,
      value: `${milliseconds(percentile(first, 0.5))} / ${milliseconds(percentile(first, 0.9))} (the next call ${milliseconds(median(second))})`,
      target: 'p50 ≤ 10 ms',
    },
    {
      what: 'the same beside `docker run` of the same root file system, limits and runtime to its first HTTP answer, in turns: p50',
      value:
        docker === undefined
          ? 'not measured: no container engine'
          : `${beside.toFixed(3)} × (${milliseconds(median(first))} : ${milliseconds(median(containers))})`,
      target: '≤ 0.05 ×',
    },
  ]
}

/** The runner's yardstick (`services/runner/keeper/docker-run.ts`), on the engine that answers at the socket. */
async function openDockerRun(socket: string | undefined) {
  if (socket === undefined) return undefined
  const program = join(import.meta.dir, '../services/runner/keeper/docker-run.ts')
  const child = Bun.spawn([process.execPath, '--no-env-file', '--no-install', program, socket], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const lines = linesOf(child.stdout)
  const next = async () => {
    const { value } = await lines.next()
    if (value === undefined) throw new Error('the yardstick of docker run has ended')
    return value
  }
  await next()
  return {
    async firstAnswerMs() {
      child.stdin.write('\n')
      await child.stdin.flush()
      return Number(await next())
    },
    async [Symbol.asyncDispose]() {
      await child.stdin.end()
      await child.exited
    },
  }
}

async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string, undefined> {
  const decoder = new TextDecoder()
  let text = ''
  for await (const chunk of stream) {
    text += decoder.decode(chunk, { stream: true })
    const lines = text.split('\n')
    text = lines.pop() ?? ''
    yield* lines
  }
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
