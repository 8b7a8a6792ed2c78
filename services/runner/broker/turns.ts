/** Who may send now: so many requests at once per sandbox, per organisation and in all, organisations in turn. */
import { createFairQueue } from '../fleet/fair-queue.ts'

export type TurnLimits = {
  perSandbox: number
  /** Less than the total: slow upstreams of one organisation must leave turns to the others. */
  perOrg: number
  total: number
  waiting: number
  waitingPerOrg: number
}

export type Turns = {
  /** Resolves to the function that gives the turn back, or to undefined when too many wait. Rejects on abort. */
  take(orgId: string, sandbox: SandboxTurns, signal: AbortSignal): Promise<(() => void) | undefined>
}

/** How many requests of one sandbox or organisation are under way, and which wait for one of them to end. */
type Lane = { active: number; waiting: (() => void)[] }
export type SandboxTurns = Lane

export function sandboxTurns(): SandboxTurns {
  return { active: 0, waiting: [] }
}

export function createTurns(limits: TurnLimits): Turns {
  const queue = createFairQueue<() => void>({
    total: limits.waiting,
    perOrg: limits.waitingPerOrg,
  })
  const orgs = new Map<string, Lane>()
  let active = 0

  function laneOf(orgId: string): Lane {
    const lane = orgs.get(orgId) ?? { active: 0, waiting: [] }
    orgs.set(orgId, lane)
    return lane
  }
  function leaveOrg(orgId: string, lane: Lane): void {
    leave(lane)
    if (lane.active === 0) orgs.delete(orgId)
  }

  function give(): void {
    const next = queue.shift()
    if (next === undefined) active--
    else next()
  }

  async function takeOfAll(orgId: string, signal: AbortSignal): Promise<boolean> {
    if (active < limits.total) {
      active++
      return true
    }
    return waitFor(
      signal,
      (go) => queue.push(orgId, go),
      (go) => void queue.remove(orgId, go),
    )
  }

  return {
    async take(orgId, sandbox, signal) {
      await enter(sandbox, limits.perSandbox, signal)
      const org = laneOf(orgId)
      try {
        await enter(org, limits.perOrg, signal)
      } catch (error) {
        leave(sandbox)
        throw error
      }
      const giveBack = () => {
        leaveOrg(orgId, org)
        leave(sandbox)
      }
      try {
        if (!(await takeOfAll(orgId, signal))) {
          giveBack()
          return undefined
        }
      } catch (error) {
        giveBack()
        throw error
      }
      return () => {
        give()
        giveBack()
      }
    },
  }
}

async function enter(lane: Lane, limit: number, signal: AbortSignal): Promise<void> {
  if (lane.active < limit) {
    lane.active++
    return
  }
  await waitFor(
    signal,
    (go) => lane.waiting.push(go) > 0,
    (go) => {
      lane.waiting = lane.waiting.filter((each) => each !== go)
    },
  )
}

/** The place passes on to whoever waits, without being free in between. */
function leave(lane: Lane): void {
  const next = lane.waiting.shift()
  if (next === undefined) lane.active--
  else next()
}

/** True once called on; false when there is no room to wait; rejects on abort, after leaving the line. */
function waitFor(
  signal: AbortSignal,
  join: (go: () => void) => boolean,
  leave: (go: () => void) => void,
): Promise<boolean> {
  const { promise, resolve, reject } = Promise.withResolvers<boolean>()
  const onAbort = () => {
    leave(go)
    reject(signal.reason)
  }
  const go = () => {
    signal.removeEventListener('abort', onAbort)
    resolve(true)
  }
  if (signal.aborted) reject(signal.reason)
  else if (join(go)) signal.addEventListener('abort', onAbort)
  else resolve(false)
  return promise
}
