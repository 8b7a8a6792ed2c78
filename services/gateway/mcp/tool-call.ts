/** One `tools/call` on its way: to the runner and back, as one JSON answer or as a stream of events. */
import type { Arrival } from '../arrival/arrival.ts'
import type { RunningCall } from '../limits/in-flight.ts'
import type { CallContext } from './call-context.ts'
import type { ToolCall } from './decision.ts'
import { CODE, faultText, type RpcFault } from './message.ts'
import { judge } from './outcome.ts'
import { PlacedCall } from './placed-call.ts'
import { json, ResponseReply } from './reply.ts'

/** The text of the JSON-RPC answer, for an element of a batch or a program that speaks gRPC. */
export function answerCall(call: ToolCall, context: CallContext): string | Promise<string> {
  const running = open(call, context)
  if (running === undefined) return faultText(call.id, tooManyCalls)
  return new Promise((answer, fail) => {
    const reply = { answer, fail, onProgress() {}, onQuiet() {} }
    new PlacedCall(call, context, running, reply).place()
  })
}

/**
 * Answers one call. Where the client takes events, the answer turns into a stream at the first progress or after
 * 0.8 s of silence; closing either one cancels the tool.
 */
export function respondCall(
  call: ToolCall,
  context: CallContext & { arrival: Arrival },
  takesEvents: boolean,
): Promise<Response> {
  const running = open(call, context)
  if (running === undefined) return refuse(call, context)
  return new Promise((resolve, reject) => {
    const reply = new ResponseReply(call, context, running, { takesEvents, resolve, reject })
    new PlacedCall(call, context, running, reply).place()
  })
}

function open(call: ToolCall, context: CallContext): RunningCall | undefined {
  const { userId, grantId } = context.caller
  const cancelKey = call.era === 'modern' ? undefined : context.cancelKey
  const running = context.inFlight.open({ userId, grantId, cancelKey })
  if (running === undefined) judge(call, context, 'refused')
  return running
}

async function refuse(
  call: ToolCall,
  { arrival, inFlight }: CallContext & { arrival: Arrival },
): Promise<Response> {
  // The arguments are not kept meanwhile.
  const answer = faultText(call.id, tooManyCalls)
  await inFlight.pause()
  return json(answer, arrival, { status: 429, headers: { 'retry-after': '1' } })
}

const tooManyCalls: RpcFault = {
  code: CODE.REFUSED,
  message: 'Too many calls are running. Wait for one to end.',
  data: { reason: 'too_many_calls' },
}
