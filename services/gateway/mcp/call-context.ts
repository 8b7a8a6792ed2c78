/** Who calls which server over which request, with what it takes to carry the call out. */
import type { Deadlines } from '@bmm/lib/deadlines'
import type { ClientTrace, TraceSpan } from '@bmm/lib/tracing'
import type { Arrival } from '../arrival/arrival.ts'
import type { InFlight } from '../limits/in-flight.ts'
import type { RunnerLink } from '../runner-link.ts'

/** What a span is named by, and the trace that the call's own message names. */
export type TracedCall = { tool: string } & Partial<ClientTrace>

export type CallContext = {
  runner: RunnerLink
  inFlight: InFlight
  deadlines: Deadlines
  caller: { userId: string; orgId: string; grantId: string }
  target: { serverId: string; epoch: number; serverInfo: string }
  arrival: Pick<Arrival, 'requestId'>
  /** Aborted when the client is gone. */
  request: { readonly signal: AbortSignal }
  /** Looks the server up again; undefined when it is not live any more. */
  newestEpoch: () => Promise<number | undefined>
  /** Whether the client wants log messages; absent where it cannot be told any before the answer. */
  isListening?: (() => Promise<boolean>) | undefined
  /** What a later `notifications/cancelled` of the same client names. */
  cancelKey?: string | undefined
  /** Absent where calls are not traced. */
  beginSpan?: ((call: TracedCall) => TraceSpan | undefined) | undefined
  timeoutMs?: number | undefined
}
