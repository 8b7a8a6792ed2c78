/** Request bodies: read up to a size and within a time, of the expected media type only. */

const READ_TIMEOUT_MS = 30_000

export type BodyFaultKind = 'too_large' | 'too_slow' | 'media_type' | 'aborted'

/** A body that is not read; the message is a sentence. */
export class BodyFault extends Error {
  override name = 'BodyFault'
  readonly status: number
  constructor(
    readonly kind: BodyFaultKind,
    message: string,
  ) {
    super(message)
    this.status = { too_large: 413, too_slow: 408, media_type: 415, aborted: 400 }[kind]
  }
}

export type BodyRules = { mediaType: string; limitBytes: number; timeoutMs?: number }

/** All bytes of the body. Throws BodyFault. */
export async function readBody(request: Request, rules: BodyRules): Promise<Uint8Array> {
  const { mediaType, limitBytes, timeoutMs = READ_TIMEOUT_MS } = rules
  if (mediaTypeOf(request) !== mediaType) {
    throw new BodyFault('media_type', `The Content-Type must be ${mediaType}.`)
  }
  const tooLarge = () =>
    new BodyFault('too_large', `The body may have at most ${limitBytes} bytes.`)
  const declared = request.headers.get('content-length')
  if (Number(declared ?? 0) > limitBytes) throw tooLarge()
  const late = Promise.withResolvers<never>()
  const timer = setTimeout(
    () => late.reject(new BodyFault('too_slow', 'The body did not arrive in time.')),
    timeoutMs,
  )
  try {
    const bytes = await (declared === null
      ? readParts(request, limitBytes, late.promise)
      : // A stream costs more than all else that is done to a small body.
        Promise.race([request.bytes(), late.promise]))
    if (bytes === undefined || bytes.length > limitBytes) throw tooLarge()
    return bytes
  } catch (error) {
    throw error instanceof BodyFault
      ? error
      : new BodyFault('aborted', 'The body broke off before its end.')
  } finally {
    clearTimeout(timer)
  }
}

/** A body that does not say how long it is; undefined when it is longer than the limit. */
async function readParts(
  request: Request,
  limitBytes: number,
  late: Promise<never>,
): Promise<Uint8Array | undefined> {
  if (request.body === null) return new Uint8Array(0)
  const reader = request.body.getReader()
  try {
    const chunks: Uint8Array[] = []
    let bytes = 0
    for (;;) {
      const { done, value } = await Promise.race([reader.read(), late])
      if (done) return chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks)
      bytes += value.length
      if (bytes > limitBytes) break
      chunks.push(value)
    }
  } catch (error) {
    reader.cancel().catch(() => {})
    throw error
  }
  reader.cancel().catch(() => {})
  return undefined
}

/** The media type without its parameters, lower case. */
export function mediaTypeOf(request: Request): string {
  return (request.headers.get('content-type') ?? '').split(';')[0]?.trim().toLowerCase() ?? ''
}

/** Whether the Accept header names the media type itself. */
export function accepts(request: Request, mediaType: string): boolean {
  return (request.headers.get('accept') ?? '')
    .split(',')
    .some((range) => range.split(';')[0]?.trim().toLowerCase() === mediaType)
}
