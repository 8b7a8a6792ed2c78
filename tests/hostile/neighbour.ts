/** A neighbour of hostile tools: an honest sandbox that is called all the time, and how it fares. */
import { callTool, loadTools, type TestStack } from '@bmm/runner/keeper/testing.ts'
import type { Sandbox } from '@bmm/runner/sandbox/sandbox.ts'

export type Fare = { answers: number; wrong: string[]; slowestMs: number; medianMs: number }

export type Neighbour = AsyncDisposable & {
  slot: number
  sandbox: Sandbox
  /** Calls it once more, then tells how it fared since the last time; the median is of some answers before, where those are few. */
  fare(): Promise<Fare>
}

/** Between two calls; each is one small answer. */
const PAUSE_MS = 20
const TIMEOUT_MS = 20_000
/** A median of fewer says more of one moment of the machine than of a neighbour. */
const LEAST_ANSWERS = 9

/** Loads it and begins to call. */
export async function openNeighbour(stack: TestStack, slot: number): Promise<Neighbour> {
  const sandbox = await stack.sandbox(slot)
  await loadTools(sandbox, { echo: 'async (input) => input.text' })
  let times: number[] = []
  let told = 0
  let wrong: string[] = []
  let number = 0
  async function ask(): Promise<void> {
    const text = `still here ${++number}`
    const startedAt = performance.now()
    const { outcome, result } = await callTool(sandbox, 'echo', { text }, { timeoutMs: TIMEOUT_MS })
    times.push(performance.now() - startedAt)
    const said = outcome.code === 'ok' ? (result.content[0]?.text ?? '') : outcome.code
    if (said !== text) wrong.push(`${said} instead of ${text}`)
  }
  let closed = false
  const asking = (async () => {
    while (!closed) {
      await ask()
      await Bun.sleep(PAUSE_MS)
    }
  })()
  return {
    slot,
    sandbox,
    async fare() {
      await ask()
      const answers = times.length - told
      const sorted = times.slice(-Math.max(answers, LEAST_ANSWERS)).sort((a, b) => a - b)
      const medianMs = sorted[Math.floor(sorted.length / 2)] ?? 0
      const fare = { answers, wrong, slowestMs: Math.max(...times.slice(told)), medianMs }
      times = times.slice(told).slice(-LEAST_ANSWERS)
      told = times.length
      wrong = []
      return fare
    },
    async [Symbol.asyncDispose]() {
      closed = true
      await asking
      sandbox.stop()
      await sandbox.gone
    },
  }
}
