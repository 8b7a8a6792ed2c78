/** JSON from strangers: checked for encoding, depth and repeated keys by a scan, before any parser recurses into it. */

export type JsonFaultKind = 'encoding' | 'syntax' | 'too_deep' | 'duplicate_key'

/** Text that is refused; the message is a sentence and holds nothing of the text. */
export class JsonFault extends Error {
  override name = 'JsonFault'
  constructor(readonly kind: JsonFaultKind) {
    super(sentences[kind])
  }
}

const sentences: Record<JsonFaultKind, string> = {
  encoding: 'The body must be UTF-8 without a byte order mark.',
  syntax: 'The body is not valid JSON.',
  too_deep: 'The body is nested too deeply.',
  duplicate_key: 'The body has an object that names a key twice.',
}

const MAX_JSON_DEPTH = 64

export type JsonRules = {
  /** Nested brackets at most; MAX_JSON_DEPTH when absent. */
  maxDepth?: number
  /** The last one wins then, as in JSON.parse. */
  repeatedKeys?: 'refused' | 'allowed'
}

/** `ignoreBOM` keeps a byte order mark in the text, so that it can be refused. */
const strictDecoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** The parsed value. Throws JsonFault only. */
export function parseJson(bytes: Uint8Array, rules: JsonRules = {}): unknown {
  const text = decode(bytes)
  checkStructure(text, rules.maxDepth ?? MAX_JSON_DEPTH, rules.repeatedKeys !== 'allowed')
  try {
    return JSON.parse(text)
  } catch {
    throw new JsonFault('syntax')
  }
}

/** A JSON object, as opposed to an array, null or a plain value. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function decode(bytes: Uint8Array): string {
  let text: string
  try {
    text = strictDecoder.decode(bytes)
  } catch {
    throw new JsonFault('encoding')
  }
  if (text.charCodeAt(0) === 0xfeff) throw new JsonFault('encoding')
  return text
}

const QUOTE = 0x22
const BACKSLASH = 0x5c
const COMMA = 0x2c

/** Right for every valid JSON text; an invalid one may pass here, the parser refuses it next. */
function checkStructure(text: string, maxDepth: number, uniqueKeys: boolean): void {
  /** One entry an open bracket: the keys of an object so far, or undefined for an array. */
  const open: (Set<string> | undefined)[] = []
  let keyNext = false
  for (let at = 0; at < text.length; at++) {
    switch (text.charCodeAt(at)) {
      case QUOTE: {
        const end = endOfString(text, at)
        if (keyNext && uniqueKeys) remember(open.at(-1), text.slice(at, end + 1))
        keyNext = false
        at = end
        break
      }
      case 0x7b: // {
      case 0x5b: // [
        keyNext = text.charCodeAt(at) === 0x7b
        open.push(keyNext && uniqueKeys ? new Set() : undefined)
        if (open.length > maxDepth) throw new JsonFault('too_deep')
        break
      case 0x7d: // }
      case 0x5d: // ]
        open.pop()
        keyNext = false
        break
      case COMMA:
        keyNext = open.at(-1) !== undefined
        break
    }
  }
}

function endOfString(text: string, start: number): number {
  let end = text.indexOf('"', start + 1)
  while (end !== -1) {
    let before = end - 1
    while (text.charCodeAt(before) === BACKSLASH) before--
    if ((end - before) % 2 === 1) return end
    end = text.indexOf('"', end + 1)
  }
  throw new JsonFault('syntax')
}

/** Compares keys after unescaping: `"a"` and `"\u0061"` are one key to every parser. */
function remember(keys: Set<string> | undefined, quoted: string): void {
  let key = quoted
  if (quoted.includes('\\')) {
    try {
      key = JSON.stringify(JSON.parse(quoted))
    } catch {
      throw new JsonFault('syntax')
    }
  }
  if (keys?.has(key)) throw new JsonFault('duplicate_key')
  keys?.add(key)
}
