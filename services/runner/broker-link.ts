/** The link to the broker: which slot serves whom, so that it knows whose credentials a request may use. */
import type { FrameConnection } from '@bmm/lib/frame-connection'
import { FRAME, type Frame, FrameFault, parseControl } from '@bmm/lib/frames'
import type { Identity } from '@bmm/lib/identity'
import type { Log } from '@bmm/lib/log'
import type { SignedStatement } from '@bmm/spec/statement'
import { z } from 'zod'
import { createFrameRequests, type FrameRequests } from './frame-requests.ts'
import { listenForService } from './service-leg.ts'

const ANSWER_TIMEOUT_MS = 5_000
/** The broker that is there, and the one that replaces it after a crash that nobody has noticed yet. */
const MAX_CONNECTIONS = 4

const inFlightSchema = z.object({ slot: z.number().int(), call: z.number().int() })
const failureSchema = z.object({ message: z.string().max(1_000) })

export type Assignment = {
  slot: number
  /** The one that the slot was told to expect. */
  token: string
  signed: SignedStatement
  userId: string
}

export type BrokerLink = {
  readonly connected: boolean
  /** The broker listens in the slot's directory for one sandbox with this token. Rejects without a broker. */
  expect(slot: number, token: string): Promise<void>
  /** From the answer on, the slot's requests are judged by this statement. Rejects without a broker. */
  assign(assignment: Assignment): Promise<void>
  /** The slot's sandbox is gone. Resolves as well when the broker is: it has forgotten everything then. */
  release(slot: number): Promise<void>
  stop(): void
}

export function listenForBroker(options: {
  socket: string
  identity: Identity
  /** Whether this call of this slot's sandbox is under way: nothing leaves otherwise. */
  isInFlight: (slot: number, call: number) => boolean
  /** The span of the call, where it is traced. */
  traceOf: (slot: number, call: number) => string | undefined
  onConnected: () => void
  onLost: () => void
  log: Log
}): BrokerLink {
  let current: { connection: FrameConnection; requests: FrameRequests } | undefined

  function onFrame(frame: Frame, connection: FrameConnection, requests: FrameRequests) {
    if (frame.type !== FRAME.IN_FLIGHT) return requests.answer(frame)
    const question = inFlightSchema.safeParse(parseControl(frame.payload))
    if (!question.success) throw new FrameFault('the question is malformed')
    const { slot, call } = question.data
    const inFlight = options.isInFlight(slot, call)
    const trace = inFlight ? options.traceOf(slot, call) : undefined
    connection.sendControl(FRAME.IN_FLIGHT_ANSWER, frame.call, { inFlight, trace })
  }

  const leg = listenForService({
    socket: options.socket,
    identity: options.identity,
    from: 'broker',
    method: '/frames/link',
    accept: [FRAME.ASSIGNED, FRAME.EXPECTED, FRAME.RELEASED, FRAME.LINK_FAILED, FRAME.IN_FLIGHT],
    maxConnections: MAX_CONNECTIONS,
    log: options.log,
    onPeer(connection) {
      const requests = createFrameRequests(connection)
      const mine = { connection, requests }
      const before = current
      current = mine
      before?.connection.end('another broker took over')
      options.onConnected()
      return {
        onFrame: (frame) => onFrame(frame, connection, requests),
        onEnd(reason) {
          requests.end(`the broker is gone: ${reason}`)
          if (current === mine) current = undefined
          options.onLost()
        },
      }
    },
  })

  async function ask(type: typeof FRAME.EXPECT | typeof FRAME.ASSIGN, value: unknown) {
    if (current === undefined) throw new Error('the broker is not connected')
    const answer = await current.requests.ask(type, value, ANSWER_TIMEOUT_MS)
    if (answer.type === FRAME.LINK_FAILED) {
      const failure = failureSchema.safeParse(parseControl(answer.payload))
      throw new Error(`the broker refused: ${failure.success ? failure.data.message : 'no reason'}`)
    }
  }

  return {
    get connected() {
      return current !== undefined
    },
    expect: (slot, token) => ask(FRAME.EXPECT, { slot, token }),
    assign: ({ slot, token, signed, userId }) =>
      ask(FRAME.ASSIGN, {
        slot,
        token,
        statement: Buffer.from(signed.bytes).toString('base64'),
        signature: Buffer.from(signed.signature).toString('base64'),
        keyId: signed.keyId,
        userId,
      }),
    async release(slot) {
      await current?.requests.ask(FRAME.RELEASE, { slot }, ANSWER_TIMEOUT_MS).catch(() => {})
    },
    stop: () => leg.stop('the runner is stopping'),
  }
}
