/** The frame protocol between gateway, runner, broker, keeper and sandboxes: numbers, limits, control payloads, call ids. */

/** Wire: `u32 length of the rest, u8 type, u32 call, payload`, big endian. Numbers are the protocol: never reuse one. */
export const FRAME = {
  HELLO: 1,
  SEALED: 2,
  LOAD: 3,
  LOADED: 4,
  LOAD_FAILED: 5,
  LOAD_PART: 6,
  CALL: 10,
  RESULT_PART: 20,
  /** Holds the last bytes of the result; most results need no part before it. */
  RESULT_END: 21,
  FAILED: 22,
  PROGRESS: 30,
  LOG: 31,
  CANCEL: 40,
  VERDICT: 41,
  PING: 50,
  PONG: 51,
  FETCH: 60,
  FETCH_BODY: 61,
  FETCH_END: 62,
  RESPONSE: 63,
  RESPONSE_BODY: 64,
  RESPONSE_END: 65,
  FETCH_FAILED: 66,
  ASSIGN: 70,
  ASSIGNED: 71,
  RELEASE: 72,
  IN_FLIGHT: 73,
  IN_FLIGHT_ANSWER: 74,
  EXPECT: 75,
  EXPECTED: 76,
  LINK_FAILED: 77,
  RELEASED: 78,
  KEEPER_START: 80,
  KEEPER_STARTED: 81,
  KEEPER_FAILED: 82,
  KEEPER_STOP: 83,
  KEEPER_STOPPED: 84,
  KEEPER_LIST: 85,
  KEEPER_SLOTS: 86,
  KEEPER_EXITED: 87,
  KEEPER_CHARGE: 88,
} as const
export type FrameType = (typeof FRAME)[keyof typeof FRAME]

/** The largest payload that a sender may put in one frame. */
export const MAX_PART_BYTES = 1024 * 1024
/** What `length` may say at most: a part, the type, the call id and room for a CALL header. */
export const MAX_FRAME_BYTES = MAX_PART_BYTES + 64 * 1024
/** The largest tool result, all parts together. */
export const MAX_RESULT_BYTES = 8 * 1024 * 1024
const MAX_CONTROL_BYTES = 64 * 1024
const MAX_CONTROL_DEPTH = 32
/** Length, type and call id. */
export const HEADER_BYTES = 9
/** What `length` counts beside the payload: type and call id. */
export const REST_BYTES = 5
const MAX_CALL_ID = 0xffff_ffff

const strictDecoder = new TextDecoder('utf-8', { fatal: true })

/** The peer broke the protocol: thrown from a frame handler it ends the connection with this reason. */
export class FrameFault extends Error {
  override name = 'FrameFault'
}

/** `payload` is a view of the received chunk: copy it to keep it beyond the handler. */
export type Frame = {
  type: FrameType
  call: number
  payload: Uint8Array
}

/** The JSON of a control payload. Throws FrameFault when it is too large, too deep, not UTF-8 or not JSON. */
export function parseControl(payload: Uint8Array, limitBytes = MAX_CONTROL_BYTES): unknown {
  if (payload.length > limitBytes) throw new FrameFault('a control payload is too large')
  if (!isFlat(payload) && nestingOf(payload) > MAX_CONTROL_DEPTH)
    throw new FrameFault('a control payload is too deep')
  try {
    return JSON.parse(strictDecoder.decode(payload))
  } catch {
    throw new FrameFault('a control payload is not JSON')
  }
}

/** Header and argument bytes of a CALL; the arguments stay opaque. Throws FrameFault. */
export function parseCall(payload: Uint8Array): { header: unknown; args: Uint8Array } {
  if (payload.length < 4) throw new FrameFault('a call has no header')
  const length = readUint32(payload, 0)
  if (length > payload.length - 4) throw new FrameFault('a call is shorter than its header')
  return {
    header: parseControl(payload.subarray(4, 4 + length)),
    args: payload.subarray(4 + length),
  }
}

/** Big endian. By hand, because a DataView for each frame costs more than reading it. */
export function readUint32(bytes: Uint8Array, at: number): number {
  const high = ((bytes[at] ?? 0) << 24) | ((bytes[at + 1] ?? 0) << 16)
  return (high | ((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0)) >>> 0
}

export function writeUint32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24
  bytes[at + 1] = value >>> 16
  bytes[at + 2] = value >>> 8
  bytes[at + 3] = value
}

/** One object without another bracket in it, as most control payloads are: seen without a look at every byte. */
function isFlat(json: Uint8Array): boolean {
  return json.lastIndexOf(0x7b) <= 0 && json.indexOf(0x5b) < 0
}

/** The deepest nesting of `{` and `[` outside strings, found without parsing: parsers recurse. */
export function nestingOf(json: Uint8Array): number {
  let depth = 0
  let deepest = 0
  let inString = false
  for (let at = 0; at < json.length; at++) {
    const byte = json[at]
    if (inString) {
      if (byte === 0x5c) at++
      else if (byte === 0x22) inString = false
    } else if (byte === 0x22) inString = true
    else if (byte === 0x7b || byte === 0x5b) {
      if (++depth > deepest) deepest = depth
    } else if (byte === 0x7d || byte === 0x5d) depth--
  }
  return deepest
}

/** Call ids of one connection, ascending and never reused: `next` gives, `admit` checks those that arrive. */
export function callIds(): { next(): number; admit(call: number): void } {
  let last = 0
  return {
    next() {
      if (last === MAX_CALL_ID) throw new FrameFault('the connection has used all its call ids')
      return ++last
    },
    admit(call) {
      if (call <= last) throw new FrameFault(`call id ${call} was used before`)
      last = call
    },
  }
}
