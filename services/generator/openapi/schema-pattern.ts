/** Regular expressions of documents as validators compile them: with the `u` flag. */

const MAX_PATTERN = 500
/** What `u` lets a backslash stand before (ECMA-262, SyntaxCharacter and `/`), beside letters and digits. */
const escapable = /[\^$\\.*+?()[\]{}|/A-Za-z0-9]/
/** `{` that opens no quantifier is plain text without `u`. */
const quantifier = /^\{\d+(?:,\d*)?\}/
const classEscape = /^\\[dDwWsS]/

/** The pattern as it means the same with `u`; undefined where it is of another dialect, or too long. */
export function compilablePattern(pattern: string): string | undefined {
  if (pattern.length > MAX_PATTERN) return undefined
  if (compiles(pattern)) return pattern
  const strict = withoutLooseSyntax(pattern)
  return compiles(strict) ? strict : undefined
}

export function compiles(pattern: string): boolean {
  try {
    new RegExp(pattern, 'u')
    return true
  } catch {
    return false
  }
}

/** Without `u`, `\_` is `_`, a brace that counts nothing is itself, and so is the hyphen of `[\w-.]` (ECMA-262 annex B.1.2). */
function withoutLooseSyntax(pattern: string): string {
  let inClass = false
  let written = ''
  for (let at = 0; at < pattern.length; at += 1) {
    const rest = pattern.slice(at)
    const character = pattern.charAt(at)
    if (character === '\\') {
      const next = pattern.charAt(at + 1)
      written += escapable.test(next) || (next === '-' && inClass) ? `\\${next}` : next
      at += 1
    } else if (character === '-' && inClass && isBesideClass(pattern, at)) {
      written += '\\-'
    } else if (!inClass && (character === '}' || (character === '{' && !quantifier.test(rest)))) {
      written += `\\${character}`
    } else {
      const count = inClass ? undefined : quantifier.exec(rest)?.[0]
      written += count ?? character
      at += (count ?? character).length - 1
      if (character === '[') inClass = true
      if (character === ']') inClass = false
    }
  }
  return written
}

function isBesideClass(pattern: string, at: number): boolean {
  return classEscape.test(pattern.slice(at - 2, at)) || classEscape.test(pattern.slice(at + 1))
}
