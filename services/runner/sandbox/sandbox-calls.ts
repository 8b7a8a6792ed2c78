/** The calls of one sandbox: what each may still send, how much of it, and until when. */
import { failedSchema, type Progress, progressSchema } from '@bmm/lib/call-frames'
import { createDeadlines, type Deadline, type Expiring } from '@bmm/lib/deadlines'
import type { FrameConnection } from '@bmm/lib/frame-connection'
import {
  callIds,
  FRAME,
  type Frame,
  FrameFault,
  MAX_PART_BYTES,
  MAX_RESULT_BYTES,
  parseControl,
} from '@bmm/lib/frames'
import { z } from 'zod'
import type { SandboxFailureCode } from '../calls/call-failure.ts'

/** Where the answer of a call goes. Exactly one of `end` and `fail` is called, and nothing after it. */
export type CallSink = {
  /** The span of the call in its sandbox, where it is traced: what the call sends out belongs to it. */
  readonly trace?: string
  /** Bytes of the result, in order; a view that is valid during the call only. */
  part(bytes: Uint8Array): void
  /** The last bytes, often all of them; a view as well. */
  end(last: Uint8Array): void
  fail(code: SandboxFailureCode, message: string): void
  progress(progress: Progress): void
  log(line: string): void
}

export type SandboxCalls = {
  start(header: { tool: string; timeoutMs: number }, args: Uint8Array, sink: CallSink): number
  cancel(call: number): void
  isInFlight(call: number): boolean
  traceOf(call: number): string | undefined
  readonly inFlight: number
  onFrame(frame: Frame): void
  failAll(message: string): void
}

type Call = Expiring & {
  sink: CallSink
  /** A cancelled call stays known until its answer, so that the answer is no fault. */
  cancelled: boolean
  resultBytes: number
  resultParts: number
  sideFrames: number
  sideBytes: number
  deadline: Deadline | undefined
}

/** Twice what a guest needs that cuts its result into the largest parts. */
const MAX_RESULT_PARTS = (2 * MAX_RESULT_BYTES) / MAX_PART_BYTES
/** Progress and log of one call. */
const MAX_SIDE_FRAMES = 2_000
const MAX_SIDE_BYTES = 2 * 1024 * 1024
const MAX_SIDE_FRAME_BYTES = 32 * 1024

const sandboxFailedSchema = failedSchema.extend({
  code: z.enum(['cancelled', 'deadline', 'result_too_large', 'sandbox_failed']),
})
const logSchema = z.object({ line: z.string() })

/** `overdue` is called when a guest goes on with a call whose time is over: the sandbox must end. */
export function createSandboxCalls(options: {
  graceMs: number
  connection: () => FrameConnection | undefined
  overdue: (why: string) => void
}): SandboxCalls {
  const ids = callIds()
  const deadlines = createDeadlines()
  const known = new Map<number, Call>()
  let cancelled = 0

  function finish(id: number, call: Call): void {
    deadlines.clear(call.deadline)
    known.delete(id)
    if (call.cancelled) cancelled--
  }

  function missed(id: number, call: Call): void {
    finish(id, call)
    if (!call.cancelled) call.sink.fail('deadline', 'The tool did not answer in time.')
    options.overdue('A tool did not stop in time, so the sandbox was ended.')
  }

  function onSide(frame: Frame, call: Call): void {
    call.sideFrames++
    call.sideBytes += frame.payload.length
    if (call.sideFrames > MAX_SIDE_FRAMES || call.sideBytes > MAX_SIDE_BYTES) {
      throw new FrameFault('the sandbox sent too much progress or log for one call')
    }
    const value = parseControl(frame.payload, MAX_SIDE_FRAME_BYTES)
    const parsed =
      frame.type === FRAME.LOG ? logSchema.safeParse(value) : progressSchema.safeParse(value)
    if (!parsed.success) throw new FrameFault('the sandbox sent malformed progress or log')
    if (call.cancelled) return
    if ('line' in parsed.data) call.sink.log(parsed.data.line)
    else call.sink.progress(parsed.data)
  }

  function countPart(frame: Frame, call: Call): void {
    call.resultParts++
    call.resultBytes += frame.payload.length
    if (call.resultBytes > MAX_RESULT_BYTES || call.resultParts > MAX_RESULT_PARTS) {
      throw new FrameFault('the sandbox sent a result that is too large')
    }
  }

  return {
    start(header, args, sink) {
      const id = ids.next()
      const connection = options.connection()
      const call: Call = {
        sink,
        cancelled: false,
        resultBytes: 0,
        resultParts: 0,
        sideFrames: 0,
        sideBytes: 0,
        deadline: undefined,
        expire: () => missed(id, call),
      }
      call.deadline = deadlines.set(header.timeoutMs + options.graceMs, call)
      known.set(id, call)
      if (!connection?.sendCall(id, header, args)) {
        finish(id, call)
        sink.fail('busy', 'The sandbox does not take more calls at the moment.')
      }
      return id
    },
    cancel(id) {
      const call = known.get(id)
      if (!call || call.cancelled) return
      call.cancelled = true
      cancelled++
      deadlines.clear(call.deadline)
      call.deadline = deadlines.set(options.graceMs, call)
      options.connection()?.send(FRAME.CANCEL, id)
      call.sink.fail('cancelled', 'The call was cancelled.')
    },
    traceOf: (id) => known.get(id)?.sink.trace,
    isInFlight(id) {
      const call = known.get(id)
      return call !== undefined && !call.cancelled
    },
    get inFlight() {
      return known.size - cancelled
    },
    onFrame(frame) {
      const call = known.get(frame.call)
      if (!call) throw new FrameFault(`the sandbox answered call ${frame.call}, which is not known`)
      if (frame.type === FRAME.RESULT_END) {
        countPart(frame, call)
        finish(frame.call, call)
        if (!call.cancelled) call.sink.end(frame.payload)
      } else if (frame.type === FRAME.RESULT_PART) {
        countPart(frame, call)
        if (!call.cancelled) call.sink.part(frame.payload)
      } else if (frame.type === FRAME.PROGRESS || frame.type === FRAME.LOG) onSide(frame, call)
      else {
        const parsed = sandboxFailedSchema.safeParse(parseControl(frame.payload))
        if (!parsed.success) throw new FrameFault('the sandbox sent a malformed failure')
        finish(frame.call, call)
        if (!call.cancelled) call.sink.fail(parsed.data.code, parsed.data.message)
      }
    },
    failAll(message) {
      for (const [id, call] of known) {
        finish(id, call)
        if (!call.cancelled) call.sink.fail('sandbox_failed', message)
      }
    },
  }
}
