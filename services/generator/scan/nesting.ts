/** Nesting of hostile text, counted byte by byte before any recursive parser sees it. */

/** Far beyond what people write, far below the 20,000 at which the parser's process dies. */
export const MAX_CODE_NESTING = 400

const OPENERS = new Set([...'([{'].map((character) => character.charCodeAt(0)))
const CLOSERS = new Set([...')]}'].map((character) => character.charCodeAt(0)))

/** The deepest nesting of brackets. Brackets in strings count too: too much is refused, never too little. */
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
