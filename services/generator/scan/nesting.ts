/** Nesting of hostile text, counted byte by byte before any recursive parser sees it. */

/** Far beyond what people write, far below the 20,000 at which the parser's process dies. */
export const MAX_CODE_NESTING = 400

const OPENERS = new Set([...'([{'].map((character) => character.charCodeAt(0)))
const CLOSERS = new Set([...')]}'].map((character) => character.charCodeAt(0)))

/** The deepest nesting of brackets in code. Brackets in strings count too: too much is refused, never too little. */
export function nestingOf(text: string): number {
  let depth = 0
  let deepest = 0
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index)
    if (OPENERS.has(code)) deepest = Math.max(deepest, ++depth)
    else if (CLOSERS.has(code) && depth > 0) depth--
  }
  return deepest
}

const QUOTE = 0x22
const BACKSLASH = 0x5c

/** The deepest nesting of JSON text; brackets in its strings are text. Malformed text may count too much, never too little. */
export function jsonNestingOf(bytes: Uint8Array): number {
  let depth = 0
  let deepest = 0
  let inString = false
  for (let index = 0; index < bytes.length; index++) {
    const code = bytes[index] ?? 0
    if (inString) {
      if (code === BACKSLASH) index++
      else if (code === QUOTE) inString = false
    } else if (code === QUOTE) inString = true
    else if (OPENERS.has(code)) deepest = Math.max(deepest, ++depth)
    else if (CLOSERS.has(code) && depth > 0) depth--
  }
  return deepest
}
