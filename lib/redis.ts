/** Redis: hints, queues and counters; never the truth. */
import { Redis } from 'ioredis'
import type { Log } from './log.ts'

const RETRY_STEP_MS = 100
const RETRY_MAX_MS = 2_000
const COMMAND_TIMEOUT_MS = 5_000
/** Without an answer for longer than any command may take, the way to Redis is broken: the kernel would wait for minutes. */
const SILENCE_MS = 8_000
const BLOCKING_SILENCE_MS = 30_000
/** A process that starts while Redis is away goes without hints for the time being. */
const SUBSCRIBE_PATIENCE_MS = 1_000

export type { Redis }

export type OpenRedisOptions = {
  log: Log
  /** For workers and subscribers, which wait as long as it takes instead of failing a command. */
  blocking?: boolean
  /** Shorter in tests. */
  silenceMs?: number
}

/**
 * `redis://[user:password@]host:port[/db]`, `rediss:` for TLS, or `unix:///path?username=…&password=…&db=…`. Reconnects
 * for ever, with back-off.
 */
export function openRedis(url: string, options: OpenRedisOptions): Redis {
  const shared = {
    retryStrategy: (times: number) => Math.min(times * RETRY_STEP_MS, RETRY_MAX_MS),
    maxRetriesPerRequest: options.blocking === true ? null : 1,
    socketTimeout:
      options.silenceMs ?? (options.blocking === true ? BLOCKING_SILENCE_MS : SILENCE_MS),
    ...(options.blocking === true ? {} : { commandTimeout: COMMAND_TIMEOUT_MS }),
  }
  const parsed = new URL(url)
  const redis =
    parsed.protocol === 'unix:'
      ? new Redis({
          ...shared,
          path: parsed.pathname,
          ...pick(parsed, 'username'),
          ...pick(parsed, 'password'),
          db: Number(parsed.searchParams.get('db') ?? '0'),
        })
      : new Redis(url, shared)
  redis.on('error', (error: Error) => options.log.warn({ fault: error.message }, 'redis'))
  return redis
}

function pick(url: URL, name: string): Record<string, string> {
  const value = url.searchParams.get(name)
  return value === null ? {} : { [name]: value }
}

/** Calls back on each message of a channel; messages are hints to look again, nothing is lost by missing one. */
export async function subscribe(
  redis: Redis,
  channel: string,
  onMessage: (message: string) => void,
): Promise<AsyncDisposable> {
  const subscriber = redis.duplicate({ maxRetriesPerRequest: null })
  subscriber.on('error', () => {})
  subscriber.on('message', (_channel: string, message: string) => onMessage(message))
  // Rejects when the subscriber is closed before Redis was ever there.
  const subscribed = subscriber.subscribe(channel).catch(() => {})
  await Promise.race([subscribed, Bun.sleep(SUBSCRIBE_PATIENCE_MS)])
  return {
    async [Symbol.asyncDispose]() {
      subscriber.disconnect()
    },
  }
}
