/** The wait of a test for something that must come: never for a fixed time, which a loaded machine outlasts. */

const LIMIT_MS = 45_000
const SHORTEST_PAUSE_MS = 10
const LONGEST_PAUSE_MS = 50

/** Rejects with what did not happen. */
export async function until(
  happened: () => boolean | Promise<boolean>,
  what = String(happened),
  limitMs = LIMIT_MS,
): Promise<void> {
  const deadline = performance.now() + limitMs
  for (let pauseMs = SHORTEST_PAUSE_MS; !(await happened()); ) {
    if (performance.now() > deadline) throw new Error(`it did not happen in ${limitMs} ms: ${what}`)
    await Bun.sleep(pauseMs)
    pauseMs = Math.min(LONGEST_PAUSE_MS, pauseMs * 1.2)
  }
}
