/** A bell for one who waits: a ring that comes while nobody does is kept, several are one. */

export type Bell = {
  ring(): void
  /** Until the next ring, for `limitMs` at most, and no longer than the signal lasts. */
  wait(limitMs: number, signal: AbortSignal): Promise<void>
}

export function createBell(): Bell {
  let rung = false
  let wake: (() => void) | undefined
  return {
    ring() {
      rung = true
      wake?.()
    },
    async wait(limitMs, signal) {
      if (!rung && !signal.aborted) {
        const { promise, resolve } = Promise.withResolvers<void>()
        const onAbort = () => resolve()
        const timer = setTimeout(resolve, limitMs)
        signal.addEventListener('abort', onAbort)
        wake = resolve
        await promise
        clearTimeout(timer)
        signal.removeEventListener('abort', onAbort)
        wake = undefined
      }
      rung = false
    },
  }
}
