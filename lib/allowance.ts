/** An allowance: so much at once, and so much again each second. */

export type Allowance = {
  /** Takes so much, even where it is not there; answers how many milliseconds until it is made up for. */
  take(amount: number, now?: number): number
}

/** `now` is of `performance.now()`. What would take longer than the longest wait to make up for is forgiven. */
export function createAllowance(
  limits: { atOnce: number; perSecond: number; longestWaitMs?: number },
  now = performance.now(),
): Allowance {
  const { atOnce, longestWaitMs = Number.POSITIVE_INFINITY } = limits
  const perMs = limits.perSecond / 1_000
  let left = atOnce
  let leftAt = now
  return {
    take(amount, now = performance.now()) {
      const taken = Math.min(atOnce, left + (now - leftAt) * perMs) - amount
      left = Math.max(-longestWaitMs * perMs, taken)
      leftAt = now
      return Math.max(0, -left / perMs)
    },
  }
}
