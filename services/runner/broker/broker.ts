/** The broker as a whole: slots, contracts, credentials and policy, and the order in which they judge a request. */
import type { EgressLimits } from '@bmm/lib/egress'
import { publicPolicy, type Resolve, systemResolve } from '@bmm/lib/egress-policy'
import { openEgressPool } from '@bmm/lib/egress-pool'
import { errorFrom } from '@bmm/lib/errors'
import type { Identity } from '@bmm/lib/identity'
import type { Log } from '@bmm/lib/log'
import { type CollectMetrics, counter, gauge, tally } from '@bmm/lib/metrics'
import type { Sql } from '@bmm/lib/sql'
import { askStatementKeys, createStatementKeyring } from '@bmm/lib/statement-keys'
import { isTrace, type Tracing } from '@bmm/lib/tracing'
import type { SecretsService, StatementService } from '@bmm/proto/secrets/v1/secrets_service'
import type { Client, ConnectRouter } from '@connectrpc/connect'
import { type AnswerLimits, createAnswerMemory } from './answer-memory.ts'
import { openContracts } from './contract.ts'
import { type Assignment, createOutgoing, FetchFailure } from './outgoing.ts'
import { openRefusals } from './refusals.ts'
import { traced } from './request-span.ts'
import { rememberingResolver } from './resolver.ts'
import { type Assign, dialRunner, type RunnerLink } from './runner-link.ts'
import type { SandboxRequest } from './sandbox-leg.ts'
import { watchSecrets } from './secret-watch.ts'
import { brokerRoutes } from './service.ts'
import { createSlotDesk, type Slot } from './slot-desk.ts'
import { openTargets } from './targets.ts'
import { createTurns, type TurnLimits } from './turns.ts'
import { createVault } from './vault.ts'

const turnLimits: TurnLimits = {
  ...{ perSandbox: 16, perOrg: 128, total: 512 },
  ...{ waiting: 4_096, waitingPerOrg: 1_024 },
}
const MEBIBYTE = 1024 * 1024
const answerLimits: AnswerLimits = {
  perSandbox: 32 * MEBIBYTE,
  perOrg: 96 * MEBIBYTE,
  total: 256 * MEBIBYTE,
}

export type Broker = AsyncDisposable & {
  routes(router: ConnectRouter): void
  /** What keeps it from its work, as a sentence. */
  fault(): string | undefined
  metrics: CollectMetrics
  /** Sandboxes that are expected or connected. */
  readonly slots: number
}

export type BrokerOptions = {
  identity: Identity
  sql: Sql
  log: Log
  now: () => number
  slotsDir: string
  slots: number
  ownListeners: readonly string[]
  /** The runner's socket for this link. */
  linkSocket: string
  secrets: Pick<Client<typeof SecretsService>, 'openSecrets' | 'watchSecrets'>
  statements: Pick<Client<typeof StatementService>, 'listStatementKeys'>
  resolve?: Resolve
  /** Certificate authorities beside those of the system, PEM. */
  extraCa?: readonly string[]
  limits?: Partial<EgressLimits>
  tracing?: Tracing | undefined
}

/** Loads what it needs from Postgres and dials the runner. */
export async function openBroker(options: BrokerOptions): Promise<Broker> {
  const { sql, log, now } = options
  const keyring = createStatementKeyring({ ask: () => askStatementKeys(options.statements), now })
  const contracts = await openContracts({ sql, keyring, log })
  const targets = await openTargets({ sql, log })
  const refusals = openRefusals({ sql, log, now })
  const vault = createVault({ secrets: options.secrets, now })
  const watching = watchSecrets({ secrets: options.secrets, vault, log })
  const pool = openEgressPool(options.extraCa === undefined ? {} : { extraCa: options.extraCa })
  const resolve = rememberingResolver(options.resolve ?? systemResolve, now)
  const turns = createTurns(turnLimits)
  const outgoing = createOutgoing({
    ...{ vault, pool, isCurrent: contracts.isCurrent },
    policyFor: (orgId) =>
      publicPolicy({
        ...{ resolve, ownListeners: options.ownListeners },
        isTargetAllowed: (host, port) => targets.isAllowed(orgId, host, port),
      }),
    ...(options.limits === undefined ? {} : { limits: options.limits }),
  })
  /** Assigned slots by contract: the last one to go takes the opened secrets along. */
  const holders = new Map<Assignment['contract'], number>()
  const answers = createAnswerMemory(answerLimits)
  let answered = 0
  const refused = tally()
  const failed = tally()
  let assignments = 0

  function record(slot: Slot, method: string, failure: FetchFailure): void {
    if (!failure.isRefusal || slot.assignment === undefined) return
    const { contract, userId } = slot.assignment
    const { serverId, orgId } = contract.statement
    const { code: reason, message, host } = failure
    refusals.record({ serverId, orgId, userId, at: new Date(now()), reason, host, method, message })
  }

  async function carryOut(slot: Slot, { call, ask, signal, deliver }: SandboxRequest) {
    const { reserve, release } = answers.hold(slot, slot.assignment?.contract.statement.orgId ?? '')
    try {
      await deliver(
        await inTurn(slot, signal, async (assignment) => {
          const { inFlight, trace } = await link.askInFlight(slot.slot, call)
          if (!inFlight) throw noCallInFlight()
          const send = () => outgoing.send(ask, assignment, { signal, reserve })
          const { tracing } = options
          if (tracing === undefined || !isTrace(trace)) return send()
          return traced(tracing, trace, ask, assignment.contract, send)
        }),
      )
      answered++
    } catch (error) {
      if (error instanceof FetchFailure) {
        ;(error.isRefusal ? refused : failed).add(error.code)
        record(slot, ask.method, error)
      } else if (!signal.aborted) log.error({ err: errorFrom(error) }, 'a request failed')
      throw error
    } finally {
      release()
    }
  }

  async function inTurn<Result>(
    slot: Slot,
    signal: AbortSignal,
    act: (assignment: Assignment) => Promise<Result>,
  ): Promise<Result> {
    const { assignment } = slot
    if (assignment === undefined) {
      throw new FetchFailure('not_assigned', 'This sandbox serves nobody yet.', '', false)
    }
    const { orgId } = assignment.contract.statement
    const giveBack = await turns.take(orgId, slot.turns, signal)
    if (giveBack === undefined) {
      throw new FetchFailure('busy', 'Too many requests are waiting to be sent.', '', false)
    }
    try {
      return await act(assignment)
    } finally {
      giveBack()
    }
  }

  async function assign({ slot, token, signed, userId }: Assign): Promise<void> {
    if (desk.find(slot, token) === undefined) throw new Error(`slot ${slot} does not expect that`)
    const contract = await contracts.open(signed)
    // It may have been released while the statement was verified.
    const entry = desk.find(slot, token)
    if (entry === undefined) throw new Error(`slot ${slot} was released meanwhile`)
    if (entry.assignment !== undefined) throw new Error(`slot ${slot} serves somebody already`)
    entry.assignment = { contract, userId, poolKey: `${slot} ${++assignments}` }
    holders.set(contract, (holders.get(contract) ?? 0) + 1)
  }

  function forget(assignment: Assignment | undefined): void {
    if (assignment === undefined) return
    const { contract, poolKey } = assignment
    pool.drop(poolKey)
    const left = (holders.get(contract) ?? 1) - 1
    if (left > 0) {
      holders.set(contract, left)
      return
    }
    holders.delete(contract)
    vault.drop(contract)
  }

  const desk = createSlotDesk({ slotsDir: options.slotsDir, slots: options.slots, log, carryOut })
  const link: RunnerLink = dialRunner({
    ...{ socket: options.linkSocket, identity: options.identity, log, assign },
    expect: desk.expect,
    release: (slot) => forget(desk.release(slot)),
    lost: () => desk.releaseAll().forEach(forget),
  })

  return {
    routes: brokerRoutes({ sql, targets, flushRefusals: refusals.flush }),
    fault: () =>
      link.isConnected ? undefined : 'The runner, for whose sandboxes it works, is not connected.',
    get slots() {
      return desk.size
    },
    metrics: () => [
      counter('bmm_egress_answered_total', 'Requests of sandboxes that were answered.', answered),
      counter('bmm_egress_refused_total', 'Requests that a rule refused.', refused.by('reason')),
      counter('bmm_egress_failed_total', 'Requests that failed on the way.', failed.by('reason')),
      gauge('bmm_egress_answer_bytes', 'Answers that no sandbox has taken yet.', answers.bytes),
      gauge('bmm_egress_slots', 'Sandboxes that are expected or connected.', desk.size),
    ],
    async [Symbol.asyncDispose]() {
      link.stop()
      watching.stop()
      desk.releaseAll().forEach(forget)
      pool.close()
      await targets[Symbol.asyncDispose]()
      await refusals[Symbol.asyncDispose]()
    },
  }
}

function noCallInFlight(): FetchFailure {
  const message = 'No call is in flight, so nothing leaves. Await every fetch before returning.'
  return new FetchFailure('no_call_in_flight', message, '', true)
}
