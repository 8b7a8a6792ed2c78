/** How one value is written into a URL, header or cookie: every style × explode of OpenAPI 3.1 section 4.8.12.4 (RFC 6570). */
import { isRawNumber, plainDigits } from '@bmm/lib/exact-json'
import type { ParameterSpec } from '@bmm/spec/server-spec'

export type Style = ParameterSpec['style']
export type Written = { name: string; style: Style; explode: boolean }
/** Escapes one name or value for its place. */
export type Escape = (text: string) => string

const MAX_NESTING = 20

/** RFC 3986 section 2.3: everything but unreserved characters is escaped. */
export function escapeAll(text: string): string {
  return encodeURIComponent(text.toWellFormed()).replace(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  )
}

/** RFC 6570 section 3.2.3: reserved characters and percent-encoded triples pass. */
export function escapeUnreserved(text: string, alsoEscaped: RegExp): string {
  return encodeURI(text.toWellFormed())
    .replaceAll(/%25([0-9A-Fa-f]{2})/g, '%$1')
    .replace(alsoEscaped, (character) => encodeURIComponent(character))
}

export function isPresent(value: unknown): boolean {
  return value !== undefined && value !== null
}

/** An object or list, as opposed to a scalar; a number that keeps its digits is a scalar. */
export function isCompound(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !isRawNumber(value)
}

/** A scalar as it is; a list or object inside another one has no style of its own and travels as JSON. */
export function scalarText(value: unknown): string {
  if (typeof value === 'number') return plainDigits(String(value))
  if (isRawNumber(value)) return plainDigits(value.rawJSON)
  return isCompound(value) ? JSON.stringify(value) : String(value)
}

/**
 * `simple`, `label` and `matrix` (and joined lists) for a path segment or header. Undefined values, lists and objects
 * without members stand for nothing (RFC 6570 sections 2.3 and 3.2.1). A header's separators are not escaped.
 */
export function pathText(
  value: unknown,
  { name, style, explode }: Written,
  esc: Escape,
  separators: 'escaped' | 'plain' = 'escaped',
): string {
  const text = (part: unknown) => esc(scalarText(part))
  const pairs = (list: [string, unknown][], equals: string) =>
    list.map(([key, part]) => `${esc(key)}${equals}${text(part)}`)
  const named = (part: string) => (part === '' ? `;${esc(name)}` : `;${esc(name)}=${part}`)
  const separator = separatorOf(style, separators)
  if (Array.isArray(value)) {
    const parts = value.filter(isPresent).map(text)
    if (parts.length === 0) return ''
    if (style === 'label') return `.${parts.join(explode ? '.' : ',')}`
    if (style !== 'matrix') return parts.join(separator)
    return explode ? parts.map(named).join('') : named(parts.join(','))
  }
  if (isCompound(value)) {
    const entries = presentEntries(value)
    if (entries.length === 0) return ''
    const flat = entries.flatMap(([key, part]) => [esc(key), text(part)])
    if (style === 'label') {
      return `.${explode ? pairs(entries, '=').join('.') : flat.join(',')}`
    }
    if (style === 'matrix') {
      if (!explode) return named(flat.join(','))
      // RFC 6570 section 3.2.7: what is empty stands without its equals sign.
      return pairs(entries, '=')
        .map((pair) => `;${pair.replace(/=$/, '')}`)
        .join('')
    }
    return explode ? pairs(entries, '=').join(',') : flat.join(separator)
  }
  if (style === 'label') return `.${text(value)}`
  return style === 'matrix' ? named(text(value)) : text(value)
}

/** `name=value` pairs for a query string, form or cookie; names are escaped in full. */
export function pairsOf(value: unknown, written: Written, esc: Escape): string[] {
  const { name, style, explode } = written
  const own = escapeAll(name)
  const text = (part: unknown) => esc(scalarText(part))
  if (Array.isArray(value)) {
    if (style === 'deepObject') return deepPairs(value, own, esc, 0)
    const parts = value.filter(isPresent).map(text)
    if (explode || parts.length === 0) return parts.map((part) => `${own}=${part}`)
    return [`${own}=${parts.join(separatorOf(style))}`]
  }
  if (isCompound(value)) {
    if (style === 'deepObject') return deepPairs(value, own, esc, 0)
    const entries = presentEntries(value)
    if (entries.length === 0) return []
    if (explode && style === 'form') {
      return entries.flatMap(([key, part]) =>
        Array.isArray(part)
          ? part.filter(isPresent).map((item) => `${escapeAll(key)}=${text(item)}`)
          : [`${escapeAll(key)}=${text(part)}`],
      )
    }
    const flat = entries.flatMap(([key, part]) => [escapeAll(key), text(part)])
    return [`${own}=${flat.join(separatorOf(style))}`]
  }
  return [`${own}=${text(value)}`]
}

/** `filter[a][b]=1`, lists as `filter[ids][0]=1`: what the readers of such names agree on. */
function deepPairs(value: unknown, name: string, esc: Escape, depth: number): string[] {
  if (!isPresent(value)) return []
  if (!isCompound(value) || depth > MAX_NESTING) {
    return [`${name}=${esc(scalarText(value))}`]
  }
  return presentEntries(value).flatMap(([key, part]) =>
    deepPairs(part, `${name}%5B${escapeAll(key)}%5D`, esc, depth + 1),
  )
}

function presentEntries(value: object): [string, unknown][] {
  return Object.entries(value).filter(([, part]) => isPresent(part))
}

const delimiters: Readonly<Partial<Record<Style, readonly [escaped: string, plain: string]>>> = {
  spaceDelimited: ['%20', ' '],
  pipeDelimited: ['%7C', '|'],
  tabDelimited: ['%09', '\t'],
}

function separatorOf(style: Style, separators: 'escaped' | 'plain' = 'escaped'): string {
  const [escaped, plain] = delimiters[style] ?? [',', ',']
  return separators === 'plain' ? plain : escaped
}
