/** Parsed JSON and YAML values: guards that believe nothing, and JSON pointers (RFC 6901). */

export type JsonObject = { [key: string]: unknown }

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The value of an own key: `constructor` and the like are never found by accident. */
export function own(object: JsonObject, key: string): unknown {
  return Object.hasOwn(object, key) ? object[key] : undefined
}

export function objectAt(object: JsonObject, key: string): JsonObject {
  const value = own(object, key)
  return isObject(value) ? value : {}
}

export function listAt(object: JsonObject, key: string): unknown[] {
  const value = own(object, key)
  return Array.isArray(value) ? value : []
}

export function textAt(object: JsonObject, key: string): string | undefined {
  const value = own(object, key)
  return typeof value === 'string' ? value : undefined
}

export function pointerTo(base: string, ...segments: readonly (string | number)[]): string {
  return segments.reduce<string>(
    (path, segment) => `${path}/${String(segment).replaceAll('~', '~0').replaceAll('/', '~1')}`,
    base,
  )
}

/** The segments of a JSON pointer that stands in a URI fragment; undefined when it is not one. */
export function pointerSegments(fragment: string): string[] | undefined {
  if (fragment === '') return []
  if (!fragment.startsWith('/')) return undefined
  return fragment
    .slice(1)
    .split('/')
    .map((segment) => decodedOrSame(segment).replaceAll('~1', '/').replaceAll('~0', '~'))
}

function decodedOrSame(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
