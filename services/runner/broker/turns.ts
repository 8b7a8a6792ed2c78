/** Who may send now: so many requests at once per sandbox and in all, organisations in turn. */
import { createFairQueue } from '../fair-queue.ts'

export type TurnLimits = {
  perSandbox: number
  total: number
  waiting: number
  waitingPerOrg: number
}

export type Turns = {
  /** Resolves to the function that gives the turn back, or to undefined when too many wait. Rejects on abort. */
  take(orgId: string, sandbox: SandboxTurns, signal: AbortSignal): Promise<(() => void) | undefined>
}

/** How many requests of one sandbox are under way, and which wait for one of them to end. */
export type SandboxTurns = { active: number; waiting: (() => void)[] }

export function sandboxTurns(): SandboxTurns {
  return { active: 0, waiting: [] }
}

export function createTurns(limits: TurnLimits): Turns {
  const queue = createFairQueue<() => void>({
    total: limits.waiting,
    perOrg: limits.waitingPerOrg,
  })
  let active = 0

  async function takeOfSandbox(sandbox: SandboxTurns, signal: AbortSignal): Promise<void> {
    if (sandbox.active < limits.perSandbox) {
      sandbox.active++
      return
    }
    await waitFor(
      signal,
      (go) => sandbox.waiting.push(go) > 0,
      (go) => {
        sandbox.waiting = sandbox.waiting.filter((each) => each !== go)
      },
    )
  }

  /** The place passes on to whoever waits, without being free in between. */
  function giveSandbox(sandbox: SandboxTurns): void {
    const next = sandbox.waiting.shift()
    if (next === undefined) sandbox.active--
    else next()
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
      await takeOfSandbox(sandbox, signal)
      try {
        if (!(await takeOfAll(orgId, signal))) {
          giveSandbox(sandbox)
          return undefined
        }
      } catch (error) {
        giveSandbox(sandbox)
        throw error
      }
      return () => {
        give()
        giveSandbox(sandbox)
      }
    },
  }
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
