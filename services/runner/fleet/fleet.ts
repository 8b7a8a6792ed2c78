/** The sandboxes that serve: one for each key, woken by a call, ended when idle, stopped, crashed or replaced. */
import { errorFrom } from '@bmm/lib/errors'
import type { Log } from '@bmm/lib/log'
import type { BrokerLink } from '../broker-link.ts'
import { CallFailure, callFailureFrom } from '../calls/call-failure.ts'
import type { Deployment, LoadArtefact, ServingDeployment } from '../deployment/deployment.ts'
import { LoadFailed, type Sandbox, type SandboxEnd } from '../sandbox/sandbox.ts'
import { sandboxKey } from '../sandbox/sandbox-key.ts'
import { type AdmissionDesk, admissionRefusal } from './admission.ts'
import { createCrashLoop } from './crash-loop.ts'
import type { Pool } from './pool.ts'
import type { SandboxCounts } from './sandbox-counts.ts'

/** From the question for a sandbox to `loaded`. */
const WAKE_TIMEOUT_MS = 20_000
const SWEEP_MS = 1_000
/** A message that holds tenant's text. */
const MAX_MESSAGE = 2_000

/** A call that can be told why its sandbox is taken away. */
export type RunningCall = {
  fail(failure: CallFailure): void
}

/** A sandbox that serves one key. */
export type Resident = {
  readonly key: string
  readonly deployment: ServingDeployment
  readonly sandbox: Sandbox
  /** Calls under way; whoever calls adds and removes its own. */
  readonly calls: Set<RunningCall>
  lastUsedAt: number
}

type Waking = {
  key: string
  deployment: ServingDeployment
  abort: AbortController
  woken: Promise<Resident>
}

export type Fleet = {
  /** The sandbox of this user for this version when it is awake: the hot path. */
  find(key: string): Resident | undefined
  /** Wakes one, once for all who ask at the same time. Rejects with CallFailure. */
  wake(deployment: ServingDeployment, userId: string): Promise<Resident>
  /** A call was answered: earlier crashes of this key are forgotten. */
  answered(resident: Resident): void
  /** Ends every sandbox of the server that does not belong to this deployment; answers how many. */
  keepOnly(deployment: Deployment): number
  /** Ends the idle sandbox that was used least recently; false when there is none. */
  makeRoom(): boolean
  /** Ends all of them; their calls fail with this. */
  endAll(failure: CallFailure): void
  /** Awake or waking. */
  readonly size: number
  readonly awake: number
  stop(): Promise<void>
}

export type FleetOptions = {
  pool: Pool
  desk: AdmissionDesk
  broker: Pick<BrokerLink, 'connected' | 'assign'>
  idleMs: number
  counts: SandboxCounts
  now: () => number
  log: Log
  /** Tells the server's people what happened to a sandbox. */
  onEvent: (deployment: ServingDeployment, message: string) => void
}

export function createFleet(options: FleetOptions): Fleet {
  const { pool, desk, broker, log, now, counts } = options
  const awake = new Map<string, Resident>()
  const waking = new Map<string, Waking>()
  /** Residents that the admission desk counts. */
  const counted = new Set<Resident>()
  const crashLoop = createCrashLoop(now)
  const sweep = setInterval(endIdle, SWEEP_MS)

  function endIdle() {
    for (const resident of awake.values()) {
      if (resident.calls.size > 0 || now() - resident.lastUsedAt < options.idleMs) continue
      leave(resident, new CallFailure('sandbox_failed', 'The sandbox was idle and has ended.'))
      options.onEvent(resident.deployment, 'A sandbox was idle and has ended.')
    }
  }

  function release(resident: Resident) {
    if (!counted.delete(resident)) return
    desk.release(resident.deployment.statement.orgId)
  }

  /** Not findable from this moment, whatever the processes still do. */
  function leave(resident: Resident, failure: CallFailure): void {
    if (awake.get(resident.key) === resident) awake.delete(resident.key)
    // Its place may be given away at once; the slot follows when the keeper has emptied it.
    release(resident)
    for (const call of [...resident.calls]) call.fail(failure)
    resident.sandbox.stop()
  }

  /** Ends so many idle ones, those that were used least recently; none where there are not as many. */
  function makeRoom(count: number, orgId?: string): boolean {
    const idle = [...awake.values()].filter(({ calls, deployment }) => {
      return calls.size === 0 && (orgId === undefined || deployment.statement.orgId === orgId)
    })
    if (idle.length < count) return false
    for (const resident of idle.sort((a, b) => a.lastUsedAt - b.lastUsedAt).slice(0, count)) {
      leave(resident, new CallFailure('busy', 'The sandbox made room for another.'))
    }
    return true
  }

  /** Counts a sandbox of the organisation, ending idle ones when that is what it takes. */
  function admit(orgId: string): void {
    let admission = desk.admit(orgId)
    if (!admission.admitted && admission.why !== 'wakes') {
      const { why, excess } = admission
      if (makeRoom(excess, why === 'org_sandboxes' ? orgId : undefined)) {
        admission = desk.admit(orgId)
      }
    }
    if (!admission.admitted) throw new CallFailure('busy', admissionRefusal(admission))
  }

  function check(key: string, deployment: ServingDeployment): void {
    const waitMs = crashLoop.waitMs(key)
    if (waitMs > 0) {
      const times = crashLoop.crashes(key)
      const seconds = Math.ceil(waitMs / 1_000)
      throw new CallFailure(
        'sandbox_failed',
        `The sandbox crashed ${times} times in a row. It may start again in ${seconds} s.`,
      )
    }
    if (deployment.statement.egress.length > 0 && !broker.connected) {
      throw new CallFailure(
        'sandbox_failed',
        'Requests to the outside are not possible at the moment. Try again in some seconds.',
      )
    }
  }

  async function start(mine: Omit<Waking, 'woken'>, userId: string): Promise<Resident> {
    const { key, deployment } = mine
    const { orgId } = deployment.statement
    const timeout = AbortSignal.timeout(WAKE_TIMEOUT_MS)
    const signal = AbortSignal.any([mine.abort.signal, timeout])
    const startedAt = performance.now()
    let sandbox: Sandbox | undefined
    try {
      const artefact = await Promise.race([deployment.artefact(), abortOf(signal)])
      sandbox = await pool.take(orgId, signal)
      await prepare(sandbox, { deployment, artefact }, { userId, signal })
    } catch (thrown) {
      const failure = failureOf(thrown, mine.abort.signal)
      sandbox?.stop()
      desk.release(orgId)
      counts.failedWakes.add(failure.code)
      if (sandbox !== undefined && failure.code === 'sandbox_failed') {
        crashLoop.crashed(key)
        options.onEvent(deployment, failure.message)
      }
      throw failure
    }
    const calls = new Set<RunningCall>()
    const resident: Resident = { key, deployment, sandbox, calls, lastUsedAt: now() }
    counted.add(resident)
    void sandbox.gone.then((end) => onGone(resident, end))
    awake.set(key, resident)
    const wakeMs = Math.round((performance.now() - startedAt) * 10) / 10
    counts.woken(wakeMs)
    log.debug({ key, wakeMs }, 'a sandbox was woken')
    options.onEvent(deployment, `A sandbox was woken in ${wakeMs} ms.`)
    return resident
  }

  /** Both at once: code that is being loaded cannot ask for anything, because no call of it is in flight. */
  async function prepare(
    sandbox: Sandbox,
    { deployment, artefact }: { deployment: ServingDeployment; artefact: LoadArtefact },
    { userId, signal }: { userId: string; signal: AbortSignal },
  ): Promise<void> {
    const { slot, egressToken: token } = sandbox
    const { signed } = deployment
    const assigned = broker.connected
      ? broker.assign({ slot, token, signed, userId })
      : Promise.resolve()
    await Promise.race([Promise.all([sandbox.load(artefact), assigned]), abortOf(signal)])
    signal.throwIfAborted()
  }

  function onGone(resident: Resident, end: SandboxEnd) {
    const { key, deployment } = resident
    if (awake.get(key) === resident) awake.delete(key)
    release(resident)
    if (end.code === 'stopped') return
    counts.ends.add(end.code)
    crashLoop.crashed(key)
    log.warn({ key, end }, 'a sandbox ended by itself')
    options.onEvent(deployment, end.message)
  }

  function endAll(failure: CallFailure) {
    for (const one of waking.values()) one.abort.abort(failure)
    for (const resident of [...awake.values()]) leave(resident, failure)
  }

  return {
    find(key) {
      const resident = awake.get(key)
      return resident?.sandbox.ended ? undefined : resident
    },
    wake(deployment, userId) {
      const key = sandboxKey({ ...deployment.statement, userId })
      const under = waking.get(key)
      if (under !== undefined) return under.woken
      try {
        check(key, deployment)
        admit(deployment.statement.orgId)
      } catch (thrown) {
        return Promise.reject(callFailureFrom(thrown))
      }
      const mine = { key, deployment, abort: new AbortController() }
      const woken = start(mine, userId).finally(() => waking.delete(key))
      waking.set(key, { ...mine, woken })
      return woken
    },
    answered: (resident) => crashLoop.recovered(resident.key),
    keepOnly(deployment) {
      const { serverId, epoch } = deployment.statement
      const failure = replacedBy(deployment)
      const stays = (other: ServingDeployment) =>
        other.statement.serverId !== serverId ||
        (deployment.kind === 'serving' && other.statement.epoch === epoch)
      let ended = 0
      for (const resident of awake.values()) {
        if (stays(resident.deployment)) continue
        ended++
        leave(resident, interruptedBy(deployment))
      }
      for (const one of waking.values()) {
        if (stays(one.deployment)) continue
        ended++
        one.abort.abort(failure)
      }
      return ended
    },
    makeRoom: () => makeRoom(1),
    get size() {
      return awake.size + waking.size
    },
    get awake() {
      return awake.size
    },
    endAll,
    async stop() {
      clearInterval(sweep)
      const residents = [...awake.values()]
      endAll(new CallFailure('runner_stopping', 'The runner is stopping. Try again.'))
      await Promise.all(residents.map((resident) => resident.sandbox.gone))
    },
  }
}

/** For calls that wait for their sandbox: nothing ran, so the gateway may place them again. */
function replacedBy(deployment: Deployment): CallFailure {
  return deployment.kind === 'serving'
    ? new CallFailure('stale_epoch', 'A newer version of the server took over. Try again.')
    : new CallFailure('unknown_server', 'The server was stopped before the call ran.')
}

/** For calls that run, and that nobody may run twice. */
function interruptedBy(deployment: Deployment): CallFailure {
  return deployment.kind === 'serving'
    ? new CallFailure(
        'sandbox_failed',
        'A newer version of the server took over while the call ran.',
      )
    : new CallFailure('unknown_server', 'The server was stopped while the call ran.')
}

function abortOf(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(errorFrom(signal.reason)), { once: true })
  })
}

function failureOf(thrown: unknown, replaced: AbortSignal): CallFailure {
  if (replaced.aborted && replaced.reason instanceof CallFailure) return replaced.reason
  if (thrown instanceof DOMException && thrown.name === 'TimeoutError') {
    return new CallFailure('busy', 'No sandbox became ready in time. Try again shortly.')
  }
  if (thrown instanceof LoadFailed) {
    const message = `The server could not be loaded: ${thrown.message}`
    return new CallFailure('sandbox_failed', message.slice(0, MAX_MESSAGE))
  }
  return callFailureFrom(thrown)
}
