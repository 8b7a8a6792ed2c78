/** How many calls may be under way: per sandbox, per organisation and per gateway connection. */

export type InFlightLimits = {
  perSandbox: number
  perOrg: number
  perConnection: number
}

/** Who a call counts for. */
export type CallOwner = {
  connection: number
  orgId: string
  sandboxKey: string
}

export type InFlightRefusal = 'sandbox' | 'org' | 'connection'

export type InFlight = {
  /** Counts the call, or says which limit refuses it and counts nothing. */
  enter(owner: CallOwner): InFlightRefusal | undefined
  leave(owner: CallOwner): void
  readonly calls: number
}

export function createInFlight(limits: InFlightLimits): InFlight {
  const perSandbox = new Map<string, number>()
  const perOrg = new Map<string, number>()
  const perConnection = new Map<number, number>()
  let calls = 0
  return {
    enter({ connection, orgId, sandboxKey }) {
      const ofConnection = perConnection.get(connection) ?? 0
      const ofOrg = perOrg.get(orgId) ?? 0
      const ofSandbox = perSandbox.get(sandboxKey) ?? 0
      if (ofConnection >= limits.perConnection) return 'connection'
      if (ofOrg >= limits.perOrg) return 'org'
      if (ofSandbox >= limits.perSandbox) return 'sandbox'
      perConnection.set(connection, ofConnection + 1)
      perOrg.set(orgId, ofOrg + 1)
      perSandbox.set(sandboxKey, ofSandbox + 1)
      calls++
      return undefined
    },
    leave({ connection, orgId, sandboxKey }) {
      countDown(perConnection, connection)
      countDown(perOrg, orgId)
      countDown(perSandbox, sandboxKey)
      calls--
    },
    get calls() {
      return calls
    },
  }
}

function countDown<Key>(counts: Map<Key, number>, key: Key): void {
  const left = (counts.get(key) ?? 0) - 1
  if (left < 0) throw new Error(`a call of ${key} left twice`)
  if (left === 0) counts.delete(key)
  else counts.set(key, left)
}
