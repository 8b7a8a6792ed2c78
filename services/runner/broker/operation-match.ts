/** Which of the operations that a server's contract allows at an origin a method and path is, and what goes with it. */
import type { ServeStatement } from '@bmm/spec/statement'

type Egress = ServeStatement['egress'][number]

export type OperationRules = {
  /** `pathname` as `new URL` prints it. Both the strict and the lax reading of it must be an allowed operation. */
  allows(method: string, pathname: string): boolean
  /** Names of the credentials that go with an allowed request; undefined: all that go to the origin. */
  credentialsOf(method: string, pathname: string): readonly string[] | undefined
}

/** What stands between the wildcards; a wildcard is at least one character. */
type Pattern = readonly string[]
type Template = {
  before: readonly Pattern[]
  /** From the first `{+x}` to the last: spans one or more segments of a path. */
  spanning: Pattern | undefined
  after: readonly Pattern[]
}
type Rule = {
  template: Template
  /** Sorts more specific templates first: a fixed segment before a templated one (OpenAPI 3.1 section 4.8.8.2). */
  rank: string
  credentials: readonly string[] | undefined
}

/** A slash that stood encoded inside one segment; servers disagree about what it means. */
const INNER_SLASH = '\ue000'
const DECODING_ROUNDS = 3

/** Compiles one origin's rules; without listed operations every method and path is allowed. */
export function operationRules(egress: Egress): OperationRules {
  if (egress.operations === undefined) return { allows: () => true, credentialsOf: () => undefined }
  const byMethod = new Map<string, Rule[]>()
  for (const { method, path, credentials } of egress.operations) {
    const template = templateOf(path)
    const rules = byMethod.get(method) ?? []
    rules.push({ template, rank: rankOf(template), credentials })
    byMethod.set(method, rules)
  }
  return {
    allows(method, pathname) {
      const rules = byMethod.get(method) ?? []
      const readings = readingsOf(pathname)
      return readings?.every((each) => rules.some((rule) => matches(rule.template, each))) ?? false
    },
    credentialsOf(method, pathname) {
      const rules = byMethod.get(method) ?? []
      const readings = readingsOf(pathname) ?? []
      return sharedNames(readings.flatMap((each) => mostSpecific(rules, each)))
    },
  }
}

/** The rules that a path meets, of which none is more specific than another. */
function mostSpecific(rules: readonly Rule[], segments: readonly string[]): Rule[] {
  const met = rules.filter(({ template }) => matches(template, segments))
  const [best] = met.map(({ rank }) => rank).sort()
  return met.filter(({ rank }) => rank === best)
}

/** Where a path can be read as several operations, a credential goes only if it goes with each of them. */
function sharedNames(rules: readonly Rule[]): readonly string[] | undefined {
  return rules.reduce<readonly string[] | undefined>((shared, { credentials }) => {
    if (shared === undefined || credentials === undefined) return credentials ?? shared
    return shared.filter((name) => credentials.includes(name))
  }, undefined)
}

/** The path with and without trust in encoded slashes; undefined for a path that has no safe reading. */
function readingsOf(pathname: string): [strict: string[], lax: string[]] | undefined {
  const strict = segmentsOf(pathname)
  const lax = strict?.flatMap((segment) => segment.split(INNER_SLASH))
  if (strict === undefined || lax === undefined || lax.some(isDotSegment)) return undefined
  return [strict, lax]
}

function rankOf({ before, spanning, after }: Template): string {
  const digit = (pattern: Pattern) =>
    pattern.length === 1 ? '0' : pattern.every((literal) => literal === '') ? '2' : '1'
  const spanned = spanning === undefined ? '' : '3'
  return `${before.map(digit).join('')}${spanned}${after.map(digit).join('')}`
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
