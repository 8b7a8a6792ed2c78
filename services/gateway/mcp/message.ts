/** JSON-RPC 2.0 as MCP uses it: reading one message, writing answers. */
import { isObject } from '../arrival/json-text.ts'

export type RequestId = string | number

export type Message =
  | { kind: 'request'; id: RequestId; method: string; params: Record<string, unknown> }
  | { kind: 'notification'; method: string; params: Record<string, unknown> }
  | { kind: 'response' }
  | { kind: 'invalid'; id: RequestId | null }
export type RequestMessage = Extract<Message, { kind: 'request' }>

/** Codes of JSON-RPC 2.0 section 5.1 and of MCP 2026-07-28. */
export const CODE = {
  PARSE: -32700,
  INVALID_REQUEST: -32600,
  METHOD_NOT_FOUND: -32601,
  INVALID_PARAMS: -32602,
  INTERNAL: -32603,
  /** Refusals that are about HTTP or the server as a whole, as the official SDKs number them. */
  REFUSED: -32000,
  HEADER_MISMATCH: -32020,
  MISSING_CAPABILITY: -32021,
  UNSUPPORTED_VERSION: -32022,
} as const

export type RpcFault = {
  code: number
  message: string
  data?: unknown
  /** HTTP status where the fault is not answered in-band; 200 when absent. */
  status?: number
}

const MAX_ID_CHARACTERS = 256
const MAX_METHOD_CHARACTERS = 128

/** What a parsed value is; extra members are ignored, as JSON-RPC says nothing about them. */
export function readMessage(value: unknown): Message {
  if (!isObject(value)) return { kind: 'invalid', id: null }
  const { jsonrpc, id, method, params } = value
  const echo = isRequestId(id) ? id : null
  if (jsonrpc !== '2.0') return { kind: 'invalid', id: echo }
  if (method === undefined && ('result' in value || 'error' in value)) return { kind: 'response' }
  if (typeof method !== 'string' || method.length > MAX_METHOD_CHARACTERS) {
    return { kind: 'invalid', id: echo }
  }
  if (params !== undefined && params !== null && !isObject(params))
    return { kind: 'invalid', id: echo }
  if (id === undefined) return { kind: 'notification', method, params: params ?? {} }
  return isRequestId(id)
    ? { kind: 'request', id, method, params: params ?? {} }
    : { kind: 'invalid', id: null }
}

/** The version that the header names, '' without one. Repeated lines of one value are that value (RFC 9110 section 5.3). */
export function protocolVersionOf(headers: Headers): string {
  const value = headers.get('mcp-protocol-version')?.trim() ?? ''
  if (!value.includes(',')) return value
  const versions = new Set(value.split(',').map((version) => version.trim()))
  return versions.size === 1 ? ([...versions][0] ?? '') : value
}

/** `params._meta` of a request; an absent one is empty. */
export function metaOf(params: Record<string, unknown>): Record<string, unknown> {
  return isObject(params._meta) ? params._meta : {}
}

/** `result` is JSON that this process made itself: never bytes from outside. */
export function resultText(id: RequestId, result: string): string {
  return `{"jsonrpc":"2.0","id":${JSON.stringify(id)},"result":${result}}`
}

export function faultText(id: RequestId | null, fault: RpcFault): string {
  const { code, message, data } = fault
  return JSON.stringify({
    jsonrpc: '2.0',
    id,
    error: { code, message, ...(data === undefined ? {} : { data }) },
  })
}

/** A fractional or huge id could not be told apart by every client. */
function isRequestId(value: unknown): value is RequestId {
  return (
    Number.isSafeInteger(value) || (typeof value === 'string' && value.length <= MAX_ID_CHARACTERS)
  )
}
