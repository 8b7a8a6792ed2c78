/** MCP 2026-07-28: stateless requests that name their version and capabilities, with headers that repeat the body. */
import { isObject } from '../arrival/json-text.ts'
import {
  CODE,
  faultText,
  type Message,
  metaOf,
  type RequestId,
  type RequestMessage,
  type RpcFault,
  resultText,
} from './message.ts'
import { decodeHeaderValue, disagreeingHeader } from './param-header.ts'
import { modernMeta } from './result.ts'
import type { ListedServer } from './tool-list.ts'

const MODERN_VERSION = '2026-07-28'
const VERSION_KEY = 'io.modelcontextprotocol/protocolVersion'
const CAPABILITIES_KEY = 'io.modelcontextprotocol/clientCapabilities'
const CLIENT_INFO_KEY = 'io.modelcontextprotocol/clientInfo'
/** How long a client may keep lists and discovery; a new version shows after this at the latest. */
const LIST_TTL_MS = 60_000
const MAX_SHOWN_VERSION = 32

export type ToolCall = {
  era: 'modern' | 'legacy'
  id: RequestId
  tool: string
  args: Record<string, unknown>
  /** Present when the client asked for progress. */
  progressToken?: RequestId
  /** The client's own trace, as `_meta` carries it (SEP-414): text that nobody has looked at. */
  traceparent?: string
}

/** What to do with a message: answer at once, or call a tool. */
export type Decision =
  | { kind: 'answer'; status: number; body: string }
  | { kind: 'nothing'; status: number }
  | { kind: 'call'; call: ToolCall }
  /** The earlier era only: the client wants log messages, or none. */
  | { kind: 'listen'; id: RequestId; isListening: boolean }

/** Revisions are dates, so the order of text is the order of time. */
export function isModernVersion(version: string): boolean {
  return version >= MODERN_VERSION
}

/** Whether the message takes part in the modern era: it claims a version itself, or the header names a modern one. */
export function isModern(message: Message, headers: Headers): boolean {
  const claims =
    (message.kind === 'request' || message.kind === 'notification') &&
    VERSION_KEY in metaOf(message.params)
  if (message.kind === 'request' && message.method === 'initialize') {
    return claims && message.params.protocolVersion === undefined
  }
  return claims || isModernVersion(headers.get('mcp-protocol-version')?.trim() ?? '')
}

/** Decides one message of the modern era. Pure: the listing and the headers are all it looks at. */
export function decideModern(message: Message, headers: Headers, server: ListedServer): Decision {
  if (message.kind === 'notification') return { kind: 'nothing', status: 202 }
  if (message.kind !== 'request') {
    return refuse(message.kind === 'invalid' ? message.id : null, {
      code: CODE.INVALID_REQUEST,
      message: 'The body is not a JSON-RPC request or notification.',
      status: 400,
    })
  }
  const fault = envelopeFault(message, headers)
  return fault === undefined ? dispatch(message, headers, server) : refuse(message.id, fault)
}

function dispatch(message: RequestMessage, headers: Headers, server: ListedServer): Decision {
  const { id, method, params } = message
  switch (method) {
    case 'server/discover':
      return answer(id, server, discovery(server))
    case 'tools/list': {
      const cursor = params.cursor ?? ''
      const page = typeof cursor === 'string' ? server.modernPages.get(cursor) : undefined
      return page === undefined
        ? refuse(id, { code: CODE.INVALID_PARAMS, message: 'The cursor is not valid any more.' })
        : answer(id, server, `${cacheFields},${page}`)
    }
    case 'tools/call': {
      const call = readCall(message, server)
      if ('code' in call) return refuse(id, call)
      const header = disagreeingHeader(server.tools.get(call.tool) ?? [], call.args, headers)
      return header === undefined
        ? { kind: 'call', call: { era: 'modern', id, ...call } }
        : refuse(id, mismatch(`The ${header} header does not match the arguments.`))
    }
    default:
      return refuse(id, {
        code: CODE.METHOD_NOT_FOUND,
        message: 'This server does not know that method.',
        status: 404,
      })
  }
}

/** Name, arguments and progress token of a `tools/call`, the same in both eras. */
export function readCall(
  message: RequestMessage,
  server: ListedServer,
): Pick<ToolCall, 'tool' | 'args' | 'progressToken' | 'traceparent'> | RpcFault {
  const { name, arguments: args = {} } = message.params
  if (typeof name !== 'string') {
    return { code: CODE.INVALID_PARAMS, message: 'params.name must be the name of a tool.' }
  }
  if (!server.tools.has(name)) {
    return { code: CODE.INVALID_PARAMS, message: 'This server has no tool of that name.' }
  }
  if (!isObject(args)) {
    return { code: CODE.INVALID_PARAMS, message: 'params.arguments must be an object.' }
  }
  const { progressToken: token, traceparent } = metaOf(message.params)
  const usable = typeof token === 'string' || Number.isSafeInteger(token)
  return {
    ...{ tool: name, args },
    ...(usable ? { progressToken: token as RequestId } : {}),
    ...(typeof traceparent === 'string' ? { traceparent } : {}),
  }
}

/** The checks in the order in which the official server makes them, so that clients see the same first fault. */
function envelopeFault(message: RequestMessage, headers: Headers): RpcFault | undefined {
  const meta = metaOf(message.params)
  const version = meta[VERSION_KEY]
  const header = headers.get('mcp-protocol-version')?.trim()
  const missing = [VERSION_KEY, CAPABILITIES_KEY].filter((key) => meta[key] === undefined)
  if (missing.length > 0 || typeof version !== 'string' || !isObject(meta[CAPABILITIES_KEY])) {
    // What a version that is not spoken here has in its messages, nobody here can know.
    const named = version ?? header
    const foreign = typeof named === 'string' && named !== MODERN_VERSION ? named : undefined
    if (foreign !== undefined && (header ?? foreign) === foreign) return unsupported(foreign)
    return {
      code: CODE.INVALID_PARAMS,
      message: `params._meta must hold ${VERSION_KEY} (text) and ${CAPABILITIES_KEY} (an object).`,
      data: { envelope: { missing } },
      status: 400,
    }
  }
  if (meta[CLIENT_INFO_KEY] !== undefined && !isObject(meta[CLIENT_INFO_KEY])) {
    return {
      code: CODE.INVALID_PARAMS,
      message: `params._meta: ${CLIENT_INFO_KEY} must be an object.`,
      status: 400,
    }
  }
  if (header !== undefined && header !== version) {
    return mismatch('The MCP-Protocol-Version header does not match the body.')
  }
  const method = headers.get('mcp-method')?.trim()
  if (method !== undefined && method !== message.method) {
    return mismatch('The Mcp-Method header does not match the body.')
  }
  if (version !== MODERN_VERSION) return unsupported(version)
  if (header === undefined) return mismatch('The MCP-Protocol-Version header is missing.')
  if (method === undefined) return mismatch('The Mcp-Method header is missing.')
  return nameFault(message, headers.get('mcp-name'))
}

function unsupported(version: string): RpcFault {
  return {
    code: CODE.UNSUPPORTED_VERSION,
    message: `This server does not speak that version of the protocol. It speaks ${MODERN_VERSION}, and earlier ones after initialize.`,
    data: { supported: [MODERN_VERSION], requested: version.slice(0, MAX_SHOWN_VERSION) },
    status: 400,
  }
}

/** The body fields that the Mcp-Name header repeats. */
const nameFields: Readonly<Record<string, string>> = {
  'tools/call': 'name',
  'prompts/get': 'name',
  'resources/read': 'uri',
}

function nameFault(message: RequestMessage, header: string | null): RpcFault | undefined {
  const field = Object.hasOwn(nameFields, message.method) ? nameFields[message.method] : undefined
  const value = field === undefined ? undefined : message.params[field]
  if (field === undefined || typeof value !== 'string') return undefined
  if (header === null) return mismatch('The Mcp-Name header is missing.')
  return decodeHeaderValue(header) === value
    ? undefined
    : mismatch(`The Mcp-Name header does not match params.${field}.`)
}

function mismatch(message: string): RpcFault {
  return { code: CODE.HEADER_MISMATCH, message, status: 400 }
}

function refuse(id: RequestId | null, fault: RpcFault): Decision {
  return { kind: 'answer', status: fault.status ?? 200, body: faultText(id, fault) }
}

/** `fields` are the JSON members of the result, without braces. */
function answer(id: RequestId, server: ListedServer, fields: string): Decision {
  const result = `{"resultType":"complete",${modernMeta(server.info)},${fields}}`
  return { kind: 'answer', status: 200, body: resultText(id, result) }
}

/** Private: what is listed depends on who may call. */
const cacheFields = `"ttlMs":${LIST_TTL_MS},"cacheScope":"private"`

function discovery(server: ListedServer): string {
  const instructions =
    server.instructions === undefined
      ? ''
      : `,"instructions":${JSON.stringify(server.instructions)}`
  return `${cacheFields},"supportedVersions":["${MODERN_VERSION}"],"capabilities":{"tools":{}}${instructions}`
}
