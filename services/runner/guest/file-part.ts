/** Media type and name of a file that a model gives as bare bytes: APIs look at both. */

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

/** What the bytes look like; `application/octet-stream` when nothing is known. */
export function typeOfBytes(bytes: Uint8Array): string {
  const found = signatures.find(
    ([, offset, hex]) => bytes.subarray(offset, offset + hex.length / 2).toHex() === hex,
  )
  return found?.[0] ?? 'application/octet-stream'
}

/** The field's name with an extension that fits the type, unless it has one. */
export function fileName(field: string, type: string): string {
  const bare = (type.split(';', 1)[0] ?? '').trim().toLowerCase()
  return /\.\w{1,8}$/.test(field) ? field : `${field}.${extensions[bare] ?? 'bin'}`
}
