/** Turns of the event loop, shared among persons: many messages that come from one at once are not everybody's wait. */

/** What one person may have done in a turn. More than the messages that a busy person's connections usually bring at once. */
const PER_TURN = 16

export type FairTurns = {
  /** Whether something may be done for the person now; false when its share of this turn is used. */
  take(person: string): boolean
  /** Adds what something turned out to cost beyond one; more than is left of this turn is owed in the turns to come. */
  charge(person: string, more: number): void
  /** Does it in a turn to come, behind what waits for this person already. `act` must not throw. */
  later(person: string, act: () => void): void
}

export function fairTurns(perTurn = PER_TURN): FairTurns {
  const used = new Map<string, number>()
  const waiting = new Map<string, (() => void)[]>()
  let isArmed = false

  function arm(): void {
    if (isArmed) return
    isArmed = true
    setImmediate(begin)
  }

  /** What a person waits for is its share of the turn that begins. */
  function begin(): void {
    isArmed = false
    for (const [person, count] of used) {
      if (count > perTurn) used.set(person, count - perTurn)
      else used.delete(person)
    }
    for (const [person, acts] of waiting) {
      const owed = used.get(person) ?? 0
      const due = acts.splice(0, Math.max(0, perTurn - owed))
      if (acts.length === 0) waiting.delete(person)
      used.set(person, owed + due.length)
      for (const act of due) act()
    }
    if (used.size > 0) arm()
  }

  return {
    take(person) {
      const count = used.get(person) ?? 0
      if (count >= perTurn || waiting.has(person)) return false
      used.set(person, count + 1)
      arm()
      return true
    },
    charge(person, more) {
      if (more <= 0) return
      used.set(person, (used.get(person) ?? 0) + more)
      arm()
    },
    later(person, act) {
      const acts = waiting.get(person)
      if (acts === undefined) waiting.set(person, [act])
      else acts.push(act)
      arm()
    },
  }
}
