/** Request bodies: read up to a size and within a time, of the expected media type only. */
import { createDeadlines, type Deadlines } from '@bmm/lib/deadlines'

const READ_TIMEOUT_MS = 30_000
/** What a body that does not say how long it is may come to before its buffer grows. */
const FIRST_BYTES = 16 * 1024

export type BodyFaultKind =
  | 'too_large'
  | 'too_slow'
  | 'too_many'
  | 'media_type'
  | 'content_coding'
  | 'aborted'

const statuses: Readonly<Record<BodyFaultKind, number>> = {
  too_large: 413,
  too_slow: 408,
  too_many: 429,
  media_type: 415,
  content_coding: 415,
  aborted: 400,
}

const headersOf: Partial<Record<BodyFaultKind, Record<string, string>>> = {
  // RFC 9110 section 12.5.3: this field says which codings would have been taken.
  content_coding: { 'accept-encoding': 'identity' },
  // RFC 9110 section 15.5.9: nobody waits for the rest.
  too_slow: { connection: 'close' },
  too_many: { 'retry-after': '2' },
}

/** A body that is not read; the message is a sentence. */
export class BodyFault extends Error {
  override name = 'BodyFault'
  readonly status: number
  readonly headers: Record<string, string>
  constructor(
    readonly kind: BodyFaultKind,
    message: string,
  ) {
    super(message)
    this.status = statuses[kind]
    this.headers = headersOf[kind] ?? {}
  }
}

export type BodyRules = {
  mediaType: string
  limitBytes: number
  timeoutMs?: number
  /** Where many bodies are read; each has a timer of its own otherwise. */
  deadlines?: Deadlines
  /** Finds room for what a body takes that does not say how long it is; undefined when there is none. */
  reserve?: ((bytes: number) => (() => void) | undefined) | undefined
}

/** How long the request says that its body is; undefined when it does not say. */
export function announcedBytes(request: Request): number | undefined {
  const length = request.headers.get('content-length')
  if (length !== null) return Number(length)
  return request.headers.has('transfer-encoding') ? undefined : 0
}

export function tooManyBodies(): BodyFault {
  return new BodyFault('too_many', 'Too many bodies are on their way here. Send fewer at a time.')
}

/** All bytes of the body. Throws BodyFault. */
export async function readBody(request: Request, rules: BodyRules): Promise<Uint8Array> {
  const {
    mediaType,
    limitBytes,
    timeoutMs = READ_TIMEOUT_MS,
    deadlines = createDeadlines(),
  } = rules
  if (mediaTypeOf(request) !== mediaType) {
    throw new BodyFault('media_type', `The Content-Type must be ${mediaType}.`)
  }
  // Nothing is unpacked here: a small body could become a huge one.
  const coding = request.headers.get('content-encoding')?.trim().toLowerCase() ?? ''
  if (coding !== '' && coding !== 'identity') {
    throw new BodyFault(
      'content_coding',
      'A body is taken as it is: send it without Content-Encoding.',
    )
  }
  const declared = request.headers.get('content-length')
  if (declared !== null && Number(declared) > limitBytes) throw tooLarge(limitBytes)
  // A stream costs more than all else that is done to a small body.
  const parts = declared === null ? readParts(request, rules) : undefined
  const { promise, resolve, reject } = Promise.withResolvers<Uint8Array | undefined>()
  const deadline = deadlines.set(timeoutMs, {
    expire() {
      reject(new BodyFault('too_slow', 'The body did not arrive in time.'))
      parts?.giveUp()
    },
  })
  const read = parts?.whole ?? request.bytes()
  read.then(resolve, reject)
  try {
    const bytes = await promise
    if (bytes === undefined || bytes.length > limitBytes) throw tooLarge(limitBytes)
    return bytes
  } catch (error) {
    throw error instanceof BodyFault
      ? error
      : new BodyFault('aborted', 'The body broke off before its end.')
  } finally {
    deadlines.clear(deadline)
  }
}

function tooLarge(limitBytes: number): BodyFault {
  return new BodyFault('too_large', `The body may have at most ${limitBytes} bytes.`)
}

/** A body that does not say how long it is; undefined when it is longer than the limit. */
function readParts(request: Request, { limitBytes, reserve }: BodyRules) {
  const reader = request.body?.getReader()
  const giveUp = () => void reader?.cancel().catch(() => {})
  const held: (() => void)[] = []
  /** One buffer: many a part is a single byte, and an array of its own each would take hundreds. */
  let buffer = new Uint8Array(0)
  let bytes = 0
  function grow(): void {
    const size = Math.min(limitBytes, Math.max(FIRST_BYTES, 2 * bytes))
    if (reserve !== undefined) {
      const release = reserve(size - buffer.length)
      if (release === undefined) throw tooManyBodies()
      held.push(release)
    }
    const larger = new Uint8Array(size)
    larger.set(buffer)
    buffer = larger
  }
  async function read(): Promise<Uint8Array | undefined> {
    for (;;) {
      const { done, value } = (await reader?.read()) ?? { done: true }
      if (done || value === undefined) return buffer.subarray(0, bytes)
      const before = bytes
      bytes += value.length
      if (bytes > limitBytes) return undefined
      if (bytes > buffer.length) grow()
      buffer.set(value, before)
    }
  }
  const whole = read().finally(() => {
    giveUp()
    for (const release of held) release()
  })
  return { whole, giveUp }
}

/** The media type without its parameters, lower case. */
export function mediaTypeOf(request: Request): string {
  const type = request.headers.get('content-type') ?? ''
  return type === 'application/json' ? type : (type.split(';')[0]?.trim().toLowerCase() ?? '')
}

const ranges = {
  'text/event-stream': /(?:^|,)[ \t]*text\/event-stream[ \t]*(?:[;,]|$)/i,
  'text/html': /(?:^|,)[ \t]*text\/html[ \t]*(?:[;,]|$)/i,
} as const

/** Whether the Accept header names the media type itself. */
export function accepts(request: Request, mediaType: keyof typeof ranges): boolean {
  return ranges[mediaType].test(request.headers.get('accept') ?? '')
}
