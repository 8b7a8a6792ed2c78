/** The life of a service's process: how it ends, and what it does with an error that nobody caught. */
import { errorFrom } from './errors.ts'
import type { Log } from './log.ts'

/** Resolves at SIGTERM or SIGINT. An uncaught error is logged and ends the process: the supervisor starts a clean one. */
export function untilStopped(log: Log): Promise<void> {
  const die = (thrown: unknown) => {
    log.fatal({ err: errorFrom(thrown) }, 'an error that nobody caught')
    process.exit(1)
  }
  process.on('uncaughtException', die)
  process.on('unhandledRejection', die)
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      process.once(signal, () => {
        log.info({ signal }, 'stopping')
        resolve()
      })
    }
  })
}
