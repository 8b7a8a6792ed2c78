/** `Mcp-Param-*` headers (MCP 2026-07-28): tool arguments that a schema asks clients to repeat in a header. */
import { isRawNumber } from '@bmm/lib/exact-json'
import { isObject } from '../arrival/json-text.ts'

const KEYWORD = 'x-mcp-header'
const PREFIX = 'mcp-param-'
/** RFC 9110 section 5.6.2. */
const tokenPattern = /^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$/
const base64Pattern = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/
const decimalPattern = /^-?\d+(\.\d+)?$/
const primitiveTypes = new Set(['string', 'integer', 'boolean'])
const MAX_DEPTH = 64

export type ParamHeader = { path: string[]; header: string; numeric: boolean }

/**
 * The declarations of an input schema, or undefined when one breaks the rules: primitive types only, reachable by
 * `properties` alone, names unique. Clients drop a tool with a bad declaration, so such a keyword is not listed at all.
 */
export function paramHeaders(schema: Record<string, unknown>): ParamHeader[] | undefined {
  const found: ParamHeader[] = []
  const declared = countKeyword(schema, 0)
  const collect = (node: unknown, path: string[]) => {
    if (!isObject(node) || path.length > MAX_DEPTH) return
    const name = node[KEYWORD]
    const type = typeof node.type === 'string' ? node.type : ''
    if (path.length > 0 && typeof name === 'string' && primitiveTypes.has(type)) {
      found.push({ path, header: name, numeric: type === 'integer' })
    }
    for (const [key, child] of Object.entries(isObject(node.properties) ? node.properties : {})) {
      collect(child, [...path, key])
    }
  }
  collect(schema, [])
  const names = new Set(found.map(({ header }) => header.toLowerCase()))
  const sound =
    found.length === declared &&
    names.size === found.length &&
    found.every(({ header }) => tokenPattern.test(header))
  return sound ? found : undefined
}

/** The schema without the keyword, at any depth. */
export function withoutParamHeaders(schema: Record<string, unknown>): Record<string, unknown> {
  return JSON.parse(JSON.stringify(schema, (key, value) => (key === KEYWORD ? undefined : value)))
}

/** The name of a header that disagrees with the arguments, or undefined when all agree. */
export function disagreeingHeader(
  declarations: readonly ParamHeader[],
  args: Record<string, unknown>,
  headers: Headers,
): string | undefined {
  for (const { path, header, numeric } of declarations) {
    const value = path.reduce<unknown>(
      (node, key) => (isObject(node) ? node[key] : undefined),
      args,
    )
    const written = isRawNumber(value) ? value.rawJSON : value
    if (!isComparable(written)) continue
    const sent = headers.get(`${PREFIX}${header}`)
    const decoded = sent === null ? undefined : decodeHeaderValue(sent)
    const agrees =
      decoded !== undefined &&
      (decoded === String(written) ||
        (numeric && decimalPattern.test(decoded) && Number(decoded) === value))
    if (!agrees) return `Mcp-Param-${header}`
  }
  return undefined
}

function isComparable(value: unknown): boolean {
  return typeof value === 'string' || typeof value === 'boolean' || Number.isSafeInteger(value)
}

/** Undoes `=?base64?…?=`, in which clients send what a header cannot hold; undefined when it is malformed. */
export function decodeHeaderValue(value: string): string | undefined {
  const text = value.trim()
  if (!text.startsWith('=?base64?') || !text.endsWith('?=')) return text
  const encoded = text.slice('=?base64?'.length, -'?='.length)
  if (!base64Pattern.test(encoded)) return undefined
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(encoded, 'base64'))
  } catch {
    return undefined
  }
}

function countKeyword(node: unknown, depth: number): number {
  if (typeof node !== 'object' || node === null || depth > MAX_DEPTH) return 0
  let count = isObject(node) && KEYWORD in node ? 1 : 0
  for (const child of Object.values(node)) count += countKeyword(child, depth + 1)
  return count
}
