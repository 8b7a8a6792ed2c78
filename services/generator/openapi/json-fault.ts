/** Where a text stops being JSON: the engine's parser tells no position, people need line and path. */
import { pointerTo } from './json.ts'

export type TextFault = {
  message: string
  line: number
  column: number
  /** JSON pointer of the value in which the fault lies. */
  path: string
}

const spaces = new Set([' ', '\t', '\n', '\r'])
const numberPattern = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y
const wordPattern = /true|false|null/y

class Fault extends Error {
  constructor(
    readonly reason: string,
    readonly index: number,
    readonly at: string,
  ) {
    super(reason)
  }
}

/** The first fault of a text whose nesting was bounded before; undefined when it is JSON (RFC 8259). */
export function jsonFault(text: string): TextFault | undefined {
  try {
    const end = skipSpaces(text, readValue(text, skipSpaces(text, 0), ''))
    if (end < text.length)
      throw new Fault('there is more text after the end of the document', end, '')
    return undefined
  } catch (error) {
    if (!(error instanceof Fault)) throw error
    return { message: error.reason, path: error.at, ...lineAndColumn(text, error.index) }
  }
}

/** Both count from 1. */
export function lineAndColumn(text: string, index: number): { line: number; column: number } {
  let line = 1
  let start = 0
  for (
    let next = text.indexOf('\n');
    next !== -1 && next < index;
    next = text.indexOf('\n', start)
  ) {
    line += 1
    start = next + 1
  }
  return { line, column: index - start + 1 }
}

function skipSpaces(text: string, from: number): number {
  let index = from
  while (spaces.has(text.charAt(index))) index += 1
  return index
}

/** The index after the value that starts at `index`. */
function readValue(text: string, index: number, at: string): number {
  const first = text.charAt(index)
  if (first === '{') return readObject(text, index, at)
  if (first === '[') return readArray(text, index, at)
  if (first === '"') return readString(text, index, at)
  for (const pattern of [wordPattern, numberPattern]) {
    pattern.lastIndex = index
    if (pattern.test(text)) return pattern.lastIndex
  }
  throw new Fault(unexpected(text, index, 'a value'), index, at)
}

function readObject(text: string, start: number, at: string): number {
  let index = skipSpaces(text, start + 1)
  if (text.charAt(index) === '}') return index + 1
  for (;;) {
    if (text.charAt(index) !== '"') {
      throw new Fault(unexpected(text, index, 'a property name in double quotes'), index, at)
    }
    const end = readString(text, index, at)
    const here = pointerTo(at, text.slice(index + 1, end - 1))
    index = skipSpaces(text, end)
    if (text.charAt(index) !== ':') {
      throw new Fault(unexpected(text, index, 'a colon after the property name'), index, here)
    }
    index = skipSpaces(text, readValue(text, skipSpaces(text, index + 1), here))
    if (text.charAt(index) === '}') return index + 1
    if (text.charAt(index) !== ',') {
      throw new Fault(unexpected(text, index, 'a comma or "}"'), index, here)
    }
    index = skipSpaces(text, index + 1)
  }
}

function readArray(text: string, start: number, at: string): number {
  let index = skipSpaces(text, start + 1)
  if (text.charAt(index) === ']') return index + 1
  for (let item = 0; ; item += 1) {
    const here = pointerTo(at, item)
    index = skipSpaces(text, readValue(text, index, here))
    if (text.charAt(index) === ']') return index + 1
    if (text.charAt(index) !== ',') {
      throw new Fault(unexpected(text, index, 'a comma or "]"'), index, here)
    }
    index = skipSpaces(text, index + 1)
  }
}

function readString(text: string, start: number, at: string): number {
  for (let index = start + 1; index < text.length; index += 1) {
    const code = text.charCodeAt(index)
    if (code === 0x22) return index + 1
    if (code < 0x20) {
      throw new Fault('a line break or control character stands inside a string', index, at)
    }
    if (code !== 0x5c) continue
    index += 1
    const escaped = text.charAt(index)
    if (escaped === 'u' && /^[0-9a-fA-F]{4}$/.test(text.slice(index + 1, index + 5))) index += 4
    else if (!'"\\/bfnrt'.includes(escaped) || escaped === '') {
      throw new Fault('a backslash in a string starts no known escape', index - 1, at)
    }
  }
  throw new Fault('a string is not closed', start, at)
}

function unexpected(text: string, index: number, wanted: string): string {
  const found = index >= text.length ? 'the document ends' : `"${text.charAt(index)}" stands`
  return `${found} where ${wanted} was expected`
}
