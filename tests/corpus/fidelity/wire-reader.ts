/** What a server that follows the document reads from a request: Prism's deserialisers take the values apart, `qs` the deep objects. */
import type { ReadParameter } from './document-reader.ts'
import { decoded, isObject, type Json } from './json.ts'
import { load } from './packages.ts'
import type { SchemaReader, Shape } from './schema-reader.ts'

type Raw = Record<string, string | string[]>
type Deserialise = (name: string, raw: Raw, schema: Json, explode: boolean) => unknown
type Styles = Record<string, Deserialise | undefined>
type Deserialisers = { path: Styles; query: Styles; header: Styles; body: Styles }
type Qs = { parse(text: string, options: object): Json }
export type Place = 'path' | 'query' | 'header' | 'cookie'

const deserialisers = load<Deserialisers>('@stoplight/prism-http/dist/validator/deserializers')
const qs = load<Qs>('qs')
const qsOptions = { depth: 30, arrayLimit: 10_000, parameterLimit: 10_000, allowPrototypes: true }

const MAX_DEPTH = 12

/** The parts of a query string, form or cookie, still encoded but for their names. */
export type Pairs = { text: string; raw: Raw; order: string[] }

export function pairsOf(text: string, separator: RegExp): Pairs {
  const raw = new Map<string, string[]>()
  for (const pair of text.split(separator)) {
    if (pair === '') continue
    const at = pair.indexOf('=')
    const name = plain(at < 0 ? pair : pair.slice(0, at))
    raw.set(name, [...(raw.get(name) ?? []), at < 0 ? '' : pair.slice(at + 1)])
  }
  const entries = [...raw].map(([name, values]) => [name, values.length === 1 ? values[0] : values])
  return { text, raw: Object.fromEntries(entries), order: [...raw.keys()] }
}

/** Each way to read the value, by the shapes it may have; and the names of the pairs it was read from. */
export type Reading = { value: unknown; from: string[] }

export function readPairs(
  parameter: ReadParameter,
  shape: Shape,
  pairs: Pairs,
  others: ReadonlySet<string>,
): Reading {
  const { name } = parameter
  const style = parameter.style ?? 'form'
  const explode = parameter.explode ?? style === 'form'
  if (style === 'deepObject' && shape.type !== 'string') return readDeep(name, pairs)
  if (shape.type === 'object' && style === 'form' && explode) {
    return readExploded(shape, pairs, others)
  }
  const found = Object.hasOwn(pairs.raw, name)
  if (!found) return { value: undefined, from: [] }
  const delimited = { ...pairs.raw, [name]: withDelimiters(pairs.raw[name] ?? '', style) }
  const value = deserialised('query', style, name, delimited, shape, explode)
  return { value: leaves(value, plain), from: [name] }
}

/** Prism reads the declared properties of such an object; what is left over is an open object's. */
function readExploded(shape: Shape, pairs: Pairs, others: ReadonlySet<string>): Reading {
  const from = pairs.order.filter((name) =>
    Object.hasOwn(shape.properties, name) ? true : shape.isOpen && !others.has(name),
  )
  const value = Object.fromEntries(from.map((name) => [name, leaves(pairs.raw[name], plain)]))
  return { value: from.length === 0 ? undefined : value, from }
}

function readDeep(name: string, pairs: Pairs): Reading {
  const from = pairs.order.filter((key) => key === name || key.startsWith(`${name}[`))
  if (from.length === 0) return { value: undefined, from }
  const own = from.flatMap((key) => {
    const below = key.slice(name.length)
    return [pairs.raw[key] ?? ''].flat().map((value) => `v${encodeURIComponent(below)}=${value}`)
  })
  return { value: qs.parse(own.join('&'), qsOptions).v, from }
}

export function readPathPart(parameter: ReadParameter, shape: Shape, raw: string): unknown {
  const style = parameter.style ?? 'simple'
  const explode = parameter.explode ?? false
  const { name } = parameter
  const own = Object.hasOwn(deserialisers.path, style) ? style : 'simple'
  // Prism takes such a list of pairs apart at commas; OpenAPI joins it by dots (3.1 section 4.8.12.4).
  const isDotted = own === 'label' && explode && shape.type === 'object'
  const text = isDotted ? `.${raw.slice(1).replaceAll('.', ',')}` : raw
  return leaves(deserialised('path', own, name, { [name]: text }, shape, explode), decoded)
}

/** Header values are not percent-encoded (OpenAPI 3.1 appendix D). */
export function readHeader(parameter: ReadParameter, shape: Shape, raw: string): unknown {
  const { name } = parameter
  return deserialised('header', 'simple', name, { [name]: raw }, shape, parameter.explode ?? false)
}

function deserialised(
  place: 'path' | 'query' | 'header',
  style: string,
  name: string,
  raw: Raw,
  { type, properties }: Shape,
  explode: boolean,
): unknown {
  const deserialise = deserialisers[place][style]
  if (style === 'tabDelimited') return [raw[name] ?? ''].flat().join('%09').split('%09')
  if (/^(?:space|pipe)Delimited$/.test(style) && type === 'object') {
    const parts = [raw[name] ?? '']
      .flat()
      .join('')
      .split(style.startsWith('space') ? '%20' : '|')
    return Object.fromEntries(
      parts.flatMap((key, index) => (index % 2 === 0 ? [[key, parts[index + 1]]] : [])),
    )
  }
  if (deserialise === undefined) throw new Error(`The reader does not know the style ${style}.`)
  return deserialise(name, raw, { type, properties }, explode)
}

/** Delimiters arrive encoded: they are no characters of a query string (RFC 3986 section 3.4). */
function withDelimiters(raw: string | string[], style: string): string | string[] {
  if (style !== 'pipeDelimited') return raw
  const bare = (text: string) => text.replaceAll(/%7C/gi, '|')
  return Array.isArray(raw) ? raw.map(bare) : bare(raw)
}

function leaves(value: unknown, decode: (text: string) => string): unknown {
  if (typeof value === 'string') return decode(value)
  if (Array.isArray(value)) return value.map((part) => leaves(part, decode))
  if (!isObject(value)) return value
  return Object.fromEntries(
    Object.entries(value).map(([key, part]) => [decode(key), leaves(part, decode)]),
  )
}

/** As forms are read (WHATWG URL, application/x-www-form-urlencoded). */
export function plain(text: string): string {
  return decoded(text.replaceAll('+', ' '))
}

/** No style says how a list or object inside another value is written: JSON is read there. */
export function withInnerJson(
  value: unknown,
  shape: Shape,
  schemas: SchemaReader,
  depth = 0,
): unknown {
  if (depth > MAX_DEPTH) return value
  if (Array.isArray(value)) {
    const [item] = schemas.shapes(shape.items)
    return item === undefined
      ? value
      : value.map((each) => withInnerJson(each, item, schemas, depth + 1))
  }
  if (isObject(value)) {
    return Object.fromEntries(
      Object.entries(value).map(([key, part]) => {
        const [own] = schemas.shapes(shape.properties[key] ?? shape.additional)
        return [key, own === undefined ? part : withInnerJson(part, own, schemas, depth + 1)]
      }),
    )
  }
  const isJson = depth > 0 && (shape.type === 'object' || shape.type === 'array')
  return isJson ? jsonOr(value) : value
}

/** A list or object where the text is JSON of one; the text itself otherwise. */
export function jsonOr(read: unknown): unknown {
  if (typeof read !== 'string' || !/^\s*[[{]/.test(read)) return read
  try {
    const value: unknown = JSON.parse(read)
    return isObject(value) || Array.isArray(value) ? value : read
  } catch {
    return read
  }
}
