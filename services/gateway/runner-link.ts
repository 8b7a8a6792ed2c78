/** The one lasting connection to the runner: calls out, results back, reconnecting with back-off. */
import {
  CALLS_METHOD,
  type CallHeader,
  failedSchema,
  type Progress,
  progressSchema,
  type Verdict,
} from '@bmm/lib/call-frames'
import { errorFrom } from '@bmm/lib/errors'
import type { FrameConnection } from '@bmm/lib/frame-connection'
import { connectFrames } from '@bmm/lib/frame-socket'
import {
  callIds,
  FRAME,
  type Frame,
  FrameFault,
  MAX_PART_BYTES,
  MAX_RESULT_BYTES,
  parseControl,
} from '@bmm/lib/frames'
import type { Identity } from '@bmm/lib/identity'
import type { Log } from '@bmm/lib/log'
import { pause } from '@bmm/lib/pause'
import type { z } from 'zod'
import { type FairTurns, fairTurns } from './limits/fair-turns.ts'
import type { CallEnd } from './limits/in-flight.ts'

const BACK_OFF_MIN_MS = 50
const BACK_OFF_MAX_MS = 2_000
/** A call waits this long for a broken connection to come back. */
const CONNECT_PATIENCE_MS = 2_000
/** The runner answers a cancelled call within this time, or forgets it. */
const FORGET_CANCELLED_MS = 2_000

export type CallOutcome =
  | { kind: 'result'; bytes: Uint8Array }
  | { kind: 'failed'; code: string; message: string }

/** Who waits for a call's outcome; must not throw. */
export type CallWaiter = {
  ending: CallEnd
  onProgress(progress: Progress): void
  /** Once, perhaps before `call` returns; the bytes of a result are a view that ends with this turn. */
  onOutcome(outcome: CallOutcome): void
}

export type RunnerLink = AsyncDisposable & {
  /** Whatever goes wrong is an outcome. Ending the call cancels it in the runner. `args` is JSON. */
  call(header: CallHeader, args: string, waiter: CallWaiter): void
  /** Tells the runner, which counts, what only the gateway saw; lost while the runner is away. */
  judge(verdict: Verdict): void
  isConnected(): boolean
}

type Line = {
  connection: FrameConnection
  pending: Map<number, PendingCall>
  next: () => number
}

/** A call that the runner has, until its last frame. */
class PendingCall {
  readonly #line: Line
  readonly #id: number
  readonly #waiter: CallWaiter
  #parts: Uint8Array[] | undefined
  #bytes = 0
  #isSettled = false

  constructor(
    line: Line,
    readonly person: string,
    waiter: CallWaiter,
  ) {
    this.#line = line
    this.#id = line.next()
    this.#waiter = waiter
    line.pending.set(this.#id, this)
    waiter.ending.listener = this
  }

  send(header: CallHeader, args: string): void {
    if (!fits(args)) this.settle(tooLargeArguments)
    else if (!this.#line.connection.sendCall(this.#id, header, args)) this.settle(tooManyWaiting)
  }

  onProgress(progress: Progress): void {
    this.#waiter.onProgress(progress)
  }

  onBytes(payload: Uint8Array, isLast: boolean): void {
    this.#bytes += payload.length
    if (this.#bytes > MAX_RESULT_BYTES) {
      this.#line.connection.send(FRAME.CANCEL, this.#id)
      this.settle(failed('result_too_large', 'The tool answered with more than 8 MiB.'))
    } else if (!isLast) {
      this.#parts ??= []
      this.#parts.push(payload.slice())
    } else {
      const bytes = this.#parts === undefined ? payload : Buffer.concat([...this.#parts, payload])
      this.settle({ kind: 'result', bytes })
    }
  }

  settle(outcome: CallOutcome): void {
    this.#line.pending.delete(this.#id)
    this.#tell(outcome)
  }

  /** Somebody ended the call. It stays known for a moment, so that its last frames are not taken for anything else. */
  onEnd(): void {
    this.#line.connection.send(FRAME.CANCEL, this.#id)
    this.#tell(cancelled)
    setTimeout(() => this.#line.pending.delete(this.#id), FORGET_CANCELLED_MS).unref()
  }

  #tell(outcome: CallOutcome): void {
    if (this.#isSettled) return
    this.#isSettled = true
    this.#waiter.ending.listener = undefined
    this.#waiter.onOutcome(outcome)
  }
}

/** Starts connecting at once. `socket` is the runner's `calls.sock`. */
export function openRunnerLink(options: {
  socket: string
  identity: Identity
  log: Log
}): RunnerLink {
  const { log } = options
  let line: Line | undefined
  let closed = false
  let waiting = Promise.withResolvers<void>()
  const closing = new AbortController()

  async function keepConnected(): Promise<void> {
    let delay = BACK_OFF_MIN_MS
    while (!closed) {
      try {
        line = await dial(options)
        delay = BACK_OFF_MIN_MS
        log.info('connected to the runner')
        waiting.resolve()
        const reason = await line.connection.closed
        log.warn({ reason }, 'the connection to the runner ended')
      } catch (thrown) {
        log.debug({ fault: errorFrom(thrown).message }, 'the runner does not answer')
      }
      line = undefined
      waiting.resolve()
      waiting = Promise.withResolvers()
      if (!closed) await pause(delay, closing.signal)
      delay = Math.min(delay * 2, BACK_OFF_MAX_MS)
    }
  }

  async function connectedLine(): Promise<Line | undefined> {
    const deadline = performance.now() + CONNECT_PATIENCE_MS
    while (line === undefined && !closed) {
      const left = deadline - performance.now()
      if (left <= 0) return undefined
      await Promise.race([waiting.promise, pause(left, closing.signal)])
    }
    return line
  }

  async function placeLater(header: CallHeader, args: string, waiter: CallWaiter) {
    const current = await connectedLine()
    if (current !== undefined) placeCall(current, header, args, waiter)
    else waiter.onOutcome(failed('unavailable', 'The runner does not answer.'))
  }

  const running = keepConnected()
  return {
    call(header, args, waiter) {
      if (line !== undefined) placeCall(line, header, args, waiter)
      else void placeLater(header, args, waiter)
    },
    judge: (verdict) => void line?.connection.sendControl(FRAME.VERDICT, 0, verdict),
    isConnected: () => line !== undefined,
    async [Symbol.asyncDispose]() {
      closed = true
      closing.abort()
      line?.connection.end('the gateway stops')
      await running
    },
  }
}

async function dial(options: { socket: string; identity: Identity }): Promise<Line> {
  const pending: Line['pending'] = new Map()
  const turns = fairTurns()
  const jwt = await options.identity.sign('runner', CALLS_METHOD)
  const connection = await connectFrames({
    unix: options.socket,
    accept: [FRAME.PROGRESS, FRAME.RESULT_PART, FRAME.RESULT_END, FRAME.FAILED, FRAME.PING],
    onFrame: (frame, link) => receive(frame, link, pending, turns),
    onEnd: () => {
      for (const call of pending.values()) {
        call.settle(failed('runner_stopping', 'The runner went away during the call. Try again.'))
      }
      pending.clear()
    },
  })
  connection.sendControl(FRAME.HELLO, 0, { jwt })
  return { connection, pending, next: callIds().next }
}

function placeCall(line: Line, header: CallHeader, args: string, waiter: CallWaiter): void {
  if (waiter.ending.reason !== undefined) waiter.onOutcome(cancelled)
  else new PendingCall(line, header.userId, waiter).send(header, args)
}

/** `1e20` comes as four bytes and leaves as twenty-one: what was small enough on its way in may be too large now. */
function fits(args: string): boolean {
  return args.length * 3 <= MAX_PART_BYTES || Buffer.byteLength(args) <= MAX_PART_BYTES
}

const tooManyWaiting = failed('busy', 'Too many calls are waiting. Try again in a moment.')
const tooLargeArguments = failed(
  'arguments_too_large',
  'The arguments take more than 1 MiB with their numbers written out.',
)
const cancelled = failed('cancelled', 'The call was cancelled.')

function receive(
  frame: Frame,
  connection: FrameConnection,
  pending: Line['pending'],
  turns: FairTurns,
): void {
  if (frame.type === FRAME.PING) {
    connection.send(FRAME.PONG, frame.call, frame.payload.slice())
    return
  }
  // A frame of a call that was cancelled and forgotten is late, not hostile.
  const call = pending.get(frame.call)
  if (call === undefined) return
  switch (frame.type) {
    case FRAME.PROGRESS:
      call.onProgress(checked(progressSchema, parseControl(frame.payload)))
      return
    case FRAME.RESULT_PART:
      call.onBytes(frame.payload, false)
      return
    case FRAME.RESULT_END:
      if (turns.take(call.person)) call.onBytes(frame.payload, true)
      else {
        // It has its last frame: whatever becomes of the runner now, this is its answer.
        pending.delete(frame.call)
        const kept = frame.payload.slice()
        turns.later(call.person, () => call.onBytes(kept, true))
      }
      return
    case FRAME.FAILED: {
      const { code, message } = checked(failedSchema, parseControl(frame.payload))
      call.settle(failed(code, message))
      return
    }
  }
}

function checked<Value>(schema: z.ZodType<Value>, value: unknown): Value {
  const parsed = schema.safeParse(value)
  if (!parsed.success) throw new FrameFault('a control payload has not the agreed shape')
  return parsed.data
}

function failed(code: string, message: string): CallOutcome {
  return { kind: 'failed', code, message }
}
