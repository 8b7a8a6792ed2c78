/** The link to the runner: it says which slot serves whom, and answers whether a call is in flight. */
import { errorFrom } from '@bmm/lib/errors'
import type { FrameConnection } from '@bmm/lib/frame-connection'
import { connectFrames } from '@bmm/lib/frame-socket'
import { FRAME, type Frame, FrameFault, MAX_FRAME_BYTES, parseControl } from '@bmm/lib/frames'
import type { Identity } from '@bmm/lib/identity'
import type { Log } from '@bmm/lib/log'
import type { SignedStatement } from '@bmm/spec/statement'
import { z } from 'zod'
import { createFrameRequests, type FrameRequests } from '../frame-requests.ts'

const FIRST_RETRY_MS = 50
const MAX_RETRY_MS = 1_000
const IN_FLIGHT_TIMEOUT_MS = 3_000
const MAX_MESSAGE = 900

const slotSchema = z.int().min(0).max(65_535)
const tokenSchema = z.string().min(16).max(200)
const expectSchema = z.strictObject({ slot: slotSchema, token: tokenSchema })
const assignSchema = z.strictObject({
  slot: slotSchema,
  token: tokenSchema,
  statement: z.base64(),
  signature: z.base64(),
  keyId: z.string().min(1).max(64),
  userId: z.string().min(1).max(200),
})
const releaseSchema = z.strictObject({ slot: slotSchema })
const inFlightAnswerSchema = z.object({ inFlight: z.boolean(), trace: z.string().optional() })

/** `trace` is the span of the call, where it is traced. */
export type InFlightAnswer = z.infer<typeof inFlightAnswerSchema>

export type Assign = {
  slot: number
  token: string
  signed: SignedStatement
  userId: string
}

export type RunnerLink = {
  readonly isConnected: boolean
  /** Whether this call of this slot's sandbox is under way; false too when the runner does not answer. */
  askInFlight(slot: number, call: number): Promise<InFlightAnswer>
  stop(): void
}

/** What the runner asks for. A throw is answered with its message, the link lives on. */
export type RunnerLinkHandlers = {
  expect(slot: number, token: string): void
  assign(assign: Assign): Promise<void>
  release(slot: number): void
  /** From now on nobody knows whose sandboxes these are. */
  lost(): void
}

/** Dials at once and again after each loss, until stopped. */
export function dialRunner(
  options: { socket: string; identity: Identity; log: Log } & RunnerLinkHandlers,
): RunnerLink {
  const { socket, identity, log } = options
  let current: { connection: FrameConnection; requests: FrameRequests } | undefined
  let isStopped = false

  async function answer(
    frame: Frame,
    connection: FrameConnection,
    done: typeof FRAME.EXPECTED | typeof FRAME.ASSIGNED | typeof FRAME.RELEASED,
    act: () => void | Promise<void>,
  ): Promise<void> {
    try {
      await act()
      connection.send(done, frame.call)
    } catch (error) {
      const { message } = errorFrom(error)
      log.warn({ err: errorFrom(error) }, 'the runner asked for something that failed')
      connection.sendControl(FRAME.LINK_FAILED, frame.call, {
        message: message.slice(0, MAX_MESSAGE),
      })
    }
  }

  function onFrame(frame: Frame, connection: FrameConnection): void {
    if (frame.type === FRAME.IN_FLIGHT_ANSWER) {
      current?.requests.answer(frame)
    } else if (frame.type === FRAME.EXPECT) {
      const { slot, token } = parsed(expectSchema, frame)
      void answer(frame, connection, FRAME.EXPECTED, () => options.expect(slot, token))
    } else if (frame.type === FRAME.ASSIGN) {
      const assign = assignFrom(parsed(assignSchema, frame))
      void answer(frame, connection, FRAME.ASSIGNED, () => options.assign(assign))
    } else {
      const { slot } = parsed(releaseSchema, frame)
      void answer(frame, connection, FRAME.RELEASED, () => options.release(slot))
    }
  }

  async function connectOnce(): Promise<string> {
    const jwt = await identity.sign('runner', '/frames/link')
    const connection = await connectFrames({
      unix: socket,
      accept: [FRAME.EXPECT, FRAME.ASSIGN, FRAME.RELEASE, FRAME.IN_FLIGHT_ANSWER],
      onFrame,
    })
    connection.sendControl(FRAME.HELLO, 0, { jwt })
    const requests = createFrameRequests(connection)
    current = { connection, requests }
    log.info({ socket }, 'linked to the runner')
    const reason = await connection.closed
    current = undefined
    requests.end(`the runner is gone: ${reason}`)
    options.lost()
    return reason
  }

  async function run(): Promise<void> {
    let retryMs = FIRST_RETRY_MS
    while (!isStopped) {
      const startedAt = performance.now()
      try {
        log.warn({ reason: await connectOnce() }, 'the link to the runner was lost')
      } catch (error) {
        log.debug({ err: errorFrom(error) }, 'the runner cannot be reached yet')
      }
      if (performance.now() - startedAt > MAX_RETRY_MS) retryMs = FIRST_RETRY_MS
      await Bun.sleep(retryMs)
      retryMs = Math.min(2 * retryMs, MAX_RETRY_MS)
    }
  }
  void run()

  return {
    get isConnected() {
      return current !== undefined
    },
    async askInFlight(slot, call) {
      const mine = current
      if (mine === undefined) return { inFlight: false }
      try {
        const frame = await mine.requests.ask(FRAME.IN_FLIGHT, { slot, call }, IN_FLIGHT_TIMEOUT_MS)
        return inFlightAnswerSchema.parse(parseControl(frame.payload))
      } catch (error) {
        log.warn(
          { err: errorFrom(error), slot },
          'the runner did not say whether a call is in flight',
        )
        // Its ids are used up: a new connection has new ones.
        if (error instanceof FrameFault) mine.connection.end(error.message)
        return { inFlight: false }
      }
    },
    stop() {
      isStopped = true
      current?.connection.end('the broker is stopping')
    },
  }
}

function parsed<Schema extends z.ZodType>(schema: Schema, frame: Frame): z.infer<Schema> {
  // An ASSIGN carries a whole statement.
  const result = schema.safeParse(parseControl(frame.payload, MAX_FRAME_BYTES))
  if (!result.success) throw new FrameFault('the runner sent something malformed')
  return result.data
}

function assignFrom(payload: z.infer<typeof assignSchema>): Assign {
  const { slot, token, userId, keyId } = payload
  const bytes = (text: string) => new Uint8Array(Buffer.from(text, 'base64'))
  const signed = { bytes: bytes(payload.statement), signature: bytes(payload.signature), keyId }
  return { slot, token, userId, signed }
}
