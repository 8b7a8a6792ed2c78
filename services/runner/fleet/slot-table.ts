/** The fixed table of slots: each is one uid, one cgroup and two directories that the keeper made. */

export type SlotTable = {
  /** The slot that has been free for longest, or undefined when all are taken. */
  take(): number | undefined
  /** Gives a slot back whose sandbox the keeper has reported as gone. */
  release(slot: number): void
  /** Whether the slot is taken. */
  has(slot: number): boolean
  readonly free: number
  readonly taken: number
}

/** Slots 0 to count - 1, all free. Oldest first: a uid rests for as long as possible before it is used again. */
export function createSlotTable(count: number): SlotTable {
  const free = Array.from({ length: count }, (_, slot) => slot)
  const taken = new Set<number>()
  return {
    take() {
      const slot = free.shift()
      if (slot !== undefined) taken.add(slot)
      return slot
    },
    release(slot) {
      if (!taken.delete(slot)) throw new Error(`slot ${slot} was not taken`)
      free.push(slot)
    },
    has: (slot) => taken.has(slot),
    get free() {
      return free.length
    },
    get taken() {
      return taken.size
    },
  }
}
