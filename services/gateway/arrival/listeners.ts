/** Which clients of the earlier era want log messages (`logging/setLevel`): kept in Redis, because any gateway may be asked next. */
import type { Redis } from '@bmm/lib/redis'

/** Clients that come back later than this ask again. */
const KEPT_SECONDS = 24 * 60 * 60

/** One client of one person on one server. */
export type Listener = { grantId: string; serverId: string }

export type Listeners = {
  set(listener: Listener, isListening: boolean): Promise<void>
  /** False while it cannot be told: a log message less is no harm. */
  has(listener: Listener): Promise<boolean>
}

export function openListeners(redis: Redis | undefined): Listeners {
  const key = ({ grantId, serverId }: Listener) => `bmm:listening:${grantId}:${serverId}`
  return {
    async set(listener, isListening) {
      if (isListening) await redis?.set(key(listener), '1', 'EX', KEPT_SECONDS)
      else await redis?.del(key(listener))
    },
    async has(listener) {
      const found = await redis?.getex(key(listener), 'EX', KEPT_SECONDS).catch(() => null)
      return found === '1'
    },
  }
}
