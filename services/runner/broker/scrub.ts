/** Finds a secret in an answer in the spellings that servers echo: raw, escaped, per cent, base64, hex. */

/** Shorter values are words: they cannot be told from honest text, and are not looked for. */
const MIN_SCRUBBED_BYTES = 6
const WINDOW_CHARACTERS = 64
/** Searched in one go; other sandboxes' requests run between two slices. */
const SLICE_BYTES = 128 * 1024
/** Longer than any spelling of two windows. */
const OVERLAP_BYTES = 16 * 1024
/** Repetitions in patterns are bounded: an answer of backslashes only would else take hours. */
const BACKSLASHES = '\\\\{1,8}'

export type Scrubber = {
  /** Whether any part of the answer holds any of the secrets. */
  finds(answer: {
    headers: readonly (readonly [string, string])[]
    body: Uint8Array
  }): Promise<boolean>
}

/** One search for all spellings of these values. */
export function scrubber(values: readonly string[]): Scrubber {
  const texts = new Set(values.filter(isLongEnough).flatMap(windowsOf))
  if (texts.size === 0) return { finds: async () => false }
  const pattern = new RegExp([...texts].flatMap(patternsOf).join('|'))
  return {
    async finds({ headers, body }) {
      if (pattern.test(headers.map(([name, value]) => `${name}: ${value}`).join('\n'))) return true
      // Latin-1 keeps every byte one character, so that no encoding of the answer hides anything.
      const text = Buffer.from(body.buffer, body.byteOffset, body.length)
      for (let at = 0; at < text.length; at += SLICE_BYTES) {
        if (pattern.test(text.toString('latin1', at, at + SLICE_BYTES + OVERLAP_BYTES))) return true
        if (at + SLICE_BYTES < text.length) await new Promise(setImmediate)
      }
      return false
    },
  }
}

/** Long values are looked for by their start, middle and end: whoever echoes the whole echoes these. */
function windowsOf(text: string): string[] {
  const characters = [...text]
  if (characters.length <= 2 * WINDOW_CHARACTERS) return [text]
  const middle = Math.floor((characters.length - WINDOW_CHARACTERS) / 2)
  return [0, middle, characters.length - WINDOW_CHARACTERS].map((at) =>
    characters.slice(at, at + WINDOW_CHARACTERS).join(''),
  )
}

function isLongEnough(text: string): boolean {
  return Buffer.byteLength(text) >= MIN_SCRUBBED_BYTES
}

function patternsOf(text: string): string[] {
  const bytes = Buffer.from(text, 'utf8')
  const encoded = [
    ...base64Cores(bytes).map((core) => spelled(core, base64Character)),
    [...bytes].map((byte) => anyCase(hex(byte, 2))).join('(?:[:\\s-]|%20|0x)?'),
    // UTF-16, little-endian or ASCII in any order: without the last byte, which may belong to what follows.
    literal(Buffer.from(text, 'utf16le').subarray(0, -1).toString('latin1')),
  ]
  return [spelled(text, character), ...encoded]
}

/**
 * The base64 characters that bytes determine at each of the three alignments, whatever stands before and after them:
 * `Basic base64("user:" + key)` shows the key at any of these.
 */
function base64Cores(bytes: Buffer): string[] {
  return [0, 1, 2].map((before) => {
    const padded = Buffer.concat([Buffer.alloc(before), bytes])
    const characters = padded.toString('base64').replaceAll('=', '')
    const firstWhole = Math.ceil((before * 8) / 6)
    const lastWhole = Math.floor((padded.length * 8) / 6)
    return characters.slice(firstWhole, lastWhole)
  })
}

function spelled(text: string, spellings: (character: string) => string): string {
  return (text.match(/\\+|[^\\]/gsu) ?? []).map(spellings).join('')
}

/** A run of backslashes as one unit: backslash by backslash it could be split in exponentially many ways. */
function backslashes(count: number): string {
  const forms = [
    // As it is, and escaped once, twice and three times.
    ...[8, 4, 2, 1].map((times) => `\\\\{${times * count}}`),
    `(?:%(?:25){0,4}5[cC]){${count}}`,
    `(?:${BACKSLASHES}u005[cC]){${count}}`,
    `(?:&#0{0,6}92;?){${count}}`,
  ]
  return `(?:${forms.join('|')})`
}

/** One character as UTF-8 bytes, per cent escapes, JSON and HTML escapes; case of escapes does not matter. */
function character(text: string): string {
  if (text.startsWith('\\')) return backslashes(text.length)
  const bytes = [...Buffer.from(text, 'utf8')]
  const point = text.codePointAt(0) ?? 0
  const units = Array.from({ length: text.length }, (_, at) => text.charCodeAt(at))
  const forms = [
    literal(Buffer.from(bytes).toString('latin1')),
    bytes.map((byte) => `%(?:25){0,4}${anyCase(hex(byte, 2))}`).join(''),
    units.map((unit) => `${BACKSLASHES}u${anyCase(hex(unit, 4))}`).join(''),
    bytes.map((byte) => `${BACKSLASHES}x${anyCase(hex(byte, 2))}`).join(''),
    `&#0{0,6}${point};?`,
    `&#[xX]0{0,6}${anyCase(hex(point, 1))};?`,
  ]
  // A character beyond Latin-1's bytes may come as Latin-1 itself when the server decoded UTF-8.
  if (point >= 0x80 && point <= 0xff) forms.push(literal(text))
  if (/[/"]/.test(text)) forms.push(`${BACKSLASHES}${literal(text)}`)
  if (text === ' ') forms.push('\\+')
  const entity = entities[text]
  if (entity !== undefined) forms.push(`&${entity};?`)
  return `(?:${forms.join('|')})`
}

const entities: Readonly<Record<string, string>> = {
  '&': 'amp',
  '<': 'lt',
  '>': 'gt',
  '"': 'quot',
  "'": 'apos',
  '/': 'sol',
  '+': 'plus',
  '=': 'equals',
}

/** Both alphabets of RFC 4648, line breaks between characters, and escapes of the characters that URLs and JSON escape. */
function base64Character(text: string): string {
  const gap = `(?:\\r?\\n|${BACKSLASHES}[rn]|%0[aAdD]){0,4}`
  if (text === '+' || text === '-') return `(?:\\+|-|%2[bBdD]|${BACKSLASHES}u002[bBdD])${gap}`
  if (text === '/' || text === '_') {
    return `(?:(?:${BACKSLASHES})?/|_|%2[fF]|%5[fF]|${BACKSLASHES}u002[fF])${gap}`
  }
  return `${text}${gap}`
}

function hex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, '0')
}

function anyCase(digits: string): string {
  return digits.replaceAll(/[a-f]/g, (digit) => `[${digit}${digit.toUpperCase()}]`)
}

function literal(text: string): string {
  return [...text].map((each) => `\\x${hex(each.charCodeAt(0), 2)}`).join('')
}
