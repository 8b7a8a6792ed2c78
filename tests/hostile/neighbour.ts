/** A neighbour of hostile tools: an honest sandbox that is called all the time, and how it fares. */
import { callTool, loadTools, type TestStack } from '@bmm/runner/keeper/testing.ts'
import type { Sandbox } from '@bmm/runner/sandbox/sandbox.ts'

export type Fare = { answers: number; wrong: string[]; slowestMs: number; medianMs: number }

export type Neighbour = AsyncDisposable & {
  slot: number
  sandbox: Sandbox
  /** Calls it once more, then tells how it fared since the last time. */
  fare(): Promise<Fare>
}

/** Between two calls; each is one small answer. */
const PAUSE_MS = 20
const TIMEOUT_MS = 20_000

/** Loads it and begins to call. */
export async function openNeighbour(stack: TestStack, slot: number): Promise<Neighbour> {
  const sandbox = await stack.sandbox(slot)
  await loadTools(sandbox, { echo: 'async (input) => input.text' })
  let times: number[] = []
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
      const sorted = times.toSorted((a, b) => a - b)
      const [slowestMs = 0, medianMs = 0] = [sorted.at(-1), sorted[Math.floor(sorted.length / 2)]]
      const fare = { answers: times.length, wrong, slowestMs, medianMs }
      times = []
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
