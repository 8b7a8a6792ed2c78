/** The guest's end of the broker leg: requests leave as frames, answers come back whole. */
import { callIds, FRAME, type Frame, type FrameType, parseControl } from '@bmm/lib/frames'
import type { UpstreamResponse } from './answer.ts'
import type { FrameLink } from './link.ts'
import type { OutgoingRequest } from './request.ts'

/** The largest body of a request or an answer. */
const MAX_BODY_BYTES = 8 * 1024 * 1024

/** Why nothing came back: refused by policy, unreachable, too large, …; the message is for the model. */
class EgressError extends Error {
  override name = 'EgressError'
  readonly code: string
  constructor(code: string, message: string) {
    super(message)
    this.code = code
  }
}

type Pending = {
  head: Omit<UpstreamResponse, 'body'> | undefined
  parts: Uint8Array[]
  resolve(response: UpstreamResponse): void
  reject(error: unknown): void
}

export type Egress = {
  /** `call` is the tool call on whose behalf the request leaves: without one in flight the broker refuses. */
  exchange(request: OutgoingRequest, call: number, signal: AbortSignal): Promise<UpstreamResponse>
}

export const egressFrames: readonly FrameType[] = [
  FRAME.RESPONSE,
  FRAME.RESPONSE_BODY,
  FRAME.RESPONSE_END,
  FRAME.FETCH_FAILED,
  FRAME.PING,
]

/** `onFrame` takes every frame of the broker leg. */
export function createEgress(connection: () => FrameLink): Egress & {
  onFrame(frame: Frame): void
} {
  const pending = new Map<number, Pending>()
  const ids = callIds()
  return {
    async exchange(request, call, signal) {
      signal.throwIfAborted()
      const body = request.body
      if (body && body.length > MAX_BODY_BYTES) {
        throw new EgressError(
          'request_too_large',
          `A request body may have ${MAX_BODY_BYTES} bytes.`,
        )
      }
      const id = ids.next()
      const { promise, resolve, reject } = Promise.withResolvers<UpstreamResponse>()
      pending.set(id, { head: undefined, parts: [], resolve, reject })
      const abort = () => {
        connection().send(FRAME.CANCEL, id)
        reject(signal.reason)
      }
      signal.addEventListener('abort', abort, { once: true })
      try {
        if (!sendRequest(connection(), id, call, request)) {
          throw new EgressError('busy', 'Too many requests are on their way at once.')
        }
        return await promise
      } finally {
        signal.removeEventListener('abort', abort)
        pending.delete(id)
      }
    },
    onFrame(frame) {
      if (frame.type === FRAME.PING) {
        connection().send(FRAME.PONG, frame.call)
        return
      }
      const exchange = pending.get(frame.call)
      // The answer of a request that was given up.
      if (exchange) receive(exchange, frame)
    },
  }
}

function sendRequest(
  connection: FrameLink,
  id: number,
  call: number,
  request: OutgoingRequest,
): boolean {
  const { method, url, headers, body } = request
  const hasBody = body !== undefined && body.length > 0
  return (
    connection.sendControl(FRAME.FETCH, id, { call, method, url, headers, hasBody }) &&
    (!hasBody || connection.sendParts(FRAME.FETCH_BODY, id, body)) &&
    connection.send(FRAME.FETCH_END, id)
  )
}

/** The broker is ours: its payloads are believed. */
function receive(exchange: Pending, frame: Frame): void {
  if (frame.type === FRAME.RESPONSE) {
    exchange.head = parseControl(frame.payload) as NonNullable<Pending['head']>
  } else if (frame.type === FRAME.RESPONSE_BODY) {
    exchange.parts.push(frame.payload.slice())
  } else if (frame.type === FRAME.FETCH_FAILED) {
    const { code, message } = parseControl(frame.payload) as { code: string; message: string }
    exchange.reject(new EgressError(code, message))
  } else if (exchange.head) {
    exchange.resolve({ ...exchange.head, body: joined(exchange.parts) })
  }
}

function joined(parts: Uint8Array[]): Uint8Array {
  const only = parts.length === 1 ? parts[0] : undefined
  if (only) return only
  const body = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    body.set(part, at)
    at += part.length
  }
  return body
}
