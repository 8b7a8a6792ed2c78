/** One `tools/call` on its way: to the runner and back, as one JSON answer or as a stream of events. */
import type { CallHeader, Progress, Verdict } from '@bmm/lib/call-frames'
import type { Deadline, Deadlines } from '@bmm/lib/deadlines'
import type { TraceSpan } from '@bmm/lib/tracing'
import type { Arrival } from '../arrival.ts'
import type { CallEnd, InFlight, RunningCall } from '../in-flight.ts'
import type { CallOutcome, RunnerLink } from '../runner-link.ts'
import { CODE, faultText, type RequestId, type RpcFault, resultText } from './message.ts'
import type { ToolCall } from './modern.ts'
import { reporter } from './report.ts'
import { legacyResult, modernResult, ResultFault, rebuildResult } from './result.ts'
import { markLarge, markStream } from './unread-answers.ts'

const CALL_TIMEOUT_MS = 60_000
/** The runner keeps the deadline; this much later the gateway stops waiting for it. */
const RUNNER_GRACE_MS = 5_000
/** Most calls are over sooner; only from then on is the client watched. */
const WATCH_AFTER_MS = 250
/** An answer that takes longer becomes a stream, so that nothing on the way takes the silence for a dead peer. */
const QUIET_MS = 5_000
const KEEP_ALIVE_MS = 15_000
const EPOCH_TRIES = 4
const EPOCH_PAUSE_MS = 250

export type CallContext = {
  runner: RunnerLink
  inFlight: InFlight
  deadlines: Deadlines
  caller: { userId: string; orgId: string; grantId: string }
  target: { serverId: string; epoch: number; serverInfo: string }
  arrival: Pick<Arrival, 'requestId'>
  /** Looks the server up again; undefined when it is not live any more. */
  newestEpoch: () => Promise<number | undefined>
  /** Whether the client wants log messages; absent where it cannot be told any before the answer. */
  isListening?: () => Promise<boolean>
  /** What a later `notifications/cancelled` of the same client names. */
  cancelKey?: string
  /** Absent where calls are not traced. */
  beginSpan?: (tool: string) => TraceSpan | undefined
  timeoutMs?: number
}

const encoder = new TextEncoder()

/** The text of the JSON-RPC answer, for an element of a batch or a client that takes no stream. */
export async function answerCall(
  call: ToolCall,
  context: CallContext,
  request: Pick<Request, 'signal'>,
): Promise<string> {
  const running = open(call, context)
  if (running === undefined) return faultText(call.id, tooManyCalls)
  const stop = watch(running, context, request)
  try {
    return await finish(call, context, running, () => {})
  } finally {
    stop()
    running.close()
  }
}

/**
 * Answers one call. Where the client takes events, the answer turns into a stream at the first progress or after
 * five seconds; closing either one cancels the tool.
 */
export async function respondCall(
  call: ToolCall,
  context: CallContext & { arrival: Arrival },
  client: { request: Request; takesEvents: boolean },
): Promise<Response> {
  const running = open(call, context)
  const { arrival } = context
  if (running === undefined) {
    await context.inFlight.pause()
    return tooMany(call.id, arrival)
  }
  /** The answer, or undefined to go on as a stream. */
  const first = Promise.withResolvers<string | undefined>()
  const becomeStream = () => (client.takesEvents ? first.resolve(undefined) : undefined)
  const early: string[] = []
  let send = (notification: string): void => {
    early.push(notification)
  }
  let isOver = false
  const report = reporter(call, context.isListening, (notification) => {
    if (isOver) return
    send(notification)
    becomeStream()
  })
  const stop = watch(running, context, client.request, {
    stayOpen: arrival.stayOpen,
    onQuiet: becomeStream,
  })
  const answer = finish(call, context, running, report).finally(() => {
    isOver = true
    stop()
    running.close()
  })
  answer.then(first.resolve, first.reject)
  const done = await first.promise
  if (done !== undefined) return json(done, arrival)
  return streamed(answer, running, arrival, (write) => {
    send = write
    for (const notification of early.splice(0)) write(notification)
  })
}

/** What comes before the answer, and the answer, as events; `begin` gets the way to send one. */
function streamed(
  answer: Promise<string>,
  running: RunningCall,
  arrival: Arrival,
  begin: (send: (data: string) => void) => void,
): Response {
  const body = new ReadableStream<Uint8Array>({
    async start(controller) {
      const write = (text: string) => {
        if (running.reason === undefined) controller.enqueue(encoder.encode(text))
      }
      begin((data) => write(event(data)))
      const keepAlive = setInterval(() => write(': still running\n\n'), KEEP_ALIVE_MS)
      try {
        const text = await answer
        if (running.reason !== 'client_gone') controller.enqueue(encoder.encode(event(text)))
        controller.close()
      } catch (error) {
        controller.error(error)
      } finally {
        clearInterval(keepAlive)
      }
    },
    cancel: () => running.end('client_gone'),
  })
  const headers = arrival.headers({
    'content-type': 'text/event-stream',
    'cache-control': 'no-store',
    'x-accel-buffering': 'no',
  })
  return markStream(new Response(body, { headers }))
}

function tooMany(id: RequestId, arrival: Arrival): Response {
  return json(faultText(id, tooManyCalls), arrival, {
    status: 429,
    headers: { 'retry-after': '1' },
  })
}

/** A JSON answer that nobody stores. */
export function json(
  body: string,
  arrival: Arrival,
  { status = 200, headers = noHeaders }: { status?: number; headers?: Record<string, string> } = {},
): Response {
  const all = arrival.headers({ ...headers, ...jsonHeaders })
  return markLarge(new Response(body, { status, headers: all }), body)
}

const noHeaders = {}
const jsonHeaders = { 'content-type': 'application/json', 'cache-control': 'no-store' }

function open(call: ToolCall, context: CallContext): RunningCall | undefined {
  const { userId, grantId } = context.caller
  const { cancelKey } = context
  const running = context.inFlight.open({
    userId,
    grantId,
    ...(cancelKey === undefined || call.era === 'modern' ? {} : { cancelKey }),
  })
  if (running === undefined) judge(call, context, 'refused')
  return running
}

/**
 * From a moment on: ends the call when the client's connection does, keeps that connection open while the call is silent,
 * and says when it has been for long. Returns the way to stop.
 */
function watch(
  running: RunningCall,
  { deadlines }: CallContext,
  request: Pick<Request, 'signal'>,
  during: { stayOpen?: Arrival['stayOpen']; onQuiet?: () => void } = {},
): () => void {
  const gone = () => running.end('client_gone')
  let signal: AbortSignal | undefined
  let release: (() => void) | undefined
  let deadline: Deadline = deadlines.set(WATCH_AFTER_MS, () => {
    signal = request.signal
    if (signal.aborted) return gone()
    signal.addEventListener('abort', gone, { once: true })
    release = during.stayOpen?.()
    const { onQuiet } = during
    if (onQuiet) deadline = deadlines.set(QUIET_MS - WATCH_AFTER_MS, onQuiet)
  })
  return () => {
    deadlines.clear(deadline)
    signal?.removeEventListener('abort', gone)
    // From here on silence is the client's: one that does not read loses its connection.
    release?.()
  }
}

/** Places the call and makes its answer; never rejects for anything that a tool or the runner does. */
async function finish(
  call: ToolCall,
  context: CallContext,
  running: RunningCall,
  onProgress: (progress: Progress) => void,
): Promise<string> {
  const timeoutMs = context.timeoutMs ?? CALL_TIMEOUT_MS
  const header: CallHeader = {
    serverId: context.target.serverId,
    epoch: context.target.epoch,
    tool: call.tool,
    userId: context.caller.userId,
    orgId: context.caller.orgId,
    timeoutMs,
    requestId: context.arrival.requestId,
    progress: call.progressToken !== undefined || context.isListening !== undefined,
  }
  const span = context.beginSpan?.(call.tool)
  if (span !== undefined) header.trace = span.traceparent
  const { deadlines, runner } = context
  const deadline = deadlines.set(timeoutMs + RUNNER_GRACE_MS, () => running.end('overdue'))
  const args = JSON.stringify(call.args)
  const options = { ending: running, onProgress }
  let outcome = await runner.call(header, args, options)
  if (isStale(outcome)) outcome = await placeAgain(context, header, args, options)
  deadlines.clear(deadline)
  outcome = settled(outcome, running)
  span?.end(outcome.kind === 'failed' ? outcome.code : undefined)
  return answerText(call, context, outcome)
}

function isStale(outcome: CallOutcome): boolean {
  return outcome.kind === 'failed' && outcome.code === 'stale_epoch'
}

/** While a new version goes live, gateway and runner learn of it moments apart: nothing ran yet, so try again. */
async function placeAgain(
  context: CallContext,
  header: CallHeader,
  args: string,
  options: { ending: CallEnd; onProgress: (progress: Progress) => void },
): Promise<CallOutcome> {
  let outcome: CallOutcome = changing
  for (let tries = 0; tries < EPOCH_TRIES && isStale(outcome); tries++) {
    await Bun.sleep(EPOCH_PAUSE_MS * tries)
    const epoch = await context.newestEpoch()
    if (epoch === undefined) break
    outcome = await context.runner.call({ ...header, epoch }, args, options)
  }
  return outcome
}

const changing: CallOutcome = {
  kind: 'failed',
  code: 'stale_epoch',
  message: 'The server has just changed. Try again in a moment.',
}

/** A cancelled outcome says nothing of why: the signals do. */
function settled(outcome: CallOutcome, ended: CallEnd): CallOutcome {
  if (outcome.kind === 'result' || outcome.code !== 'cancelled') return outcome
  if (ended.reason === 'revoked') {
    return {
      kind: 'failed',
      code: 'revoked',
      message: 'The permission for this call was taken back.',
    }
  }
  if (ended.reason === 'stopping') {
    return { kind: 'failed', code: 'stopping', message: 'The gateway is restarting. Try again.' }
  }
  return ended.reason === 'overdue'
    ? { kind: 'failed', code: 'deadline', message: 'The tool took too long and was stopped.' }
    : outcome
}

/** The runner counts calls and parses no result. */
function judge(call: ToolCall, context: CallContext, verdict: Verdict['verdict']): void {
  const { target, arrival, runner } = context
  const { requestId } = arrival
  runner.judge({ serverId: target.serverId, tool: call.tool, requestId, verdict })
}

function answerText(call: ToolCall, context: CallContext, outcome: CallOutcome): string {
  if (outcome.kind === 'failed') return faultText(call.id, failure(outcome.code, outcome.message))
  try {
    const result = rebuildResult(outcome.bytes)
    if (result.isError === true) judge(call, context, 'tool_error')
    return resultText(
      call.id,
      call.era === 'modern'
        ? modernResult(result, context.target.serverInfo)
        : legacyResult(result),
    )
  } catch (error) {
    if (!(error instanceof ResultFault)) throw error
    judge(call, context, 'result_invalid')
    return faultText(call.id, failure('result_invalid', error.message))
  }
}

function failure(reason: string, message: string): RpcFault {
  return { code: CODE.INTERNAL, message, data: { reason } }
}

const tooManyCalls: RpcFault = {
  code: CODE.REFUSED,
  message: 'Too many calls are running. Wait for one to end.',
  data: { reason: 'too_many_calls' },
}

/** JSON has no raw line breaks, so one data line holds it. */
function event(data: string): string {
  return `event: message\ndata: ${data}\n\n`
}
