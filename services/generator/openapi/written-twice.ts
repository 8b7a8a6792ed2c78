/** Keys that a document writes twice in one object: parsers keep the last, so an operation would vanish without a word. */
import { pointerTo } from './json.ts'

export type WrittenTwice = { path: string; line: number; firstLine: number }

/** Root, `paths`, path, method: deeper down a double key costs a detail, not an operation. */
const MAX_DEPTH = 4
const MAX_FOUND = 20

type Scope = { pointer: string; keys: Map<string, number>; isList: boolean }

/** For JSON that was parsed, so it is well formed. At most 20. */
export function doubleKeysOfJson(text: string): WrittenTwice[] {
  const found: WrittenTwice[] = []
  const scopes: Scope[] = []
  let depth = 0
  let line = 1
  let lastKey = ''
  let nextBreak = text.indexOf('\n')
  const lineAt = (index: number) => {
    for (; nextBreak !== -1 && nextBreak < index; nextBreak = text.indexOf('\n', nextBreak + 1)) {
      line += 1
    }
    return line
  }
  for (let index = 0; index < text.length; index += 1) {
    const code = text.charCodeAt(index)
    if (code === 0x7b || code === 0x5b) {
      depth += 1
      if (depth <= MAX_DEPTH) {
        const pointer = depth === 1 ? '' : pointerTo(scopes[depth - 2]?.pointer ?? '', lastKey)
        scopes[depth - 1] = { pointer, keys: new Map(), isList: code === 0x5b }
      }
    } else if (code === 0x7d || code === 0x5d) depth -= 1
    else if (code === 0x22) {
      const end = endOfString(text, index)
      const scope = depth <= MAX_DEPTH ? scopes[depth - 1] : undefined
      if (scope !== undefined && !scope.isList && isKey(text, end)) {
        lastKey = text.slice(index + 1, end)
        note(scope, lastKey, lineAt(index), found)
        if (found.length === MAX_FOUND) return found
      }
      index = end
    }
  }
  return found
}

/** For YAML in block style: what stands in braces on one line is not looked at. At most 20. */
export function doubleKeysOfYaml(text: string): WrittenTwice[] {
  const found: WrittenTwice[] = []
  const scopes: (Scope & { indent: number })[] = []
  let blockIndent = Number.POSITIVE_INFINITY
  for (const [index, line] of text.split('\n').entries()) {
    if (/^\s*(?:#|$)/.test(line)) continue
    const indent = line.search(/\S/)
    // The lines of a block scalar are text, whatever they look like.
    if (indent > blockIndent) continue
    blockIndent = Number.POSITIVE_INFINITY
    while ((scopes.at(-1)?.indent ?? -1) > indent) scopes.pop()
    if (line.charAt(indent) === '-') continue
    const key = keyPattern.exec(line.slice(indent))
    if (key === null) continue
    const name = key[1] ?? key[2] ?? key[3] ?? ''
    let scope = scopes.at(-1)
    if (scope === undefined || scope.indent < indent) {
      const parent = scopes.at(-1)
      const pointer = parent === undefined ? '' : pointerTo(parent.pointer, lastKeyOf(parent))
      scope = { pointer, keys: new Map(), isList: false, indent }
      scopes.push(scope)
    }
    if (scopes.length <= MAX_DEPTH) note(scope, name, index + 1, found)
    if (found.length === MAX_FOUND) return found
    scope.keys.delete(name)
    scope.keys.set(name, index + 1)
    if (/[|>][+-]?\d?[+-]?\s*(?:#.*)?$/.test(key[4] ?? '')) blockIndent = indent
  }
  return found
}

const keyPattern =
  /^(?:"((?:[^"\\]|\\.)*)"|'((?:[^']|'')*)'|([^\s#'"[\]{}&*!|>%@`-][^#]*?)):(?=\s|$)(.*)$/

/** The key that was written last: what is deeper belongs to it. */
function lastKeyOf({ keys }: Scope): string {
  return [...keys.keys()].at(-1) ?? ''
}

function note(scope: Scope, key: string, line: number, found: WrittenTwice[]): void {
  const firstLine = scope.keys.get(key)
  if (firstLine === undefined) scope.keys.set(key, line)
  else found.push({ path: pointerTo(scope.pointer, key), line, firstLine })
}

function isKey(text: string, end: number): boolean {
  let next = end + 1
  while (' \t\r\n'.includes(text.charAt(next))) next += 1
  return text.charAt(next) === ':'
}

/** The index of the closing quote, or of the end of a text that has none. */
export function endOfString(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); end !== -1; end = text.indexOf('"', end + 1)) {
    let backslashes = 0
    while (text.charCodeAt(end - 1 - backslashes) === 0x5c) backslashes += 1
    if (backslashes % 2 === 0) return end
  }
  return text.length
}
