/** Following another service's changes: asked every two seconds and at once on a hint, never twice at a time. */
import { errorFrom } from '@bmm/lib/errors'
import type { Log } from '@bmm/lib/log'

const INTERVAL_MS = 2_000
/** A question that hangs longer is asked anew: neither a start nor an answer waits for it. */
export const FEED_TIMEOUT_MS = 5_000

export type Feed = AsyncDisposable & {
  /** Milliseconds since it was last seen; infinite before the first time. */
  ageMs(): number
  /** Asks now, or once more after the question that is under way. Resolves when an answer is in; never rejects. */
  hint(): Promise<void>
}

/** `pull` asks once and takes in what is new; a rejection is logged and tried again. */
export function openFeed(options: {
  name: string
  pull: (signal: AbortSignal) => Promise<void>
  log: Log
  now?: () => number
  intervalMs?: number
}): Feed {
  const { now = Date.now, intervalMs = INTERVAL_MS } = options
  const closing = new AbortController()
  let seenAt = Number.NEGATIVE_INFINITY
  let failing = false
  let running: Promise<void> | undefined
  let next: Promise<void> | undefined
  let timer: ReturnType<typeof setTimeout> | undefined

  async function pull(): Promise<void> {
    clearTimeout(timer)
    const asked = now()
    try {
      await options.pull(closing.signal)
      seenAt = asked
      if (failing) options.log.info({ feed: options.name }, 'the feed is back')
      failing = false
    } catch (thrown) {
      if (!failing && !closing.signal.aborted) {
        options.log.warn({ feed: options.name, fault: errorFrom(thrown).message }, 'no feed')
      }
      failing = true
    }
    if (!closing.signal.aborted) timer = setTimeout(() => void hint(), intervalMs)
  }

  function hint(): Promise<void> {
    if (closing.signal.aborted) return Promise.resolve()
    if (running === undefined) {
      running = pull().finally(() => {
        running = undefined
      })
      return running
    }
    next ??= running.then(() => {
      next = undefined
      return hint()
    })
    return next
  }

  return {
    ageMs: () => now() - seenAt,
    hint,
    async [Symbol.asyncDispose]() {
      closing.abort()
      clearTimeout(timer)
      await running
    },
  }
}
