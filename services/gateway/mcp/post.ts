/** Answering what was posted: one message or a batch, of one era or the other. */
import { errorFrom } from '@bmm/lib/errors'
import type { AccessClaims } from '../access/access-token.ts'
import type { Arrival } from '../arrival/arrival.ts'
import type { Listener } from '../arrival/listeners.ts'
import type { Served } from '../serving/serving.ts'
import type { CallContext, TracedCall } from './call-context.ts'
import { beginCallSpan, type CallTracing } from './call-span.ts'
import type { ToolCall } from './decision.ts'
import type { McpOptions } from './endpoint.ts'
import { batchFault, cancelledRequest, decideLegacy, legacyHeaderFault } from './legacy.ts'
import {
  CODE,
  faultText,
  type Message,
  type RequestId,
  type RpcFault,
  readMessage,
  resultText,
} from './message.ts'
import { decideModern, isModern } from './modern.ts'
import { json } from './reply.ts'
import { answerCall, respondCall } from './tool-call.ts'
import type { ListedServer } from './tool-list.ts'

const SESSION_HEADER = 'mcp-session-id'
const sessionPattern = /^[A-Za-z0-9_-]{1,64}$/

export type Post = {
  options: McpOptions
  request: Request
  arrival: Arrival
  listed: ListedServer
  served: Extract<Served, { state: 'live' }>
  claims: AccessClaims
  takesEvents: boolean
  newestEpoch: CallContext['newestEpoch']
}

/** `body` is the parsed JSON. */
export function answerPost(body: unknown, post: Post): Response | Promise<Response> {
  const { headers } = post.request
  if (Array.isArray(body)) return answerBatch(body, post)
  const message = readMessage(body)
  const modern = isModern(message, headers)
  if (!modern && !(message.kind === 'request' && message.method === 'initialize')) {
    const fault = legacyHeaderFault(headers)
    if (fault !== undefined) return refuse(fault, post, message)
  }
  if (!modern) cancel(message, post)
  const decision = modern
    ? decideModern(message, headers, post.listed)
    : decideLegacy(message, post.listed)
  switch (decision.kind) {
    case 'nothing':
      return nothing(decision.status, post)
    case 'answer':
      return answered(decision, post, message, modern)
    case 'call':
      return respondCall(
        decision.call,
        callContext(post, decision.call, modern || !post.takesEvents ? undefined : listening),
        post.takesEvents,
      )
    case 'listen':
      return listen(decision, post).then((text) => json(text, post.arrival))
    default:
      return decision satisfies never
  }
}

/** Each element is decided by itself, so that a batch can do nothing that its messages could not do alone. */
async function answerBatch(batch: readonly unknown[], post: Post): Promise<Response> {
  const { headers } = post.request
  const messages = batch.map(readMessage)
  const fault =
    batchFault(batch, headers) ??
    (messages.some((message) => isModern(message, headers)) ? modernInBatch : undefined)
  if (fault !== undefined) return refuse(fault, post)
  const release = post.arrival.stayOpen()
  const answers = await Promise.all(
    messages.map(async (message) => {
      cancel(message, post)
      const decision = decideLegacy(message, post.listed, 'batch')
      switch (decision.kind) {
        case 'nothing':
          return undefined
        case 'answer':
          return decision.body
        case 'listen':
          return listen(decision, post)
        case 'call':
          return answerCall(decision.call, callContext(post, decision.call, undefined))
        default:
          return decision satisfies never
      }
    }),
  )
  release()
  const texts = answers.filter((answer) => answer !== undefined)
  return texts.length === 0 ? nothing(202, post) : json(`[${texts.join(',')}]`, post.arrival)
}

const modernInBatch: RpcFault = {
  code: CODE.INVALID_REQUEST,
  message: 'Messages of version 2026-07-28 and later cannot be part of a batch.',
  status: 400,
}

function refuse(fault: RpcFault, { arrival }: Post, message?: Message): Response {
  const id = message?.kind === 'request' ? message.id : null
  return json(faultText(id, fault), arrival, { status: fault.status ?? 400 })
}

function nothing(status: number, { arrival }: Post): Response {
  return new Response(null, { status, headers: arrival.headers() })
}

/** Where a stream may come before the answer; in today's era log messages are deprecated, and not taken up here. */
function listening(post: Post): () => Promise<boolean> {
  return () => post.options.listeners.has(listenerOf(post))
}

async function listen(
  { id, isListening }: { id: RequestId; isListening: boolean },
  post: Post,
): Promise<string> {
  try {
    await post.options.listeners.set(listenerOf(post), isListening)
    return resultText(id, '{}')
  } catch (thrown) {
    post.options.log.warn({ fault: errorFrom(thrown).message }, 'a log level cannot be kept')
    return faultText(id, notKept)
  }
}

const notKept: RpcFault = {
  code: CODE.INTERNAL,
  message: 'Log messages cannot be switched right now. Try again.',
}

function listenerOf({ claims }: Post): Listener {
  return { grantId: claims.grantId, serverId: claims.serverId }
}

function spanOf(tracing: CallTracing, { request, served, arrival }: Post) {
  const { serverId } = served
  const { requestId } = arrival
  return (call: TracedCall) => beginCallSpan(tracing, call, { serverId, requestId, request })
}

function callContext(
  post: Post,
  call: ToolCall,
  listens: ((post: Post) => () => Promise<boolean>) | undefined,
): CallContext & { arrival: Arrival } {
  const { options, served, claims, listed } = post
  return {
    runner: options.runner,
    inFlight: options.inFlight,
    deadlines: options.deadlines,
    beginSpan: options.tracing && spanOf(options.tracing, post),
    caller: claims,
    target: { serverId: served.serverId, epoch: served.epoch, serverInfo: listed.info },
    arrival: post.arrival,
    request: post.request,
    newestEpoch: post.newestEpoch,
    isListening: listens?.(post),
    cancelKey: call.era === 'modern' ? undefined : cancelKeyOf(post, call.id),
    timeoutMs: options.callTimeoutMs,
  }
}

/**
 * `initialize` hands out a session id that is stored nowhere: it only tells two sessions of one grant apart, whose
 * request ids both start at 0, when one of them cancels.
 */
function answered(
  { body, status }: { body: string; status: number },
  { arrival }: Post,
  message: Message,
  modern: boolean,
): Response {
  const opens =
    !modern && message.kind === 'request' && message.method === 'initialize' && status === 200
  if (!opens) return json(body, arrival, { status })
  return json(body, arrival, { status, headers: { [SESSION_HEADER]: crypto.randomUUID() } })
}

function cancelKeyOf(post: Post, id: RequestId): string | undefined {
  const session = post.request.headers.get(SESSION_HEADER) ?? ''
  if (!sessionPattern.test(session)) return undefined
  const { grantId, serverId } = post.claims
  return `${grantId} ${serverId} ${session} ${JSON.stringify(id)}`
}

function cancel(message: Message, post: Post): void {
  const id = cancelledRequest(message)
  const key = id === undefined ? undefined : cancelKeyOf(post, id)
  if (key !== undefined) post.options.inFlight.cancel(key)
}
