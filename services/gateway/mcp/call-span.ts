/** The first span of a traced call: what the gateway did, from the message to its answer. */
import type { TraceSpan, Tracing } from '@bmm/lib/tracing'

/** `clients` says what becomes of the traceparent that a client sends. */
export type CallTracing = { tracing: Tracing; clients: 'ignore' | 'link' | 'parent' }

/** Undefined where this call is not one of those that are traced. */
export function beginCallSpan(
  { tracing, clients }: CallTracing,
  call: { tool: string; serverId: string; requestId: string; request: Pick<Request, 'headers'> },
): TraceSpan | undefined {
  const traceparent = clients === 'ignore' ? null : call.request.headers.get('traceparent')
  return tracing.start(`tools/call ${call.tool}`, {
    kind: 'server',
    attributes: {
      'mcp.method.name': 'tools/call',
      'gen_ai.operation.name': 'execute_tool',
      'gen_ai.tool.name': call.tool,
      'bmm.server.id': call.serverId,
      'bmm.request.id': call.requestId,
    },
    ...(traceparent === null || clients === 'ignore'
      ? {}
      : { client: { traceparent, as: clients } }),
  })
}
