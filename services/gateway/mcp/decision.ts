/** What to do with a message, and the call of a tool that it may ask for: the same in both eras. */
import { isObject } from '../arrival/json-text.ts'
import {
  CODE,
  faultText,
  metaOf,
  type RequestId,
  type RequestMessage,
  type RpcFault,
} from './message.ts'
import type { ListedServer, ToolPages } from './tool-list.ts'

export type ToolCall = {
  era: 'modern' | 'legacy'
  id: RequestId
  tool: string
  args: Record<string, unknown>
  /** Present when the client asked for progress. */
  progressToken?: RequestId
  /** The client's own trace, as `_meta` carries it (SEP-414): text that nobody has looked at. */
  traceparent?: string
  tracestate?: string
}

export type Decision =
  | { kind: 'answer'; status: number; body: string }
  | { kind: 'nothing'; status: number }
  | { kind: 'call'; call: ToolCall }
  /** The earlier era only: the client wants log messages, or none. */
  | { kind: 'listen'; id: RequestId; isListening: boolean }

export function refusal(id: RequestId | null, fault: RpcFault): Decision {
  return { kind: 'answer', status: fault.status ?? 200, body: faultText(id, fault) }
}

/** Name, arguments and progress token of a `tools/call`. */
export function readCall(
  message: RequestMessage,
  server: ListedServer,
): Pick<ToolCall, 'tool' | 'args' | 'progressToken' | 'traceparent' | 'tracestate'> | RpcFault {
  const { name } = message.params
  // Serializers of several languages write an absent value as null.
  const args = message.params.arguments ?? {}
  if (typeof name !== 'string') {
    return { code: CODE.INVALID_PARAMS, message: 'params.name must be the name of a tool.' }
  }
  if (!server.tools.has(name)) {
    return { code: CODE.INVALID_PARAMS, message: 'This server has no tool of that name.' }
  }
  if (!isObject(args)) {
    return { code: CODE.INVALID_PARAMS, message: 'params.arguments must be an object.' }
  }
  const { progressToken: token, traceparent, tracestate } = metaOf(message.params)
  const usable = typeof token === 'string' || Number.isSafeInteger(token)
  return {
    ...{ tool: name, args },
    ...(usable ? { progressToken: token as RequestId } : {}),
    ...(typeof traceparent === 'string' ? { traceparent } : {}),
    ...(typeof tracestate === 'string' ? { tracestate } : {}),
  }
}

/** The page that a `tools/list` asks for. */
export function readPage({ params }: RequestMessage, pages: ToolPages): string | RpcFault {
  const cursor = params.cursor ?? ''
  const page = typeof cursor === 'string' ? pages.get(cursor) : undefined
  return page ?? { code: CODE.INVALID_PARAMS, message: 'The cursor is not valid any more.' }
}

/** The member of an answer that tells clients how to use the server, with the comma before it. */
export function instructionsField({ instructions }: ListedServer): string {
  return instructions === undefined ? '' : `,"instructions":${JSON.stringify(instructions)}`
}
