/** The broker's end of one sandbox's connection: frames become requests, answers become frames. All it sends is hostile. */
import { createAllowance } from '@bmm/lib/allowance'
import type { FrameConnection, FrameHandlers, FramePace } from '@bmm/lib/frame-connection'
import { callIds, FRAME, type Frame, FrameFault, parseControl } from '@bmm/lib/frames'
import { z } from 'zod'
import { isSameToken } from '../sandbox/slot-token.ts'
import { type Answer, type Ask, FetchFailure } from './outgoing.ts'

const MAX_BODY_BYTES = 8 * 1024 * 1024
/** Request bodies of one sandbox that are not sent yet. */
const MAX_HELD_BYTES = 2 * MAX_BODY_BYTES
/** What of a refused body is read and forgotten before the connection ends. */
const MAX_IGNORED_BYTES = 4 * MAX_BODY_BYTES
/** A guest cuts a body into parts of one mebibyte; an empty part costs memory here and nothing there. */
const MAX_BODY_PARTS = 64
const MAX_OPEN = 64
/** Exchanges, those included whose refused rest is still to come. */
const MAX_KNOWN = 4 * MAX_OPEN
/** Frames that lead to nothing cost more here than there. */
const IDLE_FRAMES = { atOnce: 10_000, perSecond: 500 }
/** Of the broker's time, which all sandboxes share. */
const PACE: FramePace = { share: 0.1, burstMs: 20 }
/** Who asks for what the contract refuses, again and again, waits for the answer. */
const REFUSALS = { atOnce: 50, perSecond: 20 }
/** URL and headers have limits of their own; this bounds what is parsed at all. */
const MAX_FETCH_BYTES = 256 * 1024
const HELLO_DEADLINE_MS = 5_000
const ASSEMBLY_DEADLINE_MS = 30_000
/** A sandbox that does not read its answers for this long is ended. */
const DELIVERY_DEADLINE_MS = 30_000
const DELIVERY_POLL_MS = 5
const QUEUE_BYTES = 24 * 1024 * 1024
const MAX_HEAD_BYTES = 60 * 1024

const helloSchema = z.object({ token: z.string().max(200), protocol: z.literal(1) })
const fetchSchema = z.strictObject({
  call: z.int().min(0),
  method: z.string(),
  url: z.string(),
  headers: z.array(z.tuple([z.string(), z.string()])),
  hasBody: z.boolean(),
})

export type SandboxRequest = {
  call: number
  ask: Ask
  signal: AbortSignal
  /** Resolves when the answer is queued; until then it takes memory here. */
  deliver: (answer: Answer) => Promise<void>
}

export type SandboxLegOptions = {
  token: string
  onGreeted: () => void
  /** Carries out a request and delivers its answer; may throw FetchFailure. */
  carryOut: (request: SandboxRequest) => Promise<void>
  onEnd: (reason: string) => void
}

/** One request: being put together, refused and only read to its end, or on its way. */
type Exchange = {
  state: 'assembling' | 'ignoring' | 'sending'
  call: number
  ask: Omit<Ask, 'body'>
  hasBody: boolean
  parts: Uint8Array[]
  bytes: number
  stop: AbortController
  deadline: ReturnType<typeof setTimeout> | undefined
}

type Fetch = z.infer<typeof fetchSchema>

/** Stands for a request that is too large to be looked at. */
const unread: Fetch = { call: 0, method: '', url: '', headers: [], hasBody: true }

function fetchFrom(frame: Frame): Fetch {
  const parsed = fetchSchema.safeParse(parseControl(frame.payload, MAX_FETCH_BYTES))
  if (!parsed.success) throw new FrameFault('a fetch is malformed')
  return parsed.data
}

function newExchange({ call, method, url, headers, hasBody }: Fetch): Exchange {
  return {
    ...{ state: 'assembling', call, hasBody, parts: [], bytes: 0 },
    ask: { method, url, headers },
    stop: new AbortController(),
    deadline: undefined,
  }
}

/** Handlers for the one connection of a sandbox. */
export function sandboxLeg(options: SandboxLegOptions): FrameHandlers {
  const exchanges = new Map<number, Exchange>()
  const ids = callIds()
  let highestId = 0
  let isGreeted = false
  let heldBytes = 0
  let ignoredBytes = 0
  let helloDeadline: ReturnType<typeof setTimeout> | undefined
  const idleFrames = createAllowance(IDLE_FRAMES)
  const refusals = createAllowance(REFUSALS)

  function countIdleFrame(): void {
    if (idleFrames.take(1) > 0) throw new FrameFault('too many frames led to nothing')
  }

  function greet(frame: Frame): void {
    const hello = helloSchema.safeParse(parseControl(frame.payload))
    if (isGreeted || frame.type !== FRAME.HELLO || !hello.success) {
      throw new FrameFault('the first frame must be a hello')
    }
    if (!isSameToken(hello.data.token, options.token)) throw new FrameFault('the token is wrong')
    isGreeted = true
    clearTimeout(helloDeadline)
    options.onGreeted()
  }

  function begin(frame: Frame, connection: FrameConnection): void {
    ids.admit(frame.call)
    highestId = frame.call
    if (exchanges.size >= MAX_KNOWN) throw new FrameFault('too many requests were begun')
    const isTooLarge = frame.payload.length > MAX_FETCH_BYTES
    const exchange = isTooLarge ? newExchange(unread) : newExchange(fetchFrom(frame))
    const isFull = exchanges.size >= MAX_OPEN
    exchanges.set(frame.call, exchange)
    if (isFull || isTooLarge) {
      countIdleFrame()
      const [code, message] = isFull
        ? ['busy', 'Too many requests are under way at once.']
        : ['request_too_large', 'The URL and the headers of the request are too large.']
      refuse(frame.call, exchange, connection, code, message)
      return
    }
    exchange.deadline = setTimeout(() => {
      refuse(frame.call, exchange, connection, 'timeout', 'The request did not arrive in time.')
    }, ASSEMBLY_DEADLINE_MS)
  }

  /** Answers now and reads what is still coming of the request, to its end. */
  function refuse(
    id: number,
    exchange: Exchange,
    connection: FrameConnection,
    code: string,
    message: string,
  ): void {
    forget(exchange)
    exchange.state = 'ignoring'
    connection.sendControl(FRAME.FETCH_FAILED, id, { code, message })
  }

  function forget(exchange: Exchange): void {
    clearTimeout(exchange.deadline)
    heldBytes -= exchange.bytes
    exchange.bytes = 0
    exchange.parts = []
  }

  function append(frame: Frame, connection: FrameConnection): void {
    const exchange = exchanges.get(frame.call)
    if (exchange === undefined || exchange.state === 'sending' || !exchange.hasBody) {
      throw new FrameFault('a body belongs to no request')
    }
    const bytes = frame.payload.length
    if (exchange.state === 'ignoring') {
      countIdleFrame()
      ignoredBytes += bytes
      if (ignoredBytes > MAX_IGNORED_BYTES) throw new FrameFault('too much was sent for nothing')
      return
    }
    if (exchange.parts.length >= MAX_BODY_PARTS) {
      throw new FrameFault('a body came in too many parts')
    }
    if (exchange.bytes + bytes > MAX_BODY_BYTES) {
      const message = `A request may have ${MAX_BODY_BYTES} bytes at most.`
      refuse(frame.call, exchange, connection, 'request_too_large', message)
    } else if (heldBytes + bytes > MAX_HELD_BYTES) {
      refuse(frame.call, exchange, connection, 'busy', 'Too many large requests at once.')
    } else {
      exchange.parts.push(frame.payload.slice())
      exchange.bytes += bytes
      heldBytes += bytes
    }
  }

  function finish(frame: Frame, connection: FrameConnection): void {
    const exchange = exchanges.get(frame.call)
    if (exchange === undefined || exchange.state === 'sending') {
      throw new FrameFault('an end belongs to no request')
    }
    if (exchange.state === 'ignoring') {
      exchanges.delete(frame.call)
      return
    }
    clearTimeout(exchange.deadline)
    exchange.state = 'sending'
    void send(frame.call, exchange, connection)
  }

  async function send(id: number, exchange: Exchange, connection: FrameConnection): Promise<void> {
    const body = exchange.hasBody ? Buffer.concat(exchange.parts) : undefined
    const { call, ask, stop } = exchange
    try {
      await options.carryOut({
        ...{ call, ask: { ...ask, body }, signal: stop.signal },
        async deliver(answer) {
          if (!stop.signal.aborted) await deliver(id, answer, connection)
        },
      })
    } catch (error) {
      const isRefusal = error instanceof FetchFailure && error.isRefusal
      const waitMs = isRefusal ? refusals.take(1) : 0
      if (waitMs > 0) await Bun.sleep(waitMs)
      const { code, message } =
        error instanceof FetchFailure
          ? error
          : { code: 'internal', message: 'The request failed for a reason of the platform.' }
      if (!stop.signal.aborted) connection.sendControl(FRAME.FETCH_FAILED, id, { code, message })
    } finally {
      forget(exchange)
      exchanges.delete(id)
    }
  }

  /** The guest gives up by itself; what was not sent yet never is. A cancelled request stays open until its end frame. */
  function cancel(frame: Frame): void {
    if (frame.call > highestId || frame.call === 0) throw new FrameFault('nobody asked for this')
    const exchange = exchanges.get(frame.call)
    countIdleFrame()
    exchange?.stop.abort()
    if (exchange?.state !== 'assembling') return
    forget(exchange)
    exchange.state = 'ignoring'
  }

  return {
    accept: [FRAME.HELLO, FRAME.FETCH, FRAME.FETCH_BODY, FRAME.FETCH_END, FRAME.CANCEL],
    queueLimitBytes: QUEUE_BYTES,
    pace: PACE,
    onOpen(connection) {
      helloDeadline = setTimeout(() => connection.end('no hello came in time'), HELLO_DEADLINE_MS)
    },
    onFrame(frame, connection) {
      if (!isGreeted) greet(frame)
      else if (frame.type === FRAME.FETCH) begin(frame, connection)
      else if (frame.type === FRAME.FETCH_BODY) append(frame, connection)
      else if (frame.type === FRAME.FETCH_END) finish(frame, connection)
      else if (frame.type === FRAME.CANCEL) cancel(frame)
      else throw new FrameFault('the frame makes no sense here')
    },
    onEnd(reason) {
      clearTimeout(helloDeadline)
      for (const exchange of exchanges.values()) {
        clearTimeout(exchange.deadline)
        exchange.stop.abort()
      }
      options.onEnd(reason)
    },
  }
}

/** Queues the whole answer once there is room; a sandbox that does not read is ended. */
async function deliver(
  id: number,
  { body, ...told }: Answer,
  connection: FrameConnection,
): Promise<void> {
  const head = Buffer.from(JSON.stringify(told))
  if (head.length > MAX_HEAD_BYTES) {
    throw new FetchFailure('answer_too_large', 'The answer has too many headers.', '', false)
  }
  const giveUpAt = performance.now() + DELIVERY_DEADLINE_MS
  while (connection.queuedBytes + head.length + body.length > QUEUE_BYTES / 2) {
    if (connection.ended) return
    if (performance.now() > giveUpAt) return connection.end('the sandbox does not read its answers')
    if (connection.queuedBytes === 0) break
    await Bun.sleep(DELIVERY_POLL_MS)
  }
  connection.send(FRAME.RESPONSE, id, head)
  connection.sendParts(FRAME.RESPONSE_BODY, id, body)
  connection.send(FRAME.RESPONSE_END, id)
}
