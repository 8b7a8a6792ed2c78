/** From the bytes of a document to its text: the one place where an encoding is decided. */
import { ImportError } from './import-error.ts'

/** What the bytes were read as; `windows-1252`, which Latin-1 is a part of, is a guess. */
export type TextEncoding = 'utf-8' | 'utf-16le' | 'utf-16be' | 'utf-32' | 'windows-1252'
export type DocumentText = { text: string; encoding: TextEncoding }

const LINE_FEED = 0x0a
/** Longer runs beyond ASCII are words of another alphabet, or bytes of characters of several. */
const MAX_LATIN_RUN = 3
/** Windows-1252 has no characters for these. */
const unused: ReadonlySet<number> = new Set([0x81, 0x8d, 0x8f, 0x90, 0x9d])

/** Never answers U+FFFD for bytes that it cannot read: it throws ImportError, with the place. */
export function documentText(bytes: Uint8Array): DocumentText {
  const encoding = encodingOf(bytes)
  if (encoding === 'utf-32') throw unreadable('The document is UTF-32 text. Save it as UTF-8.')
  try {
    return { text: new TextDecoder(encoding, { fatal: true }).decode(bytes), encoding }
  } catch {
    if (encoding !== 'utf-8')
      throw unreadable('The document is UTF-16 text that is cut off. Save it as UTF-8.')
  }
  const at = firstFault(bytes)
  if (looksLatin(bytes)) {
    return { text: new TextDecoder('windows-1252').decode(bytes), encoding: 'windows-1252' }
  }
  const { line, column } = placeOf(bytes, at)
  throw new ImportError({
    code: 'document_malformed',
    message: `The document is not UTF-8 text: the first other byte is in line ${line}, column ${column}. It may be an archive or use an older encoding: save it as UTF-8.`,
    ...{ line, column },
  })
}

/** YAML 1.2.2 section 5.2: by the byte order mark, or by where the zeros of the first, ASCII, character are. */
function encodingOf(bytes: Uint8Array): TextEncoding {
  const [a, b, c, d] = bytes
  if (a === 0xff && b === 0xfe)
    return c === 0 && d === 0 && bytes.length > 2 ? 'utf-32' : 'utf-16le'
  if (a === 0xfe && b === 0xff) return 'utf-16be'
  if (a === 0 && b === 0 && (c === 0xfe || c === 0)) return 'utf-32'
  if (a === 0 && b !== 0 && b !== undefined) return 'utf-16be'
  if (a !== 0 && b === 0) return c === 0 && d === 0 ? 'utf-32' : 'utf-16le'
  return 'utf-8'
}

/** Accented letters and typographic signs among ASCII, as Western European text has them. */
function looksLatin(bytes: Uint8Array): boolean {
  let run = 0
  for (let index = 0; index < bytes.length; index += 1) {
    const byte = bytes[index] ?? 0
    if (byte === 0 || unused.has(byte)) return false
    run = byte < 0x80 ? 0 : run + 1
    if (run > MAX_LATIN_RUN) return false
    // A sign such as ³ inside of a word is a letter of another encoding.
    const isSign = byte >= 0xa1 && byte <= 0xbf
    if (isSign && isLetter(bytes[index - 1]) && isLetter(bytes[index + 1])) return false
  }
  return true
}

function isLetter(byte: number | undefined): boolean {
  return byte !== undefined && /[A-Za-z]/.test(String.fromCharCode(byte))
}

/** Where UTF-8 ends, by halving: a prefix that ends inside of a character is no fault of its own. */
function firstFault(bytes: Uint8Array): number {
  let [sound, faulty] = [0, bytes.length]
  while (faulty - sound > 1) {
    const middle = (sound + faulty) >>> 1
    if (isSound(bytes.subarray(0, middle))) sound = middle
    else faulty = middle
  }
  return sound - openedBefore(bytes, sound)
}

/** How many bytes before a place belong to a character that is not complete there. */
function openedBefore(bytes: Uint8Array, at: number): number {
  for (let back = 1; back <= 3; back += 1) {
    const byte = bytes[at - back] ?? 0
    const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1
    if (length > 1) return length > back ? back : 0
    if (byte < 0x80) return 0
  }
  return 0
}

function isSound(bytes: Uint8Array): boolean {
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(bytes, { stream: true })
    return true
  } catch {
    return false
  }
}

function placeOf(bytes: Uint8Array, at: number): { line: number; column: number } {
  const before = bytes.subarray(0, at)
  const line = before.reduce((count, byte) => count + (byte === LINE_FEED ? 1 : 0), 1)
  const start = before.lastIndexOf(LINE_FEED) + 1
  return { line, column: new TextDecoder().decode(before.subarray(start)).length + 1 }
}

function unreadable(message: string): ImportError {
  return new ImportError({ code: 'document_malformed', message })
}
