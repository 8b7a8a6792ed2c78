/** What a server reads from a request's body: JSON, form, multipart (parse-multipart-data), text and bytes. */
import type { ReadContent } from './document-reader.ts'
import type { Json } from './json.ts'
import { load } from './packages.ts'
import type { SchemaReader, Shape } from './schema-reader.ts'
import { jsonOr, pairsOf, readPairs, withInnerJson } from './wire-reader.ts'

type Part = { name?: string; filename?: string; type?: string; data: Buffer }
type Multipart = { parse(body: Buffer, boundary: string): Part[] }
export type ReadBody =
  /** `texts`: the values are texts, as in a form. */
  | { kind: 'fields' | 'json'; value: unknown; texts: boolean }
  | { kind: 'opaque'; bytes: Uint8Array }

const multipart = load<Multipart>('parse-multipart-data')
const decoder = new TextDecoder('utf-8', { fatal: true })

/** The content of the document that a media type belongs to. */
export function contentFor(
  mediaType: string,
  contents: readonly ReadContent[],
): ReadContent | undefined {
  const own = essence(mediaType)
  const ranges = [own, `${own.split('/')[0]}/*`, '*/*', '*']
  return ranges
    .map((range) => contents.find((content) => essence(content.mediaType) === range))
    .find((found) => found !== undefined)
}

function essence(mediaType: string): string {
  return (mediaType.split(';', 1)[0] ?? '').trim().toLowerCase()
}

export function readBody(
  mediaType: string,
  bytes: Uint8Array,
  content: ReadContent,
  schemas: SchemaReader,
): ReadBody {
  const own = essence(mediaType)
  if (/[/+]json$/.test(own)) {
    return { kind: 'json', value: JSON.parse(decoder.decode(bytes)), texts: false }
  }
  const [shape] = schemas.shapes(content.schema)
  if (own === 'application/x-www-form-urlencoded' && shape !== undefined) {
    return {
      kind: 'fields',
      value: formValue(decoder.decode(bytes), content, shape, schemas),
      texts: true,
    }
  }
  if (own.startsWith('multipart/') && shape !== undefined) {
    const boundary = /boundary="?([^";]+)/i.exec(mediaType)?.[1] ?? ''
    return {
      kind: 'fields',
      value: partsValue(multipart.parse(Buffer.from(bytes), boundary), shape, schemas),
      texts: true,
    }
  }
  return { kind: 'opaque', bytes }
}

/** Without an encoding, lists repeat their name and objects are JSON (OpenAPI 3.1 section 4.8.15.1). */
function formValue(text: string, content: ReadContent, shape: Shape, schemas: SchemaReader): Json {
  const pairs = pairsOf(text, /&/)
  const value: Json = {}
  const taken = new Set<string>()
  for (const [name, schema] of Object.entries(shape.properties)) {
    const encoding = (content.encodings ?? []).find(({ property }) => property === name)
    const own = { name, style: encoding?.style ?? 'form', explode: encoding?.explode ?? true }
    for (const inner of schemas.shapes(schema)) {
      const isPlain = encoding?.style === undefined && inner.type === 'object'
      const one = isPlain ? { ...inner, type: 'string' } : inner
      const { value: read, from } = readPairs(
        own,
        one,
        pairs,
        new Set(Object.keys(shape.properties)),
      )
      if (read === undefined) continue
      for (const each of from) taken.add(each)
      value[name] = withInnerJson(read, inner, schemas, 1)
      break
    }
  }
  for (const name of pairs.order) {
    if (taken.has(name)) continue
    const read = readPairs({ name, style: 'form', explode: true }, looseShape, pairs, taken).value
    value[name] = jsonOr(read)
  }
  return value
}

const looseShape: Shape = {
  type: undefined,
  properties: {},
  isOpen: true,
  additional: undefined,
  items: undefined,
}

function partsValue(parts: readonly Part[], shape: Shape, schemas: SchemaReader): Json {
  const value: Json = {}
  const byName = Map.groupBy(parts, ({ name = '' }) => name)
  for (const [name, own] of byName) {
    const values = own.map((part) => partValue(part))
    const inner = schemas.shapes(shape.properties[name])
    const isList = inner.some(({ type }) => type === 'array')
    const isWhole = values.length === 1 && Array.isArray(values[0])
    value[name] = values.length > 1 || (isList && !isWhole) ? values : values[0]
    const [first] = inner
    const isFile = values.some((one) => one instanceof Bytes)
    if (first !== undefined && !isFile) value[name] = withInnerJson(value[name], first, schemas, 1)
  }
  return value
}

function partValue({ filename, type = '', data }: Part): unknown {
  if (filename !== undefined) return new Bytes(data)
  const text = data.toString('utf8')
  return /[/+]json/i.test(type) ? JSON.parse(text) : text
}

/** A file of a form. */
export class Bytes {
  constructor(readonly data: Uint8Array) {}
}

/** As a validator wants it: the content of a file is text to a schema. */
export function textsOf(value: unknown): unknown {
  if (value instanceof Bytes) return 'file'
  if (Array.isArray(value)) return value.map(textsOf)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, textsOf(part)]))
}
