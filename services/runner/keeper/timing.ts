/** How long sandboxes take: from a start to the pool, from the pool to the first answer, and a call after that. */
import { type DriverName, driverNames } from './driver.ts'
import { callTool, loadTools, startTestStack } from './testing.ts'

export type SandboxTimings = {
  rounds: number
  /** Medians, milliseconds. */
  startToPooledMs: number
  wakeToAnswerMs: number
  nextCallMs: number
  /** Calls a second, 16 at a time, one sandbox. */
  callsPerSecond: number
}

const ECHO = { echo: 'async (input) => input.text' }
const THROUGHPUT_CALLS = 5_000
const AT_ONCE = 16

/** Needs root and the driver; takes about a tenth of a second a round. */
async function measureSandboxes(driver: DriverName, rounds = 20): Promise<SandboxTimings> {
  const stack = await startTestStack('timing', driver)
  try {
    const starts: number[] = []
    const wakes: number[] = []
    const calls: number[] = []
    let callsPerSecond = 0
    for (let round = 0; round < rounds; round++) {
      const begun = performance.now()
      const sandbox = await stack.sandbox(round % 8, { class: 'standard' })
      const pooled = performance.now()
      await loadTools(sandbox, ECHO)
      await callTool(sandbox, 'echo', { text: 'a' })
      const answered = performance.now()
      await callTool(sandbox, 'echo', { text: 'b' })
      calls.push(performance.now() - answered)
      wakes.push(answered - pooled)
      starts.push(pooled - begun)
      if (round === rounds - 1) {
        const from = performance.now()
        let left = THROUGHPUT_CALLS
        const worker = async () => {
          while (left-- > 0) await callTool(sandbox, 'echo', { text: 'c' })
        }
        await Promise.all(Array.from({ length: AT_ONCE }, worker))
        callsPerSecond = Math.round((THROUGHPUT_CALLS / (performance.now() - from)) * 1_000)
      }
      sandbox.stop()
      await sandbox.gone
    }
    return {
      rounds,
      startToPooledMs: median(starts),
      wakeToAnswerMs: median(wakes),
      nextCallMs: median(calls),
      callsPerSecond,
    }
  } finally {
    await stack.stop()
  }
}

function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  return Math.round((sorted[Math.floor(sorted.length / 2)] ?? 0) * 100) / 100
}

if (import.meta.main) {
  const driver = driverNames.find((name) => name === process.argv[2]) ?? 'bwrap'
  process.stdout.write(`${JSON.stringify(await measureSandboxes(driver), undefined, 2)}\n`)
  process.exit(0)
}
