/** Work that is done again and again: one round at a time, and a failed one only means that the next tries again. */
import { errorFrom } from './errors.ts'
import type { Log } from './log.ts'
import { isOutage } from './outage.ts'

/** Until disposed, which waits for the round under way; the first round comes after `everyMs`. */
export function startRounds(options: {
  /** For the log. */
  name: string
  everyMs: number
  round: () => Promise<void>
  log: Log
}): AsyncDisposable {
  const { name, round, log } = options
  let under: Promise<void> | undefined
  const tick = async () => {
    try {
      await round()
    } catch (thrown) {
      const fault = { err: errorFrom(thrown) }
      if (isOutage(thrown)) log.warn(fault, `${name}: goes on later`)
      else log.error(fault, `${name}: failed`)
    }
  }
  const timer = setInterval(() => {
    under ??= tick().finally(() => {
      under = undefined
    })
  }, options.everyMs)
  return {
    async [Symbol.asyncDispose]() {
      clearInterval(timer)
      await under
    },
  }
}
