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
import { connectFrames, type FrameConnection } from '@bmm/lib/frame-connection'
import {
  callIds,
  FRAME,
  type Frame,
  FrameFault,
  MAX_RESULT_BYTES,
  parseControl,
} from '@bmm/lib/frames'
import type { Identity } from '@bmm/lib/identity'
import type { Log } from '@bmm/lib/log'
import type { z } from 'zod'
import type { CallEnd } from './in-flight.ts'

const BACK_OFF_MIN_MS = 50
const BACK_OFF_MAX_MS = 2_000
/** A call waits this long for a broken connection to come back. */
const CONNECT_PATIENCE_MS = 2_000
/** The runner answers a cancelled call within this time, or forgets it. */
const FORGET_CANCELLED_MS = 2_000

export type CallOutcome =
  | { kind: 'result'; bytes: Uint8Array }
  | { kind: 'failed'; code: string; message: string }

export type RunnerLink = AsyncDisposable & {
  /** Never rejects: whatever goes wrong is an outcome. Ending the call cancels it in the runner. `args` is JSON. */
  call(
    header: CallHeader,
    args: string,
    options: { ending: CallEnd; onProgress: (progress: Progress) => void },
  ): Promise<CallOutcome>
  /** Tells the runner, which counts, what only the gateway saw; lost while the runner is away. */
  judge(verdict: Verdict): void
  isConnected(): boolean
}

type Pending = {
  settle(outcome: CallOutcome): void
  onProgress(progress: Progress): void
  parts: Uint8Array[]
  bytes: number
}

type Line = { connection: FrameConnection; pending: Map<number, Pending>; next: () => number }

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

  async function placeLater(...call: PlacedCall): Promise<CallOutcome> {
    const current = await connectedLine()
    if (current === undefined) return failed('unavailable', 'The runner does not answer.')
    return placeCall(current, ...call)
  }

  const running = keepConnected()
  return {
    call(header, args, { ending, onProgress }) {
      if (line === undefined) return placeLater(header, args, ending, onProgress)
      return placeCall(line, header, args, ending, onProgress)
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
  const pending = new Map<number, Pending>()
  const jwt = await options.identity.sign('runner', CALLS_METHOD)
  const connection = await connectFrames({
    unix: options.socket,
    accept: [FRAME.PROGRESS, FRAME.RESULT_PART, FRAME.RESULT_END, FRAME.FAILED, FRAME.PING],
    onFrame: (frame, link) => receive(frame, link, pending),
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

type PlacedCall = [
  header: CallHeader,
  args: string,
  ending: CallEnd,
  onProgress: (progress: Progress) => void,
]

function placeCall(
  { connection, pending, next }: Line,
  ...[header, args, ending, onProgress]: PlacedCall
): Promise<CallOutcome> {
  if (ending.reason !== undefined) return Promise.resolve(cancelled)
  const call = next()
  return new Promise((resolve) => {
    const waiting: Pending = {
      parts: [],
      bytes: 0,
      onProgress,
      settle(outcome) {
        pending.delete(call)
        ending.onEnd = undefined
        resolve(outcome)
      },
    }
    pending.set(call, waiting)
    ending.onEnd = () => {
      connection.send(FRAME.CANCEL, call)
      resolve(cancelled)
      waiting.parts = []
      setTimeout(() => pending.delete(call), FORGET_CANCELLED_MS).unref()
    }
    if (!connection.sendCall(call, header, args)) {
      waiting.settle(failed('busy', 'Too many calls are waiting. Try again in a moment.'))
    }
  })
}

const cancelled = failed('cancelled', 'The call was cancelled.')

function receive(frame: Frame, connection: FrameConnection, pending: Map<number, Pending>): void {
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
    case FRAME.RESULT_END:
      call.bytes += frame.payload.length
      if (call.bytes > MAX_RESULT_BYTES) {
        connection.send(FRAME.CANCEL, frame.call)
        call.settle(failed('result_too_large', 'The tool answered with more than 8 MiB.'))
        return
      }
      call.parts.push(frame.payload.slice())
      if (frame.type === FRAME.RESULT_PART) return
      call.settle({ kind: 'result', bytes: joined(call.parts, call.bytes) })
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

function joined(parts: readonly Uint8Array[], bytes: number): Uint8Array {
  const [only] = parts
  if (parts.length === 1 && only !== undefined) return only
  const whole = new Uint8Array(bytes)
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}

function failed(code: string, message: string): CallOutcome {
  return { kind: 'failed', code, message }
}

function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, milliseconds)
    signal.addEventListener('abort', done, { once: true })
  })
}
