/** Decoding compressed answers under a cap: a few kilobytes can stand for gigabytes. */
import { promisify } from 'node:util'
import { brotliDecompress, gunzip, inflate, zstdDecompress } from 'node:zlib'
import { EgressError } from './egress-policy.ts'

const decoders = {
  gzip: promisify(gunzip),
  'x-gzip': promisify(gunzip),
  deflate: promisify(inflate),
  br: promisify(brotliDecompress),
  zstd: promisify(zstdDecompress),
}

/** The body without its content coding (RFC 9110 section 8.4), though `identity` was asked for. Throws EgressError. */
export async function decodeBody(
  body: Uint8Array,
  coding: string | undefined,
  limitBytes: number,
  host: string,
): Promise<Uint8Array> {
  const name = (coding ?? 'identity').trim().toLowerCase()
  if (name === 'identity' || body.length === 0) return body
  if (!Object.hasOwn(decoders, name)) {
    throw new EgressError('answer_invalid', `${host} answered in a coding nobody asked for.`, host)
  }
  try {
    return await decoders[name as keyof typeof decoders](body, { maxOutputLength: limitBytes })
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ERR_BUFFER_TOO_LARGE') {
      const message = `The answer of ${host} is larger than ${limitBytes} bytes.`
      throw new EgressError('answer_too_large', message, host)
    }
    throw new EgressError('answer_invalid', `${host} sent a body that does not decompress.`, host)
  }
}
