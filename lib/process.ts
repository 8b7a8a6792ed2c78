/** The life of a service's process: who may look into it, how it ends, what an error does that nobody caught. */
import { dlopen } from 'bun:ffi'
import { errorFrom } from './errors.ts'
import type { Log } from './log.ts'

/** prctl(2): whether others of the same user may trace this process and read its memory and environment. */
const PR_SET_DUMPABLE = 4

/**
 * Shuts this process off from others of its own user: what parses hostile text in a child of the same
 * user finds neither the parent's memory nor its environment. Throws when the kernel does not do it.
 */
export function forbidInspection(): void {
  const { symbols } = dlopen('libc.so.6', {
    prctl: { args: ['i32', 'u64', 'u64', 'u64', 'u64'], returns: 'i32' },
  })
  if (symbols.prctl(PR_SET_DUMPABLE, 0n, 0n, 0n, 0n) !== 0) {
    throw new Error('the kernel does not shut this process off from others of its user')
  }
}

/**
 * Less than the supervisor waits before it kills. A client library that waits for a store which is away
 * would otherwise hold the process; all state is in the stores, so that nothing is lost by leaving.
 */
const LEAVE_MS = 8_000

/** Resolves at SIGTERM or SIGINT; whatever then still holds the process, it ends after 8 s with code 1. An uncaught error is logged and ends the process: the supervisor starts a clean one. */
export function untilStopped(log: Log, leaveMs = LEAVE_MS): Promise<void> {
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
        const leave = setTimeout(() => {
          log.warn({ afterMs: leaveMs }, 'something holds this process: it leaves all the same')
          process.exit(1)
        }, leaveMs)
        leave.unref()
        resolve()
      })
    }
  })
}
