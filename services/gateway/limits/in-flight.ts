/** Calls that are running: capped, cancellable by their client, ended when their grant is. */

/** One person's calls at a time on this gateway, and everybody's together. */
const MAX_PER_USER = 64
const MAX_TOTAL = 4_096
/**
 * Whoever is refused waits a moment first, each time another one: a client that asks again at once then costs its
 * neighbours one answer a second for each of its connections, and its connections never come in step.
 */
const SHORTEST_PAUSE_MS = 250
const LONGEST_PAUSE_MS = 1_250
const MAX_PAUSING = 4_096

export type EndReason = 'client_gone' | 'cancelled' | 'revoked' | 'stopping' | 'overdue'

/** What an AbortSignal would tell, at a tenth of its price. */
export type CallEnd = {
  /** Why it was ended; undefined while nobody has. */
  readonly reason: EndReason | undefined
  /** Told at once when somebody ends it; there is one listener at a time. */
  listener: { onEnd(): void } | undefined
}

export type RunningCall = CallEnd & {
  /** Later reasons are ignored. */
  end(reason: EndReason): void
  /** Must be called when the call is over, whatever became of it. */
  close(): void
}

export type InFlight = {
  /** Undefined when the caller, or the gateway, has too many already. */
  open(call: Whose): RunningCall | undefined
  /** Ends the calls that were opened under this key. */
  cancel(cancelKey: string): void
  endGrant(grantId: string): void
  endAll(): void
  size(): number
  /** What a refusal waits for; nothing when too many wait already. */
  pause(): Promise<void>
}

type Whose = { userId: string; grantId: string; cancelKey?: string | undefined }

class Entry implements RunningCall {
  reason: EndReason | undefined
  listener: { onEnd(): void } | undefined

  constructor(
    readonly whose: Whose,
    readonly leave: (entry: Entry) => void,
  ) {}

  end(reason: EndReason): void {
    if (this.reason !== undefined) return
    this.reason = reason
    this.listener?.onEnd()
  }

  close(): void {
    this.leave(this)
  }
}

export function inFlight(
  options: { maxPerUser?: number; maxTotal?: number; random?: () => number } = {},
): InFlight {
  const { maxPerUser = MAX_PER_USER, maxTotal = MAX_TOTAL, random = Math.random } = options
  let pausing = 0
  const calls = new Set<Entry>()
  const perUser = new Map<string, number>()

  function leave(entry: Entry): void {
    if (!calls.delete(entry)) return
    const { userId } = entry.whose
    const left = (perUser.get(userId) ?? 1) - 1
    if (left > 0) perUser.set(userId, left)
    else perUser.delete(userId)
  }

  function endWhere(matches: (whose: Whose) => boolean, reason: EndReason): void {
    for (const entry of [...calls]) if (matches(entry.whose)) entry.end(reason)
  }

  return {
    open(call) {
      const count = perUser.get(call.userId) ?? 0
      if (count >= maxPerUser || calls.size >= maxTotal) return undefined
      const entry = new Entry(call, leave)
      calls.add(entry)
      perUser.set(call.userId, count + 1)
      return entry
    },
    cancel: (cancelKey) => endWhere((whose) => whose.cancelKey === cancelKey, 'cancelled'),
    endGrant: (grantId) => endWhere((whose) => whose.grantId === grantId, 'revoked'),
    endAll: () => endWhere(() => true, 'stopping'),
    size: () => calls.size,
    async pause() {
      if (pausing >= MAX_PAUSING) return
      pausing++
      await Bun.sleep(SHORTEST_PAUSE_MS + random() * (LONGEST_PAUSE_MS - SHORTEST_PAUSE_MS))
      pausing--
    },
  }
}
