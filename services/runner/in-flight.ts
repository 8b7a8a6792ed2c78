/** How many calls may be under way: per sandbox, per organisation and per gateway connection. */

export interface InFlightLimits {
  perSandbox: number
  perOrg: number
  perConnection: number
}

/** Who a call counts for. */
export interface CallOwner {
  connection: number
  orgId: string
  sandboxKey: string
}

export type InFlightRefusal = 'sandbox' | 'org' | 'connection'

export interface InFlight {
  /** Counts the call, or says which limit refuses it and counts nothing. */
  enter(owner: CallOwner): InFlightRefusal | undefined
  leave(owner: CallOwner): void
  readonly calls: number
}

export function createInFlight(limits: InFlightLimits): InFlight {
  const counts = new Map<string, number>()
  let calls = 0
  const keysOf = (owner: CallOwner) =>
    [
      ['connection', `c:${owner.connection}`, limits.perConnection],
      ['org', `o:${owner.orgId}`, limits.perOrg],
      ['sandbox', `s:${owner.sandboxKey}`, limits.perSandbox],
    ] as const
  return {
    enter(owner) {
      const keys = keysOf(owner)
      for (const [what, key, limit] of keys) {
        if ((counts.get(key) ?? 0) >= limit) return what
      }
      for (const [, key] of keys) counts.set(key, (counts.get(key) ?? 0) + 1)
      calls++
      return undefined
    },
    leave(owner) {
      for (const [, key] of keysOf(owner)) {
        const left = (counts.get(key) ?? 0) - 1
        if (left < 0) throw new Error(`a call of ${key} left twice`)
        if (left === 0) counts.delete(key)
        else counts.set(key, left)
      }
      calls--
    },
    get calls() {
      return calls
    },
  }
}
