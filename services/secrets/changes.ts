/** Telling those who hold opened values that a server's secrets were changed: ids only, to whoever watches now. */
import { limited } from '@bmm/lib/errors'

const MAX_WATCHERS = 16
/** Servers that a slow watcher has not been told of yet; one more, and it is told to forget everything. */
const MAX_PENDING = 10_000
/** No server: forget everything that was opened. */
export const EVERYTHING = ''

export type Changes = {
  announce(serverId: string): void
  /** EVERYTHING at once, since nobody knows what changed before; then each changed server. Throws `too_many_watchers`. */
  watch(signal: AbortSignal): AsyncGenerator<string>
}

type Watcher = { pending: Set<string>; wake: () => void }

/** Watches end when `ending` aborts, so that they do not keep the process. */
export function openChanges(ending: AbortSignal): Changes {
  const watchers = new Set<Watcher>()
  return {
    announce(serverId) {
      for (const { pending, wake } of watchers) {
        if (pending.size >= MAX_PENDING) {
          pending.clear()
          pending.add(EVERYTHING)
        }
        if (!pending.has(EVERYTHING)) pending.add(serverId)
        wake()
      }
    },
    async *watch(signal) {
      if (watchers.size >= MAX_WATCHERS) {
        throw limited('too_many_watchers', 'Too many watch the secrets already.')
      }
      const either = AbortSignal.any([signal, ending])
      const watcher: Watcher = { pending: new Set([EVERYTHING]), wake: () => {} }
      const wake = () => watcher.wake()
      watchers.add(watcher)
      either.addEventListener('abort', wake)
      try {
        while (!either.aborted) {
          const told = [...watcher.pending]
          watcher.pending.clear()
          yield* told
          if (watcher.pending.size > 0 || either.aborted) continue
          const { promise, resolve } = Promise.withResolvers<void>()
          watcher.wake = resolve
          await promise
        }
      } finally {
        watchers.delete(watcher)
        either.removeEventListener('abort', wake)
      }
    },
  }
}
