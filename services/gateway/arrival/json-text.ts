/** Untrusted JSON: checked for encoding, depth and how much it holds by a scan before any parser runs, and for repeated keys. */
import { isRawNumber, parseExactly } from '@bmm/lib/exact-json'

export type JsonFaultKind = 'encoding' | 'syntax' | 'too_deep' | 'too_many_values' | 'duplicate_key'

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
  too_many_values:
    'The body has too many keys and values. Send it in smaller parts, or large data as one string.',
  duplicate_key: 'The body has an object that names a key twice.',
}

const MAX_JSON_DEPTH = 64
/** So many are parsed in up to 3 ms, while everything else waits. */
const MAX_JSON_VALUES = 20_000

export type JsonRules = {
  /** Nested brackets at most; MAX_JSON_DEPTH when absent. */
  maxDepth?: number
  /** Keys, items and nested brackets at most; MAX_JSON_VALUES when absent. */
  maxValues?: number
  /** Hears how many there are, before they are parsed. */
  onCounted?: (values: number) => void
  /** The last one wins then, as in JSON.parse. */
  repeatedKeys?: 'refused' | 'allowed'
  /** `exact`: numbers that a double would change keep their digits (lib/exact-json.ts). */
  numbers?: 'doubles' | 'exact'
}

/** `ignoreBOM` keeps a byte order mark in the text, so that it can be refused. */
const strictDecoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** The parsed value. Throws JsonFault only. */
export function parseJson(bytes: Uint8Array, rules: JsonRules = {}): unknown {
  const text = decode(bytes)
  const { maxDepth = MAX_JSON_DEPTH, maxValues = MAX_JSON_VALUES } = rules
  const { keys: named, values } = countParts(text, maxDepth, maxValues)
  rules.onCounted?.(values)
  const { value, raws } = parsed(text, rules.numbers ?? 'doubles')
  // The parser keeps one of two equal keys, however they were escaped: then the text names more than there are.
  // A raw number looks like an object of one key.
  if (rules.repeatedKeys !== 'allowed' && keysIn(value) - raws !== named) {
    throw new JsonFault('duplicate_key')
  }
  return value
}

/** A JSON object, as opposed to an array, null or a plain value. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !isRawNumber(value)
}

function parsed(text: string, numbers: 'doubles' | 'exact'): { value: unknown; raws: number } {
  try {
    return numbers === 'exact' ? parseExactly(text) : { value: JSON.parse(text), raws: 0 }
  } catch {
    throw new JsonFault('syntax')
  }
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
const COLON = 0x3a
const COMMA = 0x2c
const BACKSLASH = 0x5c
/** Longer strings are searched for their end by the engine. */
const SHORT_STRING = 64

/**
 * How many keys the text names, after a look at its depth and at how much it holds. Right for every valid JSON text; an
 * invalid one may pass here, the parser refuses it next.
 */
function countParts(
  text: string,
  maxDepth: number,
  maxValues: number,
): { keys: number; values: number } {
  let depth = 0
  let keys = 0
  let values = 0
  for (let at = 0; at < text.length; at++) {
    switch (text.charCodeAt(at)) {
      case QUOTE:
        at = endOfString(text, at)
        continue
      case COLON:
        keys++
        break
      case COMMA:
        break
      case 0x7b: // {
      case 0x5b: // [
        if (++depth > maxDepth) throw new JsonFault('too_deep')
        break
      case 0x7d: // }
      case 0x5d: // ]
        depth--
        continue
      default:
        continue
    }
    if (++values > maxValues) throw new JsonFault('too_many_values')
  }
  return { keys, values }
}

function endOfString(text: string, start: number): number {
  // Most strings have no escapes; the engine finds their end fastest.
  const first = text.indexOf('"', start + 1)
  if (first === -1) throw new JsonFault('syntax')
  if (text.charCodeAt(first - 1) !== BACKSLASH) return first
  const near = Math.min(text.length, start + SHORT_STRING)
  let at = start + 1
  while (at < near) {
    const code = text.charCodeAt(at)
    if (code === QUOTE) return at
    at += code === BACKSLASH ? 2 : 1
  }
  let end = text.indexOf('"', at)
  while (end !== -1) {
    let before = end - 1
    while (before >= at && text.charCodeAt(before) === BACKSLASH) before--
    if ((end - before) % 2 === 1) return end
    end = text.indexOf('"', end + 1)
  }
  throw new JsonFault('syntax')
}

/** The keys of all objects in a parsed value; its depth was checked before. */
function keysIn(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0
  let keys = 0
  if (Array.isArray(value)) {
    for (const item of value) keys += keysIn(item)
    return keys
  }
  // What JSON.parse makes inherits nothing that would be met here.
  for (const key in value) {
    keys += 1 + keysIn((value as Record<string, unknown>)[key])
  }
  return keys
}
