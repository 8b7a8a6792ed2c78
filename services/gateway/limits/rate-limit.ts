/** How often a visitor may do a thing: token buckets in bounded memory. */
import { visitorOf } from '@bmm/lib/visitor'
import type { Arrival } from '../arrival/arrival.ts'
import { problem } from '../problem.ts'

export type RateLimit = {
  /** Bucket size: what is allowed at once. */
  burst: number
  /** Tokens that come back each minute. */
  perMinute: number
}

const MAX_BUCKETS = 20_000
const MINUTE_MS = 60_000

type Bucket = { tokens: number; at: number }

/** Takes a token of `key`, or with `look` only looks for one; answers 0, or the seconds until one is there again. */
export type RateLimiter = (key: string, how?: 'take' | 'look') => number

/** The least recently used key is forgotten first, so memory is bounded whoever comes. */
export function rateLimiter(
  limit: RateLimit,
  options: { now?: () => number; maxBuckets?: number; onRefused?: () => void } = {},
): RateLimiter {
  const { now = Date.now, maxBuckets = MAX_BUCKETS } = options
  const buckets = new Map<string, Bucket>()
  return (key, how = 'take') => {
    const at = now()
    const last = buckets.get(key) ?? { tokens: limit.burst, at }
    const back = ((at - last.at) / MINUTE_MS) * limit.perMinute
    const tokens = Math.min(limit.burst, last.tokens + back)
    buckets.delete(key)
    buckets.set(key, { tokens: tokens < 1 || how === 'look' ? tokens : tokens - 1, at })
    if (buckets.size > maxBuckets) {
      for (const oldest of buckets.keys()) {
        buckets.delete(oldest)
        break
      }
    }
    if (tokens >= 1) return 0
    options.onRefused?.()
    return Math.max(1, Math.ceil(((1 - tokens) / limit.perMinute) * 60 - 1e-6))
  }
}

/** Takes a request of the visitor's share. Throws `rate_limited`. */
export function admitVisitor(visitors: RateLimiter, { clientIp }: Arrival): void {
  const retryAfterSeconds = visitors(visitorOf(clientIp))
  if (retryAfterSeconds === 0) return
  throw problem(429, 'rate_limited', 'Too many requests. Wait a moment.', { retryAfterSeconds })
}
