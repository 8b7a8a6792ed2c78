/** The wait of a test for something that must come: never for a fixed time, which a loaded machine outlasts. */

const LIMIT_MS = 45_000
const POLL_MS = 10

/** Rejects with what did not happen. */
export async function until(
  happened: () => boolean | Promise<boolean>,
  what = String(happened),
  limitMs = LIMIT_MS,
): Promise<void> {
  const deadline = performance.now() + limitMs
  while (!(await happened())) {
    if (performance.now() > deadline) throw new Error(`it did not happen in ${limitMs} ms: ${what}`)
    await Bun.sleep(POLL_MS)
  }
}
