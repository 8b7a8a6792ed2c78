/** A file as a model gives it, and which media type and name it is sent with: APIs look at both. */
import { RequestError } from './request-error.ts'

/** What the model said of it beside its bytes. */
export type GivenFile = { bytes: Uint8Array; type: string | undefined; name: string | undefined }

const MAX_NAME = 255
const mediaType = /^[\w!#$&^.+-]+\/[\w!#$&^.+-]+(?:\s*;[\x20-\x7e]*)?$/

/** First bytes of common formats (`offset`, hexadecimal). */
const signatures: readonly (readonly [type: string, offset: number, hex: string])[] = [
  ['image/png', 0, '89504e470d0a1a0a'],
  ['image/jpeg', 0, 'ffd8ff'],
  ['image/gif', 0, '47494638'],
  ['image/webp', 8, '57454250'],
  ['application/pdf', 0, '255044462d'],
  ['application/zip', 0, '504b0304'],
  ['application/gzip', 0, '1f8b'],
  ['audio/wav', 8, '57415645'],
  ['audio/mpeg', 0, '494433'],
  ['audio/mpeg', 0, 'fffb'],
  ['audio/ogg', 0, '4f676753'],
  ['audio/flac', 0, '664c6143'],
  ['video/mp4', 4, '66747970'],
  ['video/webm', 0, '1a45dfa3'],
]
const extensions: Readonly<Record<string, string>> = {
  'image/png': 'png',
  'image/jpeg': 'jpg',
  'image/gif': 'gif',
  'image/webp': 'webp',
  'image/svg+xml': 'svg',
  'application/pdf': 'pdf',
  'application/zip': 'zip',
  'application/gzip': 'gz',
  'application/json': 'json',
  'application/xml': 'xml',
  'audio/wav': 'wav',
  'audio/mpeg': 'mp3',
  'audio/ogg': 'ogg',
  'audio/flac': 'flac',
  'video/mp4': 'mp4',
  'video/webm': 'webm',
  'text/csv': 'csv',
  'text/plain': 'txt',
}

/** A file given as base64, as a data URL (RFC 2397), or as an object with name, type and data. Throws RequestError. */
export function fileFrom(value: unknown, key: string): GivenFile {
  if (typeof value === 'string') return { ...contentFrom(value, key), name: undefined }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new RequestError(`"${key}" must be base64 text, or an object with name, type and data.`)
  }
  const { name, type, data } = value as { name?: unknown; type?: unknown; data?: unknown }
  if (typeof data !== 'string') throw new RequestError(`"${key}" must have "data": base64 text.`)
  if (name !== undefined && (typeof name !== 'string' || name === '' || name.length > MAX_NAME)) {
    throw new RequestError(`The "name" of "${key}" must be 1 to ${MAX_NAME} characters of text.`)
  }
  if (type !== undefined && (typeof type !== 'string' || !mediaType.test(type))) {
    throw new RequestError(`The "type" of "${key}" must be a media type such as text/csv.`)
  }
  const content = contentFrom(data, key)
  return { bytes: content.bytes, type: type ?? content.type, name }
}

function contentFrom(text: string, key: string): Pick<GivenFile, 'bytes' | 'type'> {
  const [head, own, isBase64] = /^data:([^,]{0,200}?)(;base64)?,/i.exec(text) ?? []
  if (head === undefined) return { bytes: bytesFrom(text, key), type: undefined }
  const type = own !== undefined && mediaType.test(own) ? own : undefined
  const content = text.slice(head.length)
  if (isBase64 !== undefined) return { bytes: bytesFrom(content, key), type }
  try {
    return { bytes: new TextEncoder().encode(decodeURIComponent(content)), type }
  } catch {
    throw new RequestError(
      `"${key}" is a data URL with a wrong escape: give its content as base64.`,
    )
  }
}

/** Base64 of either alphabet (RFC 4648). */
function bytesFrom(text: string, key: string): Uint8Array {
  try {
    const plain = text.replaceAll(/\s/g, '').replaceAll('-', '+').replaceAll('_', '/')
    return Uint8Array.fromBase64(plain)
  } catch {
    throw new RequestError(`"${key}" is not valid base64.`)
  }
}

/** What the model says; else, of the allowed types (a list with commas), the one that fits name or bytes. */
export function typeOfFile({ type, name, bytes }: GivenFile, allowed: string | undefined): string {
  if (type !== undefined) return type
  const likely = [typeOfName(name), knownType(bytes)].filter((one) => one !== undefined)
  const ranges = (allowed ?? '*/*').split(',').map((range) => range.trim())
  const fitting = likely.find((one) => ranges.some((range) => isIn(one, range)))
  return fitting ?? ranges.find((range) => !range.includes('*')) ?? 'application/octet-stream'
}

function isIn(type: string, range: string): boolean {
  const bare = (range.split(';', 1)[0] ?? '').trim().toLowerCase()
  return (
    bare === '*/*' || bare === type || (bare.endsWith('/*') && type.startsWith(bare.slice(0, -1)))
  )
}

function typeOfName(name: string | undefined): string | undefined {
  const extension = /\.(\w{1,8})$/.exec(name ?? '')?.[1]?.toLowerCase()
  return Object.entries(extensions).find(([, known]) => known === extension)?.[0]
}

function knownType(bytes: Uint8Array): string | undefined {
  return signatures.find(
    ([, offset, hex]) => bytes.subarray(offset, offset + hex.length / 2).toHex() === hex,
  )?.[0]
}

/** The field's name with an extension that fits the type, unless it has one. */
export function fileName(field: string, type: string): string {
  const bare = (type.split(';', 1)[0] ?? '').trim().toLowerCase()
  return /\.\w{1,8}$/.test(field) ? field : `${field}.${extensions[bare] ?? 'bin'}`
}
