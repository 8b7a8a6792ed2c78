/** One end of a frame connection: the one parser and the one writer of frames, the same for both ends. */
import type { Socket } from 'bun'
import { type Allowance, createAllowance } from './allowance.ts'
import {
  FRAME,
  type Frame,
  FrameFault,
  type FrameType,
  HEADER_BYTES,
  MAX_FRAME_BYTES,
  MAX_PART_BYTES,
  MAX_RESULT_BYTES,
  REST_BYTES,
  readUint32,
  writeUint32,
} from './frames.ts'

const FRAME_DEADLINE_MS = 5_000
/** Unsent bytes of one connection; two whole results and some change. */
const DEFAULT_QUEUE_BYTES = 2 * MAX_RESULT_BYTES + 2 * MAX_FRAME_BYTES
const INITIAL_QUEUE_BYTES = 64 * 1024
/** A slow moment of this process or of its machine is nobody's fault: no peer waits longer than this for one. */
const LONGEST_PAUSE_MS = 1_000
/** UTF-8 of a UTF-16 unit. */
const MAX_BYTES_PER_CHARACTER = 3

/** The reason of a connection that the other side closed. */
export const PEER_ENDED = 'the peer ended the connection'

export type FrameHandlers = {
  /** The types that this end understands; any other ends the connection. */
  accept: readonly FrameType[]
  /** Called in order and synchronously. A throw ends the connection. */
  onFrame(frame: Frame, connection: FrameConnection): void
  onOpen?(connection: FrameConnection): void
  /** Called once, for whatever reason. */
  onEnd?(reason: string, connection: FrameConnection): void
  /** Unsent bytes before `send` refuses. */
  queueLimitBytes?: number
  /** How long an unfinished frame may stay unfinished. */
  frameDeadlineMs?: number
  /** For a peer that is not trusted with all of this process's time. */
  pace?: FramePace
}

/**
 * What handling a peer's frames may take of this process's time, as `onFrame` takes it: this share of every moment, and this
 * much at once. Past that the peer is read later, so that it waits and not its neighbours.
 */
export type FramePace = { share: number; burstMs: number }

/** What a Bun socket carries: its connection, from the `open` event on. */
export type ConnectionSlot = {
  connection: FrameConnection | undefined
}

/** Made by `connectFrames` and `listenFrames` only. */
export class FrameConnection {
  /** Resolves with the reason when the connection has ended, from whichever side. */
  readonly closed: Promise<string>
  readonly #resolveClosed: (reason: string) => void
  readonly #handlers: FrameHandlers
  readonly #accept: ReadonlySet<number>
  readonly #socket: Socket<ConnectionSlot>
  #ended: string | undefined
  #out = Buffer.allocUnsafeSlow(INITIAL_QUEUE_BYTES)
  #head = 0
  #tail = 0
  #flushArmed = false
  #blocked = false
  /** The bytes of an unfinished frame: header first, then exactly one buffer of the whole frame. */
  #partial: Uint8Array | undefined
  #partialBytes = 0
  #partialSince = 0
  #deadline: ReturnType<typeof setTimeout> | undefined
  /** Milliseconds of handling; a peer that has overdrawn it is not read until it is made up for. */
  readonly #allowance: Allowance | undefined
  #pause: ReturnType<typeof setTimeout> | undefined

  constructor(socket: Socket<ConnectionSlot>, handlers: FrameHandlers) {
    const { promise, resolve } = Promise.withResolvers<string>()
    this.closed = promise
    this.#resolveClosed = resolve
    this.#socket = socket
    this.#handlers = handlers
    this.#accept = new Set(handlers.accept)
    const { pace } = handlers
    this.#allowance =
      pace &&
      createAllowance({
        ...{ atOnce: pace.burstMs, perSecond: pace.share * 1_000 },
        longestWaitMs: LONGEST_PAUSE_MS,
      })
    handlers.onOpen?.(this)
  }

  get ended(): boolean {
    return this.#ended !== undefined
  }

  get queuedBytes(): number {
    return this.#tail - this.#head
  }

  /**
   * Queues one frame whose payload is the parts in order, texts as UTF-8. False: ended, or the queue is full; nothing was
   * queued then.
   */
  send(type: FrameType, call: number, ...parts: (Uint8Array | string)[]): boolean {
    let bytes = 0
    for (const part of parts) {
      bytes += typeof part === 'string' ? Buffer.byteLength(part) : part.length
    }
    if (!this.#begin(type, call, bytes)) return false
    for (const part of parts) this.#append(part)
    this.#arm()
    return true
  }

  /** Queues one frame whose payload is `value` as JSON. */
  sendControl(type: FrameType, call: number, value: unknown): boolean {
    return this.send(type, call, JSON.stringify(value))
  }

  /** Queues a CALL: `u32 header length, header as JSON, argument bytes`. */
  sendCall(call: number, header: unknown, args: Uint8Array | string): boolean {
    const head = JSON.stringify(header)
    const headBytes = Buffer.byteLength(head)
    const argsBytes = typeof args === 'string' ? Buffer.byteLength(args) : args.length
    if (!this.#begin(FRAME.CALL, call, 4 + headBytes + argsBytes)) return false
    writeUint32(this.#out, this.#tail, headBytes)
    this.#tail += 4
    this.#append(head)
    this.#append(args)
    this.#arm()
    return true
  }

  /** Queues bytes of any length as frames of one type, each at most `MAX_PART_BYTES`; no frame for no bytes. */
  sendParts(type: FrameType, call: number, bytes: Uint8Array): boolean {
    for (let at = 0; at < bytes.length; at += MAX_PART_BYTES) {
      if (!this.send(type, call, bytes.subarray(at, at + MAX_PART_BYTES))) return false
    }
    return !this.ended
  }

  /** Queues a tool result, as one RESULT_END or with RESULT_PARTs before it. */
  sendResult(call: number, result: string): boolean {
    if (result.length * MAX_BYTES_PER_CHARACTER <= MAX_PART_BYTES) {
      return this.send(FRAME.RESULT_END, call, result)
    }
    const sent = this.sendParts(FRAME.RESULT_PART, call, Buffer.from(result))
    return sent && this.send(FRAME.RESULT_END, call)
  }

  /** Ends the connection now; what the socket takes at once is still sent. */
  end(reason: string): void {
    if (this.#ended !== undefined) return
    if (!this.#blocked) this.#flush()
    this.#finish(reason)
    this.#socket.terminate()
  }

  /** Socket events; called by `frame-socket.ts` only. */
  readonly events = {
    data: (chunk: Uint8Array) => {
      if (this.#allowance === undefined) this.#receive(chunk)
      else this.#receivePaced(chunk, this.#allowance)
    },
    drain: () => {
      this.#blocked = false
      this.#flush()
    },
    gone: (reason: string) => this.#finish(reason),
  }

  #begin(type: FrameType, call: number, payloadBytes: number): boolean {
    if (payloadBytes + REST_BYTES > MAX_FRAME_BYTES) {
      throw new RangeError(`a frame of ${payloadBytes} bytes is larger than ${MAX_FRAME_BYTES}`)
    }
    const bytes = HEADER_BYTES + payloadBytes
    const limit = this.#handlers.queueLimitBytes ?? DEFAULT_QUEUE_BYTES
    if (this.#ended !== undefined || this.queuedBytes + bytes > limit) return false
    this.#reserve(bytes)
    writeUint32(this.#out, this.#tail, payloadBytes + REST_BYTES)
    this.#out[this.#tail + 4] = type
    writeUint32(this.#out, this.#tail + 5, call)
    this.#tail += HEADER_BYTES
    return true
  }

  /** There is room: `#begin` has reserved it. */
  #append(part: Uint8Array | string): void {
    if (typeof part === 'string') {
      this.#tail += this.#out.write(part, this.#tail)
    } else {
      this.#out.set(part, this.#tail)
      this.#tail += part.length
    }
  }

  #reserve(bytes: number): void {
    if (this.#tail + bytes <= this.#out.length) return
    const queued = this.queuedBytes
    let size = this.#out.length
    while (size < queued + bytes) size *= 2
    const target = size === this.#out.length ? this.#out : Buffer.allocUnsafeSlow(size)
    target.set(this.#out.subarray(this.#head, this.#tail))
    this.#out = target
    this.#head = 0
    this.#tail = queued
  }

  /** One write for all frames of this turn; a microtask would flush once per call. */
  #arm(): void {
    if (this.#flushArmed || this.#blocked) return
    this.#flushArmed = true
    setImmediate(() => {
      this.#flushArmed = false
      if (!this.#blocked) this.#flush()
    })
  }

  #flush(): void {
    if (this.#ended !== undefined || this.#head === this.#tail) return
    const written = this.#socket.write(this.#out, this.#head, this.#tail - this.#head)
    if (written < 0) {
      this.#finish('the connection was lost')
      return
    }
    this.#head += written
    if (this.#head < this.#tail) {
      this.#blocked = true
      return
    }
    this.#head = 0
    this.#tail = 0
    if (this.#out.length > MAX_FRAME_BYTES) this.#out = Buffer.allocUnsafeSlow(INITIAL_QUEUE_BYTES)
  }

  #finish(reason: string): void {
    if (this.#ended !== undefined) return
    this.#ended = reason
    clearTimeout(this.#deadline)
    clearTimeout(this.#pause)
    this.#partial = undefined
    this.#out = Buffer.alloc(0)
    this.#head = this.#tail = 0
    this.#handlers.onEnd?.(reason, this)
    this.#resolveClosed(reason)
  }

  #receive(chunk: Uint8Array): void {
    try {
      let at = 0
      while (at < chunk.length && this.#ended === undefined) {
        at = this.#partial ? this.#continuePartial(chunk, at) : this.#readWhole(chunk, at)
      }
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error)
      this.end(error instanceof FrameFault ? text : `a frame could not be handled: ${text}`)
    }
  }

  #receivePaced(chunk: Uint8Array, allowance: Allowance): void {
    const begunAt = performance.now()
    this.#receive(chunk)
    const now = performance.now()
    const waitMs = allowance.take(now - begunAt, now)
    if (waitMs === 0 || this.#ended !== undefined || this.#pause !== undefined) return
    this.#socket.pause()
    this.#pause = setTimeout(() => {
      this.#pause = undefined
      // Nothing of a frame could arrive meanwhile.
      this.#partialSince += performance.now() - now
      this.#socket.resume()
    }, waitMs)
  }

  #readWhole(chunk: Uint8Array, at: number): number {
    const left = chunk.length - at
    if (left >= 4) {
      const size = 4 + restBytesAt(chunk, at)
      if (left >= size) {
        this.#handle(chunk, at, at + size)
        return at + size
      }
      this.#startPartial(size)
    } else {
      this.#startPartial(4)
    }
    return this.#continuePartial(chunk, at)
  }

  #startPartial(size: number): void {
    this.#partial = new Uint8Array(size)
    this.#partialBytes = 0
    this.#partialSince = performance.now()
    this.#armDeadline()
  }

  #continuePartial(chunk: Uint8Array, at: number): number {
    const partial = this.#partial
    if (!partial) return at
    const take = Math.min(partial.length - this.#partialBytes, chunk.length - at)
    partial.set(chunk.subarray(at, at + take), this.#partialBytes)
    this.#partialBytes += take
    if (this.#partialBytes < partial.length) return at + take
    if (partial.length === 4) {
      const whole = new Uint8Array(4 + restBytesAt(partial, 0))
      whole.set(partial)
      this.#partial = whole
      return at + take
    }
    this.#partial = undefined
    this.#handle(partial, 0, partial.length)
    return at + take
  }

  /** One timer at most per deadline, however many frames arrive in pieces. */
  #armDeadline(): void {
    if (this.#deadline !== undefined) return
    const limitMs = this.#handlers.frameDeadlineMs ?? FRAME_DEADLINE_MS
    const check = () => {
      this.#deadline = undefined
      if (!this.#partial) return
      const leftMs = limitMs - (performance.now() - this.#partialSince)
      if (this.#pause !== undefined)
        this.#deadline = setTimeout(check, Math.max(leftMs, LONGEST_PAUSE_MS))
      else if (leftMs <= 0) this.end(`a frame did not arrive whole within ${limitMs} ms`)
      else this.#deadline = setTimeout(check, leftMs)
    }
    this.#deadline = setTimeout(check, limitMs)
  }

  #handle(bytes: Uint8Array, start: number, end: number): void {
    const type = bytes[start + 4] as FrameType
    if (!this.#accept.has(type)) throw new FrameFault(`frame type ${type} is not accepted here`)
    const call = readUint32(bytes, start + 5)
    const payload = bytes.subarray(start + HEADER_BYTES, end)
    this.#handlers.onFrame({ type, call, payload }, this)
  }
}

function restBytesAt(bytes: Uint8Array, at: number): number {
  const rest = readUint32(bytes, at)
  if (rest < REST_BYTES || rest > MAX_FRAME_BYTES) {
    throw new FrameFault(`a frame says it has ${rest} bytes; allowed are 5 to ${MAX_FRAME_BYTES}`)
  }
  return rest
}
