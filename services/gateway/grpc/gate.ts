/** Who may pass the gRPC port: decided from the headers, before a byte of the message is read. */

import type { AccessRow } from '@bmm/lib/contracts'
import { limited } from '@bmm/lib/errors'
import type { Log } from '@bmm/lib/log'
import { visitorOf } from '@bmm/lib/visitor'
import { createContextKey, type HandlerContext } from '@connectrpc/connect'
import { type Audience, audiencesOf } from '../access/audience.ts'
import type { Program, ProgramRequest, ServiceTokens } from '../access/service-token.ts'
import type { EndReason, InFlight } from '../limits/in-flight.ts'
import type { RateLimiter } from '../limits/rate-limit.ts'
import type { Room } from '../limits/room.ts'
import { outward } from './fault.ts'

export type GrpcArrival = {
  /** The visitor's address. */
  clientIp: string
  /** Of this call. */
  requestId: string
  /** When the last byte of the answer has left, or the client has: later than the end of the handler. */
  onClosed(act: () => void): void
}

export const arrivalKey = createContextKey<GrpcArrival | undefined>(undefined)
const passedKey = createContextKey<Passed | undefined>(undefined)

export type Passed = {
  program: Program
  /** Aborted when the gateway ends the call; `endReason` says why. */
  ended: AbortSignal
  endReason(): EndReason | undefined
  /** What let it pass, for minting again with what the message confirms. */
  request: ProgramRequest
  requestId: string
}

export type GateOptions = {
  tokens: ServiceTokens
  /** Calls through this port at a time. */
  inFlight: InFlight
  /** Questions that need no token, by visitor. */
  visitors: RateLimiter
  /** What documents may take that are being sent. */
  documents: Room
  log: Log
}

export type Gate = (context: HandlerContext) => Promise<void>

/** Passes callers whose service token has the permission of the RPC, while they have not too many calls already. */
export function externalGate(
  row: AccessRow,
  options: GateOptions & {
    /** What a message may take, where that is much: nobody says its size before it comes. */
    messageBytes?: number
  },
): Gate {
  const audiences: Audience[] = audiencesOf(row)
  const pass = async (context: HandlerContext) => {
    const { clientIp, requestId } = arrivalOf(context)
    const request: ProgramRequest = {
      value: bearerOf(context),
      visitor: visitorOf(clientIp),
      permissions: [row.permission],
      audiences,
    }
    const program = await options.tokens.admit(request)
    const { userId, tokenId: grantId } = program
    const running = options.inFlight.open({ userId, grantId })
    if (running === undefined) {
      throw limited('too_many_calls', 'Too many calls are running. Wait for one to end.', {
        retryAfterSeconds: 1,
      })
    }
    const release = options.documents.reserve(userId, options.messageBytes ?? 0)
    if (release === undefined) {
      running.close()
      throw limited('too_many_documents', 'Too many documents are being sent. Wait for one.', {
        retryAfterSeconds: 2,
      })
    }
    const over = () => {
      release()
      running.close()
    }
    const ended = new AbortController()
    running.listener = { onEnd: () => ended.abort() }
    context.signal.addEventListener('abort', over, { once: true })
    if (context.signal.aborted) over()
    const endReason = () => running.reason
    context.values.set(passedKey, { program, ended: ended.signal, endReason, request, requestId })
  }
  return guarded(pass, row.path, options.log)
}

/** Passes everybody, at a bounded rate. */
export function publicGate(rpc: string, { visitors, log }: GateOptions): Gate {
  const pass = async (context: HandlerContext) => {
    const retryAfterSeconds = visitors(visitorOf(arrivalOf(context).clientIp))
    if (retryAfterSeconds === 0) return
    throw limited('rate_limited', 'Too many requests. Wait a moment.', { retryAfterSeconds })
  }
  return guarded(pass, rpc, log)
}

/** What the gate let pass. */
export function passedOf(context: Pick<HandlerContext, 'values'>): Passed {
  const passed = context.values.get(passedKey)
  if (passed === undefined) throw new Error('a call came around the gate')
  return passed
}

export function arrivalOf(context: Pick<HandlerContext, 'values'>): GrpcArrival {
  const arrival = context.values.get(arrivalKey)
  if (arrival === undefined) throw new Error('a call did not come through the port')
  return arrival
}

function guarded(pass: Gate, rpc: string, log: Log): Gate {
  return async (context) => {
    const { requestId } = arrivalOf(context)
    context.responseHeader.set('x-request-id', requestId)
    try {
      await pass(context)
    } catch (thrown) {
      throw outward(thrown, { log, rpc, requestId })
    }
  }
}

function bearerOf({ requestHeader }: HandlerContext): string {
  return /^Bearer (\S+)$/i.exec(requestHeader.get('authorization') ?? '')?.[1] ?? ''
}
