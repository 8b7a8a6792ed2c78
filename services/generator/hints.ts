/** Hints through Redis: ids of what changed, so that others look again at once. Losing one costs a moment, nothing else. */
import { type Bell, createBell } from '@bmm/lib/bell'
import { channels } from '@bmm/lib/hints'
import type { Log } from '@bmm/lib/log'
import { openRedis, subscribe } from '@bmm/lib/redis'

export type BuildBell = Pick<Bell, 'wait'> & { close(): void }

export type Hints = AsyncDisposable & {
  /** A server's serving or state changed. */
  serverUpdated(serverId: string): void
  /** A build has a new event, or was asked to stop. */
  buildStep(buildId: string): void
  /** Rings with each hint about that build. */
  buildBell(buildId: string): BuildBell
}

/** Connects in the background: without Redis everything works, only later. */
export function openHints(redisUrl: string, log: Log): Hints {
  const redis = openRedis(redisUrl, { log })
  const rings = new Map<string, Set<() => void>>()
  const ring = (buildId: string) => {
    for (const each of rings.get(buildId) ?? []) each()
  }
  const subscription = subscribe(redis, channels.buildStep, ring).catch(() => undefined)
  const publish = (channel: string, id: string) => {
    redis.publish(channel, id).catch((error: Error) => {
      log.debug({ fault: error.message, channel }, 'a hint was lost')
    })
  }
  return {
    serverUpdated: (serverId) => publish(channels.serverUpdated, serverId),
    buildStep: (buildId) => publish(channels.buildStep, buildId),
    buildBell(buildId) {
      const bell = createBell()
      const others = rings.get(buildId) ?? new Set()
      rings.set(buildId, others.add(bell.ring))
      return {
        wait: bell.wait,
        close() {
          others.delete(bell.ring)
          if (others.size === 0) rings.delete(buildId)
        },
      }
    },
    async [Symbol.asyncDispose]() {
      redis.disconnect()
      await Promise.race([subscription, Promise.resolve()]).then((open) =>
        open?.[Symbol.asyncDispose](),
      )
    },
  }
}
