/** Calls that are running: capped, cancellable by their client, ended when their grant is. */

/** One person's calls at a time on this gateway, and everybody's together. */
const MAX_PER_USER = 64
const MAX_TOTAL = 4_096

export type EndReason = 'client_gone' | 'cancelled' | 'revoked' | 'stopping' | 'overdue'

export type RunningCall = {
  /** Aborted with an EndReason. */
  signal: AbortSignal
  end(reason: EndReason): void
  /** Must be called when the call is over, whatever became of it. */
  close(): void
}

export type InFlight = {
  /** Undefined when the caller, or the gateway, has too many already. */
  open(call: { userId: string; grantId: string; cancelKey?: string }): RunningCall | undefined
  /** Ends the calls that were opened under this key. */
  cancel(cancelKey: string): void
  endGrant(grantId: string): void
  endAll(): void
  size(): number
}

type Entry = { userId: string; grantId: string; cancelKey?: string; end(reason: EndReason): void }

export function inFlight(options: { maxPerUser?: number; maxTotal?: number } = {}): InFlight {
  const { maxPerUser = MAX_PER_USER, maxTotal = MAX_TOTAL } = options
  const calls = new Set<Entry>()
  const perUser = new Map<string, number>()

  function endWhere(matches: (entry: Entry) => boolean, reason: EndReason): void {
    for (const entry of [...calls]) if (matches(entry)) entry.end(reason)
  }

  return {
    open(call) {
      const count = perUser.get(call.userId) ?? 0
      if (count >= maxPerUser || calls.size >= maxTotal) return undefined
      const controller = new AbortController()
      const entry: Entry = { ...call, end: (reason) => controller.abort(reason) }
      calls.add(entry)
      perUser.set(call.userId, count + 1)
      return {
        signal: controller.signal,
        end: entry.end,
        close() {
          if (!calls.delete(entry)) return
          const left = (perUser.get(call.userId) ?? 1) - 1
          if (left > 0) perUser.set(call.userId, left)
          else perUser.delete(call.userId)
        },
      }
    },
    cancel: (cancelKey) => endWhere((entry) => entry.cancelKey === cancelKey, 'cancelled'),
    endGrant: (grantId) => endWhere((entry) => entry.grantId === grantId, 'revoked'),
    endAll: () => endWhere(() => true, 'stopping'),
    size: () => calls.size,
  }
}
