/** The first span of a traced call: what the gateway did, from the message to its answer. */
import type { TraceSpan, Tracing } from '@bmm/lib/tracing'
import type { TracedCall } from './call-context.ts'

/** `clients` says what becomes of the traceparent that a client sends. */
export type CallTracing = { tracing: Tracing; clients: 'ignore' | 'link' | 'parent' }

/** Undefined where this call is not one of those that are traced. */
export function beginCallSpan(
  { tracing, clients }: CallTracing,
  call: TracedCall,
  from: { serverId: string; requestId: string; request: Pick<Request, 'headers'> },
): TraceSpan | undefined {
  // The message's own one names the caller more closely: a proxy on the way may have its own in the header.
  const traceparent =
    clients === 'ignore' ? null : (call.traceparent ?? from.request.headers.get('traceparent'))
  return tracing.start(`tools/call ${call.tool}`, {
    kind: 'server',
    attributes: {
      'mcp.method.name': 'tools/call',
      'gen_ai.operation.name': 'execute_tool',
      'gen_ai.tool.name': call.tool,
      'bmm.server.id': from.serverId,
      'bmm.request.id': from.requestId,
    },
    ...(traceparent === null || clients === 'ignore'
      ? {}
      : { client: { traceparent, as: clients } }),
  })
}
