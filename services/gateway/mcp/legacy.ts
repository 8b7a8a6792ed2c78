/** MCP 2025-03-26, 2025-06-18 and 2025-11-25: initialize, notifications and, in the oldest, batches. */
import { type Decision, instructionsField, readCall, readPage, refusal } from './decision.ts'
import {
  CODE,
  type Message,
  protocolVersionOf,
  type RequestId,
  type RequestMessage,
  type RpcFault,
  resultText,
} from './message.ts'
import { wantsReports } from './report.ts'
import type { ListedServer } from './tool-list.ts'

const legacyVersions = ['2025-11-25', '2025-06-18', '2025-03-26'] as const
const [LATEST] = legacyVersions
/** The only revision with JSON-RPC batches, and the one that a request without a version header speaks. */
const BATCH_VERSION = '2025-03-26'
const MAX_BATCH = 32

/** Why a request of this era is refused as a whole, by its headers; undefined when it is not. */
export function legacyHeaderFault(headers: Headers): RpcFault | undefined {
  const version = protocolVersionOf(headers) || BATCH_VERSION
  if (legacyVersions.some((known) => known === version)) return undefined
  return {
    code: CODE.REFUSED,
    message: `Unsupported protocol version (supported versions: ${legacyVersions.join(', ')}).`,
    status: 400,
  }
}

/** Why a batch is refused as a whole; undefined when its elements are to be decided one by one. */
export function batchFault(batch: readonly unknown[], headers: Headers): RpcFault | undefined {
  const version = protocolVersionOf(headers) || BATCH_VERSION
  const refused = (message: string) => ({ code: CODE.INVALID_REQUEST, message, status: 400 })
  if (version !== BATCH_VERSION) return refused(`Batches exist in version ${BATCH_VERSION} only.`)
  if (batch.length === 0) return refused('The batch is empty.')
  if (batch.length > MAX_BATCH) return refused(`A batch has at most ${MAX_BATCH} messages.`)
  return undefined
}

/** Decides one message, alone or as an element of a batch. Pure. */
export function decideLegacy(
  message: Message,
  server: ListedServer,
  place: 'alone' | 'batch' = 'alone',
): Decision {
  switch (message.kind) {
    case 'request':
      return dispatch(message, server, place)
    case 'notification':
    case 'response':
      return { kind: 'nothing', status: 202 }
    case 'invalid':
      return refusal(message.id, {
        code: CODE.INVALID_REQUEST,
        message: 'The body is not a JSON-RPC message.',
        status: 400,
      })
    default:
      return message satisfies never
  }
}

/** The request that a `notifications/cancelled` is about, or undefined. */
export function cancelledRequest(message: Message): RequestId | undefined {
  if (message.kind !== 'notification' || message.method !== 'notifications/cancelled') {
    return undefined
  }
  const { requestId } = message.params
  return typeof requestId === 'string' || typeof requestId === 'number' ? requestId : undefined
}

function dispatch(message: RequestMessage, server: ListedServer, place: string): Decision {
  const { id, method, params } = message
  switch (method) {
    case 'initialize':
      return place === 'batch'
        ? refusal(id, {
            code: CODE.INVALID_REQUEST,
            message: 'initialize must not be part of a batch.',
          })
        : initialize(id, params, server)
    case 'ping':
      return answer(id, '{}')
    case 'logging/setLevel': {
      const isListening = wantsReports(params.level)
      return isListening === undefined
        ? refusal(id, { code: CODE.INVALID_PARAMS, message: 'params.level is no log level.' })
        : { kind: 'listen', id, isListening }
    }
    case 'tools/list': {
      const page = readPage(message, server.legacyPages)
      return typeof page === 'string' ? answer(id, `{${page}}`) : refusal(id, page)
    }
    case 'tools/call': {
      const call = readCall(message, server)
      return 'code' in call
        ? refusal(id, call)
        : { kind: 'call', call: { era: 'legacy', id, ...call } }
    }
    default:
      return refusal(id, {
        code: CODE.METHOD_NOT_FOUND,
        message: 'This server does not know that method.',
      })
  }
}

/** Answers the wished version where it is spoken here, else the newest of this era; the client then decides. */
function initialize(
  id: RequestId,
  params: Record<string, unknown>,
  server: ListedServer,
): Decision {
  if (typeof params.protocolVersion !== 'string') {
    return refusal(id, { code: CODE.INVALID_PARAMS, message: 'params.protocolVersion is missing.' })
  }
  const version = legacyVersions.find((known) => known === params.protocolVersion) ?? LATEST
  return answer(
    id,
    `{"protocolVersion":"${version}","capabilities":{"logging":{},"tools":{}},"serverInfo":${server.info}${instructionsField(server)}}`,
  )
}

function answer(id: RequestId, result: string): Decision {
  return { kind: 'answer', status: 200, body: resultText(id, result) }
}
