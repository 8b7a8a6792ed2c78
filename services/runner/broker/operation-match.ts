/** Whether a method and path is one of the operations that a server's contract allows at an origin. */
import type { ServeStatement } from '@bmm/spec/statement'

type Egress = ServeStatement['egress'][number]

export type OperationRules = {
  /** `pathname` as `new URL` prints it. Both the strict and the lax reading of it must be an allowed operation. */
  allows(method: string, pathname: string): boolean
}

/** What stands between the wildcards; a wildcard is at least one character. */
type Pattern = readonly string[]
type Template = {
  before: readonly Pattern[]
  /** From the first `{+x}` to the last: spans one or more segments of a path. */
  spanning: Pattern | undefined
  after: readonly Pattern[]
}

/** A slash that stood encoded inside one segment; servers disagree about what it means. */
const INNER_SLASH = '\ue000'
const DECODING_ROUNDS = 3

/** Compiles one origin's rules; without listed operations every method and path is allowed. */
export function operationRules(egress: Egress): OperationRules {
  if (egress.operations === undefined) return { allows: () => true }
  const byMethod = new Map<string, Template[]>()
  for (const { method, path } of egress.operations) {
    byMethod.set(method, [...(byMethod.get(method) ?? []), templateOf(path)])
  }
  return {
    allows(method, pathname) {
      const templates = byMethod.get(method) ?? []
      const strict = segmentsOf(pathname)
      if (strict === undefined) return false
      const lax = strict.flatMap((segment) => segment.split(INNER_SLASH))
      if (lax.some(isDotSegment)) return false
      return [strict, lax].every((reading) => templates.some((each) => matches(each, reading)))
    },
  }
}

/** Decoded segments, or undefined for a path that is not unambiguous text. */
function segmentsOf(pathname: string): string[] | undefined {
  const segments = pathname.slice(1).split('/').map(decoded)
  return segments.every((segment) => segment !== undefined) ? segments : undefined
}

/** Decoded more than once: `%252F` is a slash to a server behind a careless proxy. Undefined when malformed. */
function decoded(segment: string): string | undefined {
  let text: string
  try {
    text = decodeURIComponent(segment)
  } catch {
    return undefined
  }
  for (let round = 1; round < DECODING_ROUNDS; round++) {
    text = text.replaceAll(/%([0-7][0-9a-f])/gi, (_escape, hex: string) =>
      String.fromCharCode(Number.parseInt(hex, 16)),
    )
  }
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  if (/[\u0000-\u001f\u007f\ue000]/.test(text)) return undefined
  return text.replaceAll(/[/\\]/g, INNER_SLASH)
}

/** `..;x` is a dot segment to servers that cut path parameters off (RFC 3986 section 3.3). */
function isDotSegment(segment: string): boolean {
  const name = segment.split(';')[0]
  return name === '.' || name === '..'
}

function templateOf(path: string): Template {
  const segments = splitOutsideBraces(path.slice(1))
  const first = segments.findIndex(isSpanning)
  if (first < 0) return { before: segments.map(patternOf), spanning: undefined, after: [] }
  const last = segments.findLastIndex(isSpanning)
  return {
    before: segments.slice(0, first).map(patternOf),
    spanning: patternOf(segments.slice(first, last + 1).join('/')),
    after: segments.slice(last + 1).map(patternOf),
  }
}

function isSpanning(segment: string): boolean {
  return segment.includes('{+')
}

function splitOutsideBraces(path: string): string[] {
  return path.split(/\/(?![^{}]*\})/)
}

function patternOf(segment: string): Pattern {
  return segment.split(/\{[^{}]*\}/).map((literal) => {
    try {
      return decodeURIComponent(literal)
    } catch {
      return literal
    }
  })
}

function matches({ before, spanning, after }: Template, segments: readonly string[]): boolean {
  const fixed = before.length + after.length
  if (spanning === undefined ? segments.length !== fixed : segments.length <= fixed) return false
  const tail = segments.length - after.length
  return (
    before.every((pattern, at) => fits(pattern, segments[at] ?? '')) &&
    after.every((pattern, at) => fits(pattern, segments[tail + at] ?? '')) &&
    (spanning === undefined || fits(spanning, segments.slice(before.length, tail).join('/')))
  )
}

/** Leftmost search of the literals in turn: linear, where a regular expression of a tenant's template would not be. */
function fits(pattern: Pattern, text: string): boolean {
  const first = pattern[0] ?? ''
  const last = pattern.at(-1) ?? ''
  if (pattern.length === 1) return text === first
  if (!text.startsWith(first)) return false
  let position = first.length
  for (const literal of pattern.slice(1, -1)) {
    const found = text.indexOf(literal, position + 1)
    if (found < 0) return false
    position = found + literal.length
  }
  return text.length - last.length > position && text.endsWith(last)
}
