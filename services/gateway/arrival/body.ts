/** Request bodies: read up to a size and within a time, of the expected media type only. */
import { createDeadlines, type Deadlines } from '@bmm/lib/deadlines'

const READ_TIMEOUT_MS = 30_000

export type BodyFaultKind = 'too_large' | 'too_slow' | 'media_type' | 'content_coding' | 'aborted'

const statuses: Readonly<Record<BodyFaultKind, number>> = {
  too_large: 413,
  too_slow: 408,
  media_type: 415,
  content_coding: 415,
  aborted: 400,
}

/** A body that is not read; the message is a sentence. */
export class BodyFault extends Error {
  override name = 'BodyFault'
  readonly status: number
  /** RFC 9110 section 12.5.3: this field says which codings would have been taken. */
  readonly headers: Record<string, string>
  constructor(
    readonly kind: BodyFaultKind,
    message: string,
  ) {
    super(message)
    this.status = statuses[kind]
    this.headers = kind === 'content_coding' ? { 'accept-encoding': 'identity' } : {}
  }
}

export type BodyRules = {
  mediaType: string
  limitBytes: number
  timeoutMs?: number
  /** Where many bodies are read; each has a timer of its own otherwise. */
  deadlines?: Deadlines
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
  const parts = declared === null ? readParts(request, limitBytes) : undefined
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
function readParts(request: Request, limitBytes: number) {
  const reader = request.body?.getReader()
  const giveUp = () => void reader?.cancel().catch(() => {})
  async function read(): Promise<Uint8Array | undefined> {
    const chunks: Uint8Array[] = []
    let bytes = 0
    for (;;) {
      const { done, value } = (await reader?.read()) ?? { done: true }
      if (done || value === undefined) return Buffer.concat(chunks)
      bytes += value.length
      if (bytes > limitBytes) break
      chunks.push(value)
    }
    giveUp()
    return undefined
  }
  return { whole: read(), giveUp }
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
