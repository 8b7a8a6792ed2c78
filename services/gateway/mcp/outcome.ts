/** What an outcome of the runner says to the client; results are rebuilt, failures have a reason and a sentence. */
import type { Verdict } from '@bmm/lib/call-frames'
import type { TraceSpan } from '@bmm/lib/tracing'
import type { CallEnd } from '../limits/in-flight.ts'
import type { CallOutcome, RunnerLink } from '../runner-link.ts'
import type { CallContext } from './call-context.ts'
import type { ToolCall } from './decision.ts'
import { CODE, faultText, type RpcFault, resultText } from './message.ts'
import { legacyResult, modernResult, ResultFault, rebuildResult } from './result.ts'

type Judged = Pick<CallContext, 'target' | 'arrival'> & { runner: Pick<RunnerLink, 'judge'> }

/** A cancelled outcome says nothing of why: the signals do. */
export function settled(outcome: CallOutcome, ended: CallEnd): CallOutcome {
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
export function judge(call: ToolCall, context: Judged, verdict: Verdict['verdict']): void {
  const { target, arrival, runner } = context
  const { requestId } = arrival
  runner.judge({ serverId: target.serverId, tool: call.tool, requestId, verdict })
}

/** The text of the JSON-RPC answer that an outcome makes; the call's span ends with it, as OpenTelemetry's MCP conventions say. */
export function outcomeText(
  call: ToolCall,
  context: Judged,
  outcome: CallOutcome,
  span: TraceSpan | undefined,
): string {
  if (outcome.kind === 'failed') {
    span?.end(outcome.code)
    return faultText(call.id, failure(outcome.code, outcome.message))
  }
  try {
    const result = rebuildResult(outcome.bytes)
    if (result.isError === true) judge(call, context, 'tool_error')
    const text = resultText(
      call.id,
      call.era === 'modern'
        ? modernResult(result, context.target.serverInfo)
        : legacyResult(result),
    )
    span?.end(result.isError === true ? 'tool_error' : undefined)
    return text
  } catch (error) {
    if (!(error instanceof ResultFault)) throw error
    judge(call, context, 'result_invalid')
    span?.end('result_invalid')
    return faultText(call.id, failure('result_invalid', error.message))
  }
}

function failure(reason: string, message: string): RpcFault {
  return { code: CODE.INTERNAL, message, data: { reason } }
}
