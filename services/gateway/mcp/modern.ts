/** MCP 2026-07-28: stateless requests that name their version and capabilities, with headers that repeat the body. */
import { isObject } from '../arrival/json-text.ts'
import { type Decision, instructionsField, readCall, readPage, refusal } from './decision.ts'
import {
  CODE,
  type Message,
  metaOf,
  protocolVersionOf,
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

/** Revisions are dates, so the order of text is the order of time. */
function isModernVersion(version: string): boolean {
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
  return claims || isModernVersion(protocolVersionOf(headers))
}

/** Decides one message of the modern era. Pure: the listing and the headers are all it looks at. */
export function decideModern(message: Message, headers: Headers, server: ListedServer): Decision {
  if (message.kind === 'notification') return { kind: 'nothing', status: 202 }
  if (message.kind !== 'request') {
    return refusal(message.kind === 'invalid' ? message.id : null, {
      code: CODE.INVALID_REQUEST,
      message: 'The body is not a JSON-RPC request or notification.',
      status: 400,
    })
  }
  const fault = envelopeFault(message, headers)
  return fault === undefined ? dispatch(message, headers, server) : refusal(message.id, fault)
}

function dispatch(message: RequestMessage, headers: Headers, server: ListedServer): Decision {
  const { id, method } = message
  switch (method) {
    case 'server/discover':
      return answer(id, server, discovery(server))
    case 'tools/list': {
      const page = readPage(message, server.modernPages)
      return typeof page === 'string'
        ? answer(id, server, `${cacheFields},${page}`)
        : refusal(id, page)
    }
    case 'tools/call': {
      const call = readCall(message, server)
      if ('code' in call) return refusal(id, call)
      const header = disagreeingHeader(server.tools.get(call.tool) ?? [], call.args, headers)
      return header === undefined
        ? { kind: 'call', call: { era: 'modern', id, ...call } }
        : refusal(id, mismatch(`The ${header} header does not match the arguments.`))
    }
    default:
      return refusal(id, {
        code: CODE.METHOD_NOT_FOUND,
        message: 'This server does not know that method.',
        status: 404,
      })
  }
}

/** The checks in the order in which the official server makes them, so that clients see the same first fault. */
function envelopeFault(message: RequestMessage, headers: Headers): RpcFault | undefined {
  const meta = metaOf(message.params)
  const version = meta[VERSION_KEY]
  const header = protocolVersionOf(headers) || undefined
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

/** `fields` are the JSON members of the result, without braces. */
function answer(id: RequestId, server: ListedServer, fields: string): Decision {
  const result = `{"resultType":"complete",${modernMeta(server.info)},${fields}}`
  return { kind: 'answer', status: 200, body: resultText(id, result) }
}

/** Private: what is listed depends on who may call. */
const cacheFields = `"ttlMs":${LIST_TTL_MS},"cacheScope":"private"`

function discovery(server: ListedServer): string {
  return `${cacheFields},"supportedVersions":["${MODERN_VERSION}"],"capabilities":{"tools":{}}${instructionsField(server)}`
}
