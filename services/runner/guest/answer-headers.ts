/** Headers of an answer that a model needs for its next step, as a short text beside the content. */

type Headers = readonly (readonly [name: string, value: string])[]

/** What points on (RFC 8288, RFC 9110 section 10.2), tells versions apart, or says how to go on. */
const useful: ReadonlySet<string> = new Set([
  'link',
  'location',
  'content-location',
  'operation-location',
  'etag',
  'last-modified',
  'retry-after',
  'content-disposition',
  'content-range',
  'allow',
  'accept-patch',
  'deprecation',
  'sunset',
  'warning',
  'preference-applied',
  'www-authenticate',
])
/** Rate limits, and pages that are counted in headers. */
const usefulPatterns: readonly RegExp[] = [
  /^(?:x-)?rate-?limit/,
  /^x-(?:[a-z0-9-]+-)?(?:total|count|pages?|per-page|cursor|next|prev|offset|limit|remaining|reset|continuation|continuationtoken)(?:-[a-z0-9-]+)?$/,
]
/** Of HEAD, whose headers are the answer: all but what is about the connection alone. */
const dull = new Set(['date', 'server', 'set-cookie', 'strict-transport-security', 'via'])
const MAX_VALUE = 500
/** Links carry a whole address each. */
const MAX_LINK = 2_000
const MAX_BLOCK = 4_000

/** Lines `name: value`; empty when nothing matters. `all` is for HEAD; `without` names what is said elsewhere. */
export function headerLines(
  headers: Headers,
  { all = false, without }: { all?: boolean; without?: string } = {},
): string {
  const lines = headers.flatMap(([own, value]) => {
    const name = own.toLowerCase()
    if (name === without || !(all ? !dull.has(name) : isUseful(name))) return []
    return [`${name}: ${readable(value).slice(0, name === 'link' ? MAX_LINK : MAX_VALUE)}`]
  })
  return lines.join('\n').slice(0, MAX_BLOCK)
}

function isUseful(name: string): boolean {
  return useful.has(name) || usefulPatterns.some((pattern) => pattern.test(name))
}

/** Header bytes arrive one character each; most that are not ASCII are UTF-8. */
function readable(value: string): string {
  const clean = (text: string) => text.replaceAll(/\p{Cc}/gu, ' ').toWellFormed()
  if (/^[\x20-\x7e]*$/.test(value)) return value
  const bytes = Uint8Array.from(value, (character) => character.charCodeAt(0) & 0xff)
  try {
    return clean(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch {
    return clean(value)
  }
}
