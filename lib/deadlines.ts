/** Many deadlines on one timer: a call that is answered in time pays for a set's entry, not for a timer of its own. */

const TICK_MS = 25

/** One that is set; give it back to `clear`. */
export interface Deadline {
  readonly tick: number
  readonly expire: () => void
}

export interface Deadlines {
  /** Calls `expire` once: never early, late by a tick at most. */
  set(delayMs: number, expire: () => void): Deadline
  /** One that has expired or was cleared is ignored. */
  clear(deadline: Deadline | undefined): void
}

/** Keeps no process alive. */
export function createDeadlines(now: () => number = () => performance.now()): Deadlines {
  const ticks = new Map<number, Set<Deadline>>()
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
    const due = [...ticks.keys()].filter((tick) => tick <= dueTick).sort((a, b) => a - b)
    try {
      for (const tick of due) {
        // One that an earlier one clears is not met any more.
        for (const deadline of ticks.get(tick) ?? []) {
          clear(deadline)
          deadline.expire()
        }
      }
    } finally {
      let next = Number.POSITIVE_INFINITY
      for (const tick of ticks.keys()) if (tick < next) next = tick
      if (next < timerTick) arm(next)
    }
  }

  function clear(deadline: Deadline): void {
    const others = ticks.get(deadline.tick)
    // An empty tick is forgotten, so that an idle process is not woken for it.
    if (others?.delete(deadline) === true && others.size === 0) ticks.delete(deadline.tick)
  }

  return {
    set(delayMs, expire) {
      const tick = Math.ceil((now() + delayMs) / TICK_MS)
      const deadline: Deadline = { tick, expire }
      const others = ticks.get(tick)
      if (others === undefined) ticks.set(tick, new Set([deadline]))
      else others.add(deadline)
      if (tick < timerTick) arm(tick)
      return deadline
    },
    clear(deadline) {
      if (deadline !== undefined) clear(deadline)
    },
  }
}
