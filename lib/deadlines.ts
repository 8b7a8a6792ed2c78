/** Many deadlines on one timer: a call that is answered in time pays for an entry of a list, not for a timer of its own. */

const TICK_MS = 25

/** Who is told when a deadline has come. */
export type Expiring = {
  expire(): void
}

/** One that is set; give it back to `clear`. */
export type Deadline = {
  readonly tick: number
}

export type Deadlines = {
  /** Tells `expiring` once: never early, late by a tick at most. */
  set(delayMs: number, expiring: Expiring): Deadline
  /** One that has expired or was cleared is ignored. */
  clear(deadline: Deadline | undefined): void
}

/** A member of the ring of its tick; the ring's own entry has nobody to tell. */
class Entry implements Deadline {
  before: Entry = this
  after: Entry = this
  constructor(
    readonly tick: number,
    readonly expiring: Expiring | undefined,
  ) {}

  joinBefore(other: Entry): void {
    this.before = other.before
    this.after = other
    this.before.after = this
    other.before = this
  }

  leave(): void {
    this.before.after = this.after
    this.after.before = this.before
    this.before = this
    this.after = this
  }
}

/** Keeps no process alive, and wakes none for deadlines that were cleared. */
export function createDeadlines(now: () => number = () => performance.now()): Deadlines {
  const rings = new Map<number, Entry>()
  let timer: ReturnType<typeof setTimeout> | undefined
  let timerTick = Number.POSITIVE_INFINITY

  function arm(tick: number): void {
    clearTimeout(timer)
    timerTick = tick
    timer = setTimeout(expireDue, Math.ceil(Math.max(0, tick * TICK_MS - now())))
    timer.unref()
  }

  function expireDue(): void {
    timerTick = Number.POSITIVE_INFINITY
    const dueTick = Math.floor(now() / TICK_MS)
    const due = [...rings.values()].filter(({ tick }) => tick <= dueTick)
    try {
      for (const ring of due.sort((a, b) => a.tick - b.tick)) {
        // One that an earlier one clears is not met any more.
        while (ring.after !== ring) {
          const entry = ring.after
          entry.leave()
          entry.expiring?.expire()
        }
        rings.delete(ring.tick)
      }
    } finally {
      let next = Number.POSITIVE_INFINITY
      for (const ring of rings.values()) {
        if (ring.after !== ring && ring.tick < next) next = ring.tick
      }
      if (next < timerTick) arm(next)
    }
  }

  function ringAt(tick: number): Entry {
    const ring = rings.get(tick) ?? new Entry(tick, undefined)
    rings.set(tick, ring)
    return ring
  }

  return {
    set(delayMs, expiring) {
      const entry = new Entry(Math.ceil((now() + delayMs) / TICK_MS), expiring)
      entry.joinBefore(ringAt(entry.tick))
      if (entry.tick < timerTick) arm(entry.tick)
      return entry
    },
    clear(deadline) {
      if (deadline instanceof Entry) deadline.leave()
    },
  }
}
