/** The call leg: gateways dial, each call finds or wakes its sandbox, results stream back as opaque bytes. */
import {
  CALLS_METHOD,
  type CallHeader,
  isCallHeader,
  type Verdict,
  verdictSchema,
} from '@bmm/lib/call-frames'
import { createDeadlines, type Deadline, type Deadlines } from '@bmm/lib/deadlines'
import type { FrameConnection } from '@bmm/lib/frame-connection'
import { callIds, FRAME, type Frame, FrameFault, parseCall, parseControl } from '@bmm/lib/frames'
import type { Identity } from '@bmm/lib/identity'
import type { Log } from '@bmm/lib/log'
import type { SpanOptions, TraceSpan, Tracing } from '@bmm/lib/tracing'
import { mayUse } from '@bmm/spec/statement'
import type { Deployment, ServingDeployment } from '../deployment/deployment.ts'
import type { Fleet, Resident, RunningCall } from '../fleet/fleet.ts'
import { type EndedCall, endingOf } from '../metering/meter.ts'
import type { CallSink } from '../sandbox/sandbox-calls.ts'
import { sandboxKey } from '../sandbox/sandbox-key.ts'
import { listenForService, type Peer, type ServiceLeg } from '../service-leg.ts'
import { CallFailure, callFailureFrom } from './call-failure.ts'
import type { CallOwner, InFlight, InFlightRefusal } from './in-flight.ts'

const MAX_CONNECTIONS = 64
/** Unsent bytes towards one gateway; a gateway that lets more pile up is not reading. */
const QUEUE_LIMIT_BYTES = 64 * 1024 * 1024
/** Progress and such wait for no one: past this they are left out. */
const OPTIONAL_QUEUE_BYTES = 1024 * 1024
const MAX_PROGRESS_PER_CALL = 1_000

export type CallLegOptions = {
  socket: string
  identity: Identity
  find: (serverId: string) => Deployment | undefined
  fleet: Fleet
  inFlight: InFlight
  now: () => number
  /** A gateway knows a newer epoch than we do. */
  onBehind: () => void
  onLine: (
    deployment: ServingDeployment,
    line: { tool: string; requestId: string; message: string },
  ) => void
  /** Told of every call that found its deployment, once, when it has ended. */
  onEnded: (
    deployment: ServingDeployment,
    header: CallHeader,
    ended: EndedCall,
    failure: CallFailure | undefined,
  ) => void
  /** The gateway found something about an answer, or turned a call away. */
  onVerdict: (deployment: ServingDeployment, verdict: Verdict) => void
  log: Log
  /** Absent where calls are not traced. */
  tracing?: Tracing
}

export function listenForGateways(options: CallLegOptions): ServiceLeg {
  let connections = 0
  const deadlines = createDeadlines()
  return listenForService({
    socket: options.socket,
    identity: options.identity,
    from: 'gateway',
    method: CALLS_METHOD,
    accept: [FRAME.CALL, FRAME.CANCEL, FRAME.VERDICT],
    maxConnections: MAX_CONNECTIONS,
    queueLimitBytes: QUEUE_LIMIT_BYTES,
    log: options.log,
    onPeer: (connection) => gatewayPeer(options, deadlines, connection, ++connections),
  })
}

/** A call of a gateway that has no answer yet. */
type GatewayCall = RunningCall & {
  id: number
  header: CallHeader
  deployment: ServingDeployment
  startedAt: number
  bytesIn: number
  bytesOut: number
  owner: CallOwner
  /** Until it has reached its sandbox, which counts the time from then on. */
  deadline: Deadline | undefined
  progresses: number
  /** Set once the call has found its sandbox. */
  resident: Resident | undefined
  /** Its id there; 0 while it is being handed over. */
  sandboxCall: number
  ended: boolean
  /** Of a traced call, until it has ended. */
  span: TraceSpan | undefined
}

function gatewayPeer(
  options: CallLegOptions,
  deadlines: Deadlines,
  connection: FrameConnection,
  connectionNumber: number,
): Peer {
  const { fleet, inFlight } = options
  const calls = new Map<number, GatewayCall>()
  const ids = callIds()

  function send(type: Frame['type'], call: number, payload: Uint8Array): void {
    if (!connection.send(type, call, payload)) connection.end('the gateway does not read')
  }
  function sendControl(type: Frame['type'], call: number, value: unknown): void {
    if (!connection.sendControl(type, call, value)) connection.end('the gateway does not read')
  }
  function sendFailure(id: number, { code, message }: CallFailure): void {
    sendControl(FRAME.FAILED, id, { code, message })
  }

  /** Nothing of the call is left afterwards; false when it had ended before. */
  function finish(call: GatewayCall, failure?: CallFailure): boolean {
    if (call.ended) return false
    call.ended = true
    deadlines.clear(call.deadline)
    calls.delete(call.id)
    inFlight.leave(call.owner)
    if (call.resident !== undefined) {
      call.resident.calls.delete(call)
      call.resident.lastUsedAt = options.now()
    }
    call.span?.end(failure?.code)
    const { deployment, header, bytesIn, bytesOut } = call
    const ending = failure === undefined ? 'answered' : endingOf(failure.code)
    const ms = performance.now() - call.startedAt
    options.onEnded(deployment, header, { ending, ms, bytesIn, bytesOut }, failure)
    return true
  }
  /** Ends the call from our side: the tool is told and has a moment to stop. */
  function abandon(call: GatewayCall, failure: CallFailure): void {
    if (!finish(call, failure)) return
    call.resident?.sandbox.cancel(call.sandboxCall)
    sendFailure(call.id, failure)
  }

  function run(call: GatewayCall, resident: Resident, args: Uint8Array): void {
    const { tool, timeoutMs, requestId, progress } = call.header
    const leftMs = Math.max(1, Math.ceil(timeoutMs - (performance.now() - call.startedAt)))
    deadlines.clear(call.deadline)
    const span =
      call.span && options.tracing?.continue(`sandbox ${tool}`, call.span.trace, inSandbox)
    const sink: CallSink = {
      ...(span === undefined ? noTrace : { trace: span.trace }),
      part(bytes) {
        call.bytesOut += bytes.length
        send(FRAME.RESULT_PART, call.id, bytes)
      },
      end(last) {
        call.bytesOut += last.length
        span?.end()
        if (!finish(call)) return
        fleet.answered(resident)
        send(FRAME.RESULT_END, call.id, last)
      },
      fail(code, message) {
        span?.end(code)
        call.fail(new CallFailure(code, message))
      },
      progress(step) {
        if (!progress || ++call.progresses > MAX_PROGRESS_PER_CALL) return
        if (connection.queuedBytes > OPTIONAL_QUEUE_BYTES) return
        sendControl(FRAME.PROGRESS, call.id, step)
      },
      log: (message) => options.onLine(resident.deployment, { tool, requestId, message }),
    }
    call.resident = resident
    resident.calls.add(call)
    try {
      call.sandboxCall = resident.sandbox.call({ tool, timeoutMs: leftMs }, args, sink)
    } catch (cause) {
      const message = 'The sandbox has just ended. Try again.'
      span?.end('sandbox_failed')
      call.fail(new CallFailure('sandbox_failed', message, { cause }))
    }
  }

  function begin(id: number, header: CallHeader, args: Uint8Array): void {
    const deployment = servingOf(options, header)
    const key = sandboxKey(header)
    const { orgId } = deployment.statement
    const owner = { connection: connectionNumber, orgId, sandboxKey: key }
    const refused = inFlight.enter(owner)
    if (refused !== undefined) {
      const failure = new CallFailure('busy', busySentence(refused))
      const nothing = { ms: 0, bytesIn: args.length, bytesOut: 0 }
      options.onEnded(deployment, header, { ending: 'refused', ...nothing }, failure)
      throw failure
    }
    const call: GatewayCall = {
      id,
      header,
      owner,
      deployment,
      startedAt: performance.now(),
      bytesIn: args.length,
      bytesOut: 0,
      progresses: 0,
      resident: undefined,
      sandboxCall: 0,
      ended: false,
      span: options.tracing && beginRun(options.tracing, header),
      deadline: undefined,
      fail(failure) {
        if (finish(call, failure)) sendFailure(id, failure)
      },
    }
    calls.set(id, call)
    const resident = fleet.find(key)
    if (resident !== undefined) {
      run(call, resident, args)
      return
    }
    const { timeoutMs, userId } = header
    call.deadline = deadlines.set(timeoutMs, {
      expire: () =>
        abandon(call, new CallFailure('deadline', `No answer came within ${timeoutMs} ms.`)),
    })
    // The view ends with this turn, the wake does not.
    const kept = args.slice()
    const waking = call.span && options.tracing?.continue('wake', call.span.trace, inRunner)
    fleet.wake(deployment, userId).then(
      (woken) => {
        waking?.end()
        if (!call.ended) run(call, woken, kept)
      },
      (thrown: unknown) => {
        const failure = callFailureFrom(thrown)
        waking?.end(failure.code)
        if (failure.cause !== undefined) {
          options.log.warn({ err: failure.cause, key }, 'a sandbox could not be woken')
        }
        call.fail(failure)
      },
    )
  }

  return {
    onFrame(frame) {
      switch (frame.type) {
        case FRAME.CANCEL: {
          const call = calls.get(frame.call)
          // It may have been answered while the cancel was on its way.
          if (call) abandon(call, new CallFailure('cancelled', 'The call was cancelled.'))
          return
        }
        case FRAME.CALL: {
          ids.admit(frame.call)
          const { header, args } = parseCall(frame.payload)
          if (!isCallHeader(header)) throw new FrameFault('the header of a call is malformed')
          try {
            begin(frame.call, header, args)
          } catch (thrown) {
            if (!(thrown instanceof CallFailure)) throw thrown
            sendFailure(frame.call, thrown)
          }
          return
        }
        case FRAME.VERDICT: {
          const parsed = verdictSchema.safeParse(parseControl(frame.payload))
          if (!parsed.success) throw new FrameFault('a verdict is malformed')
          const deployment = options.find(parsed.data.serverId)
          if (deployment?.kind === 'serving') options.onVerdict(deployment, parsed.data)
          return
        }
        default:
          throw new FrameFault(`frame type ${frame.type} is not expected here`)
      }
    },
    onEnd() {
      const gone = new CallFailure('cancelled', 'The gateway went away.')
      for (const call of [...calls.values()]) abandon(call, gone)
    },
  }
}

const noTrace = {}
const inRunner: SpanOptions = { kind: 'internal', attributes: {} }
const inSandbox: SpanOptions = { kind: 'client', attributes: {} }

/** Only what the gateway traces is traced here. */
function beginRun(tracing: Tracing, header: CallHeader): TraceSpan | undefined {
  const { trace, tool, serverId, epoch, requestId } = header
  if (trace === undefined) return undefined
  return tracing.continue(`run ${tool}`, trace, {
    kind: 'server',
    attributes: {
      ...{ 'gen_ai.tool.name': tool, 'bmm.server.id': serverId, 'bmm.server.epoch': epoch },
      'bmm.request.id': requestId,
    },
  })
}

/** The deployment that the gateway means; throws CallFailure when ours is another one. */
function servingOf(options: CallLegOptions, header: CallHeader): ServingDeployment {
  const deployment = options.find(header.serverId)
  const epoch = deployment?.statement.epoch ?? 0
  if (header.epoch > epoch) {
    options.onBehind()
    throw new CallFailure('stale_epoch', 'The server has just changed. Try again in a moment.')
  }
  if (deployment === undefined || deployment.kind === 'stopped') {
    throw new CallFailure('unknown_server', 'The server is not running.')
  }
  if (header.epoch < epoch) {
    throw new CallFailure('stale_epoch', 'The server has just changed. Try again in a moment.')
  }
  // The gateway has decided this before; the statement that we verified ourselves says it again.
  const { access, orgId } = deployment.statement
  if (!mayUse(access, orgId, { userId: header.userId, orgIds: [header.orgId] })) {
    throw new CallFailure('unknown_server', 'This person may not call the server.')
  }
  return deployment
}

function busySentence(refused: InFlightRefusal): string {
  switch (refused) {
    case 'sandbox':
      return 'Too many calls of this user to this server are under way. Wait for one to end.'
    case 'org':
      return 'Too many calls of this organisation are under way. Wait for one to end.'
    case 'connection':
      return 'Too many calls are under way. Try again shortly.'
    default:
      return refused satisfies never
  }
}
