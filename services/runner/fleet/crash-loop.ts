/** Back-off for sandboxes that keep crashing: one crash is free, a loop waits longer each time. */

const FIRST_WAIT_MS = 500
const LONGEST_WAIT_MS = 30_000
/** A key that has not crashed for this long starts afresh. */
const FORGET_AFTER_MS = 120_000
const MAX_KEYS = 10_000

export type CrashLoop = {
  crashed(key: string): void
  /** A call was answered: whatever went wrong before is over. */
  recovered(key: string): void
  /** How long wakes of this key are still refused, in ms; 0 when it may be woken. */
  waitMs(key: string): number
  crashes(key: string): number
}

export function createCrashLoop(now: () => number): CrashLoop {
  const loops = new Map<string, { crashes: number; at: number }>()
  const find = (key: string) => {
    const loop = loops.get(key)
    if (loop === undefined || now() - loop.at < FORGET_AFTER_MS) return loop
    loops.delete(key)
    return undefined
  }
  return {
    crashed(key) {
      const crashes = (find(key)?.crashes ?? 0) + 1
      loops.delete(key)
      const oldest = loops.size >= MAX_KEYS ? loops.keys().next().value : undefined
      if (oldest !== undefined) loops.delete(oldest)
      loops.set(key, { crashes, at: now() })
    },
    recovered: (key) => void loops.delete(key),
    waitMs(key) {
      const loop = find(key)
      if (loop === undefined || loop.crashes < 2) return 0
      const wait = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** (loop.crashes - 2))
      return Math.max(0, loop.at + wait - now())
    },
    crashes: (key) => find(key)?.crashes ?? 0,
  }
}
