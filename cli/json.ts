/** JSON from outside: what is none is nothing, and a schema says the rest. */

import { parseExactly } from '@bmm/lib/exact-json'

/** The value, or undefined when the text is no JSON. Numbers that a double would change keep their digits. */
export function parseJson(text: string): unknown {
  try {
    return parseExactly(text).value
  } catch {
    return undefined
  }
}
