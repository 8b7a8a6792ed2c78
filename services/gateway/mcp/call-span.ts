/** The first span of a traced call: what the gateway did, from the message to its answer. */
import type { ClientTrace, TraceSpan, Tracing } from '@bmm/lib/tracing'
import type { TracedCall } from './call-context.ts'

/** `clients` says what becomes of the traceparent that a client sends. */
export type CallTracing = { tracing: Tracing; clients: 'ignore' | 'link' | 'parent' }

/** Undefined where this call is not one of those that are traced. */
export function beginCallSpan(
  { tracing, clients }: CallTracing,
  call: TracedCall,
  from: { serverId: string; requestId: string; request: Pick<Request, 'headers'> },
): TraceSpan | undefined {
  const client = clients === 'ignore' ? undefined : clientTrace(call, from.request.headers)
  return tracing.start(`tools/call ${call.tool}`, {
    kind: 'server',
    attributes: {
      'mcp.method.name': 'tools/call',
      'gen_ai.operation.name': 'execute_tool',
      'gen_ai.tool.name': call.tool,
      'bmm.server.id': from.serverId,
      'bmm.request.id': from.requestId,
    },
    ...(client === undefined || clients === 'ignore' ? {} : { client: { ...client, as: clients } }),
  })
}

/** The message's own one names the caller more closely: a proxy on the way may have its own in the headers. */
function clientTrace(call: TracedCall, headers: Headers): ClientTrace | undefined {
  const inMessage = call.traceparent !== undefined
  const traceparent = call.traceparent ?? headers.get('traceparent')
  const tracestate = inMessage ? call.tracestate : headers.get('tracestate')
  if (traceparent === null) return undefined
  return { traceparent, ...(tracestate ? { tracestate } : {}) }
}
