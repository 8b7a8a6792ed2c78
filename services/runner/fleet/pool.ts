/** The warm pool: generic sandboxes kept ready, and the waiting line when there are none. A used one never comes back. */
import { errorFrom } from '@bmm/lib/errors'
import type { Log } from '@bmm/lib/log'
import { CallFailure } from '../calls/call-failure.ts'
import type { Sandbox } from '../sandbox/sandbox.ts'
import { createArrivals, poolTarget } from './arrivals.ts'
import { createFairQueue } from './fair-queue.ts'

/** Starts at the same time; more only take each other's processor time. */
const MAX_STARTING = 4
const MAX_WAITING = 2_000
const MAX_WAITING_PER_ORG = 200
const FIRST_BACK_OFF_MS = 100
const LONGEST_BACK_OFF_MS = 10_000
const RESIZE_MS = 5_000
/** A start costs processor time that the sandbox just taken needs for its first call. */
const REFILL_DELAY_MS = 100

export type PoolBounds = {
  min: number
  max: number
}

export type Pool = {
  /** A sandbox that nobody has used. Rejects with CallFailure when none can be
   * started or too many wait, or with the signal's reason. */
  take(orgId: string, signal: AbortSignal): Promise<Sandbox>
  /** Starts are possible from now on. */
  open(): void
  /** No sandbox can be started for now: those who wait are told why, and starts under way serve nobody. */
  close(why: string): void
  /** A slot became free, so a start that found none may succeed. */
  roomMade(): void
  readonly warm: number
  readonly waiting: number
  /** For good. Its sandboxes are asked to end. */
  stop(): void
}

type Waiter = {
  resolve(sandbox: Sandbox): void
  reject(error: Error): void
}

export function createPool(options: {
  launch: () => Promise<Sandbox>
  /** Whether a slot is free; when not, `makeRoom` may end an idle sandbox. */
  hasSlot: () => boolean
  makeRoom: () => void
  /** Whose processor time the sandbox in the slot uses from now on. */
  charge: (slot: number, orgId: string) => void
  bounds: PoolBounds
  now: () => number
  log: Log
}): Pool {
  const { bounds, log } = options
  const arrivals = createArrivals(options.now)
  const warm: Sandbox[] = []
  const line = createFairQueue<Waiter>({ total: MAX_WAITING, perOrg: MAX_WAITING_PER_ORG })
  let closedBecause: string | undefined = 'The runner is starting. Try again.'
  let starting = 0
  /** How often the pool was closed: what was begun before is nobody's concern any more. */
  let closings = 0
  let failures = 0
  let backOff: ReturnType<typeof setTimeout> | undefined
  let refill: ReturnType<typeof setTimeout> | undefined
  const resize = setInterval(settle, RESIZE_MS)

  /** Starts what is missing and ends what is too much. */
  function settle() {
    if (closedBecause !== undefined) return
    const target = poolTarget(arrivals.peak(), bounds)
    const missing = () => target + line.length - warm.length - starting
    while (missing() > 0 && starting < MAX_STARTING && backOff === undefined) {
      if (!options.hasSlot()) {
        if (line.length > 0) options.makeRoom()
        break
      }
      void start()
    }
    while (missing() < 0 && warm.length > target) warm.pop()?.stop()
  }

  async function start() {
    starting++
    const begunAfter = closings
    const isOutdated = () => begunAfter !== closings
    try {
      const sandbox = await options.launch()
      if (isOutdated()) return sandbox.stop()
      failures = 0
      offer(sandbox)
    } catch (error) {
      if (!isOutdated()) failed(errorFrom(error))
    } finally {
      starting--
      settle()
    }
  }

  function takeWarm(): Sandbox | undefined {
    for (let next = warm.shift(); next !== undefined; next = warm.shift()) {
      if (!next.ended) return next
    }
    return undefined
  }

  function offer(sandbox: Sandbox) {
    const waiter = line.shift()
    if (waiter !== undefined) return waiter.resolve(sandbox)
    warm.push(sandbox)
    void sandbox.gone.then(() => {
      const at = warm.indexOf(sandbox)
      if (at < 0) return
      warm.splice(at, 1)
      failed(new Error('a sandbox of the pool ended by itself'))
    })
  }

  /** One who waits learns of it; the others wait for the next try, which comes later each time. */
  function failed(error: Error) {
    log.warn({ err: error, failures }, 'a sandbox could not be started')
    line.shift()?.reject(error)
    const waitMs = Math.min(LONGEST_BACK_OFF_MS, FIRST_BACK_OFF_MS * 2 ** failures)
    failures++
    backOff ??= setTimeout(() => {
      backOff = undefined
      settle()
    }, waitMs)
  }

  function wait(orgId: string, signal: AbortSignal): Promise<Sandbox> {
    const { promise, resolve, reject } = Promise.withResolvers<Sandbox>()
    const waiter = { resolve, reject }
    if (!line.push(orgId, waiter)) {
      return Promise.reject(
        new CallFailure('busy', 'Too many calls wait for a sandbox. Try again shortly.'),
      )
    }
    const onAbort = () => {
      if (line.remove(orgId, waiter)) reject(errorFrom(signal.reason))
    }
    signal.addEventListener('abort', onAbort, { once: true })
    settle()
    return promise.finally(() => signal.removeEventListener('abort', onAbort))
  }

  function nextFor(orgId: string, signal: AbortSignal): Sandbox | Promise<Sandbox> {
    const sandbox = line.length > 0 ? undefined : takeWarm()
    if (sandbox === undefined) return wait(orgId, signal)
    refill ??= setTimeout(() => {
      refill = undefined
      settle()
    }, REFILL_DELAY_MS)
    return sandbox
  }

  return {
    async take(orgId, signal) {
      if (closedBecause !== undefined) throw new CallFailure('sandbox_failed', closedBecause)
      signal.throwIfAborted()
      arrivals.note()
      const sandbox = await nextFor(orgId, signal)
      options.charge(sandbox.slot, orgId)
      return sandbox
    },
    open() {
      closedBecause = undefined
      failures = 0
      settle()
    },
    close(why) {
      closedBecause = why
      closings++
      for (const sandbox of warm.splice(0)) sandbox.stop()
      for (let waiter = line.shift(); waiter !== undefined; waiter = line.shift()) {
        waiter.reject(new CallFailure('sandbox_failed', why))
      }
    },
    roomMade: settle,
    get warm() {
      return warm.length
    },
    get waiting() {
      return line.length
    },
    stop() {
      clearInterval(resize)
      clearTimeout(backOff)
      clearTimeout(refill)
      this.close('The runner is stopping. Try again.')
    },
  }
}
