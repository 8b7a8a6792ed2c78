/** Ended grants: known before the gateway listens, followed every two seconds, and refused when nobody can say. */

import type { Log } from '@bmm/lib/log'
import type { OAuthService } from '@bmm/proto/auth/v1/oauth_service'
import { timestampMs } from '@bufbuild/protobuf/wkt'
import type { Client } from '@connectrpc/connect'
import { FEED_TIMEOUT_MS, type Feed, openFeed } from '../feed.ts'

/** Past this age of the newest answer no call is let through. */
const MAX_AGE_MS = 10_000
/** No access token lives this long, so older revocations cannot matter. */
const KEEP_MS = 20 * 60_000
/** Each question goes back this far, in case an earlier answer was cut short. */
const OVERLAP_MS = 10_000
/** How long a call waits for Redis. */
const MARK_TIMEOUT_MS = 500
const PAGE = 1_000

export type Standing = 'good' | 'revoked' | 'unknown'

export type Revocations = AsyncDisposable & {
  /** What is known by now, without asking anybody. */
  isRevoked(grantId: string): boolean
  /** At once, unless the authorization server was not seen for ten seconds: then Redis is asked. Unknown when neither can say. */
  standing(grantId: string): Standing | Promise<Standing>
  /** False when the authorization server was not seen for ten seconds. */
  isFresh(): boolean
  ageMs(): number
  /** Look again now. */
  hint(): Promise<void>
}

/** Resolves after the first question: when nobody answered it, every call is refused until somebody does. */
export async function openRevocations(options: {
  oauth: Pick<Client<typeof OAuthService>, 'listRevocations'>
  log: Log
  /** Called once for each newly ended grant. */
  onRevoked: (grantId: string) => void
  /** Whether Redis holds the mark of an ended grant; rejects when it cannot be asked. */
  findMark?: (grantId: string) => Promise<boolean>
  now?: () => number
  intervalMs?: number
}): Promise<Revocations> {
  const { oauth, log, now = Date.now } = options
  const revoked = new Map<string, number>()
  const cursors: { at: number; cursor: bigint }[] = [{ at: Number.NEGATIVE_INFINITY, cursor: 0n }]

  async function pull(signal: AbortSignal): Promise<void> {
    const asked = now()
    let after = overlapCursor(cursors, asked)
    for (;;) {
      const page = await oauth.listRevocations({ after }, { signal, timeoutMs: FEED_TIMEOUT_MS })
      for (const { grantId, revokedAt } of page.revocations) {
        if (revoked.has(grantId)) continue
        revoked.set(grantId, revokedAt === undefined ? asked : timestampMs(revokedAt))
        options.onRevoked(grantId)
      }
      after = page.cursor
      if (page.revocations.length < PAGE) break
    }
    cursors.push({ at: asked, cursor: after })
    for (const [grantId, at] of revoked) if (asked - at > KEEP_MS) revoked.delete(grantId)
  }

  async function askForMark(grantId: string): Promise<Standing> {
    if (options.findMark === undefined) return 'unknown'
    try {
      return (await inTime(options.findMark(grantId))) ? 'revoked' : 'good'
    } catch {
      return 'unknown'
    }
  }

  const feed: Feed = openFeed({
    name: 'revocations',
    pull,
    log,
    now,
    ...(options.intervalMs === undefined ? {} : { intervalMs: options.intervalMs }),
  })
  await feed.hint()
  const isFresh = () => feed.ageMs() <= MAX_AGE_MS
  return {
    isRevoked: (grantId) => revoked.has(grantId),
    isFresh,
    ageMs: feed.ageMs,
    standing(grantId) {
      if (revoked.has(grantId)) return 'revoked'
      return isFresh() ? 'good' : askForMark(grantId)
    },
    hint: () => feed.hint(),
    [Symbol.asyncDispose]: () => feed[Symbol.asyncDispose](),
  }
}

/** The answer; rejects when it does not come soon: a caller is better refused at once than kept waiting. */
async function inTime(answer: Promise<boolean>): Promise<boolean> {
  const { promise, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => reject(new Error('no answer in time')), MARK_TIMEOUT_MS)
  try {
    return await Promise.race([answer, promise])
  } finally {
    clearTimeout(timer)
  }
}

/** The newest cursor that is older than the overlap; what is older still is forgotten. */
function overlapCursor(cursors: { at: number; cursor: bigint }[], now: number): bigint {
  while (cursors.length > 1 && (cursors[1]?.at ?? now) <= now - OVERLAP_MS) cursors.shift()
  return cursors[0]?.cursor ?? 0n
}
