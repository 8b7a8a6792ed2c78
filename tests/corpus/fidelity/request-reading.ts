/** One request, read by the document: what it says at each place, and what is wrong with it. */
import type { OutgoingRequest } from '@bmm/runner/guest/request.ts'
import { contentFor, type ReadBody, readBody, textsOf } from './body-reader.ts'
import type { ReadContent, ReadOperation, ReadParameter } from './document-reader.ts'
import { decoded, isObject } from './json.ts'
import type { Problem, SchemaReader, Shape } from './schema-reader.ts'
import {
  type Pairs,
  type Place,
  pairsOf,
  plain,
  readHeader,
  readPairs,
  readPathPart,
  withInnerJson,
} from './wire-reader.ts'

export type Fault = {
  kind: 'address' | 'missing' | 'stray' | 'invalid' | 'unreadable' | 'media-type'
  where: string
  why: string
  /** Where it is known that the document is at fault. */
  cause?: string | undefined
}
export type RequestReading = {
  /** By place and wire name: each way to read it. */
  values: Record<Place, Map<string, unknown[]>>
  body: ReadBody | undefined
  faults: Fault[]
  /** Parameters (`query sort`) that another one has a name on the wire with. */
  shared: Set<string>
}

/** Written by the serialiser, the broker and HTTP itself (OpenAPI 3.1 section 4.8.12.1). */
const ownHeaders = new Set(['accept', 'authorization', 'content-length', 'content-type', 'host'])

/** `elsewhere`: names `query api_key` that the broker adds. */
export function requestReading(
  request: OutgoingRequest,
  operation: ReadOperation,
  schemas: SchemaReader,
  elsewhere: ReadonlySet<string>,
): RequestReading {
  const values = { path: new Map(), query: new Map(), header: new Map(), cookie: new Map() }
  const reading: RequestReading = { values, body: undefined, faults: [], shared: new Set() }
  const url = request.url
  const at = url.indexOf('?')
  const [address, query] = at < 0 ? [url, ''] : [url.slice(0, at), url.slice(at + 1)]
  const [path = '', fixed = ''] = withoutFragment(operation.path).split('?', 2)
  readPath(address, path, operation, schemas, reading)
  const declared = (list: ReadParameter[] | undefined, place: Place) =>
    (list ?? []).filter(
      ({ name }) =>
        !elsewhere.has(`${place} ${name}`) &&
        !(place === 'header' && ownHeaders.has(name.toLowerCase())),
    )
  const pairs = pairsOf(query, /&/)
  const left = readList(
    declared(operation.request?.query, 'query'),
    pairs,
    'query',
    schemas,
    reading,
  )
  const always = readFixed(pairsOf(fixed, /&/), pairs, operation, schemas, reading)
  for (const name of left) {
    if (!always.has(name) && !elsewhere.has(`query ${name}`)) {
      fault(reading, 'stray', `query ${name}`, 'The document has no such parameter.')
    }
  }
  const headers = new Map(request.headers.map(([name, value]) => [name.toLowerCase(), value]))
  for (const parameter of declared(operation.request?.headers, 'header')) {
    const raw = headers.get(parameter.name.toLowerCase())
    const candidates =
      raw === undefined
        ? []
        : candidatesFor(
            parameter,
            schemas,
            (shape) => readHeader(parameter, shape, raw),
            () => raw,
          )
    judge(parameter, 'header', candidates, raw !== undefined, schemas, reading)
  }
  const cookies = pairsOf(headers.get('cookie') ?? '', /; */)
  readList(declared(operation.request?.cookie, 'cookie'), cookies, 'cookie', schemas, reading)
  readContent(request, headers.get('content-type'), operation, schemas, reading)
  return reading
}

function withoutFragment(path: string): string {
  return path.split('#', 1)[0] ?? ''
}

function fault(
  reading: RequestReading,
  kind: Fault['kind'],
  where: string,
  why: string,
  cause?: string,
): void {
  reading.faults.push({ kind, where, why: why.slice(0, 300), cause })
}

function readPath(
  address: string,
  template: string,
  operation: ReadOperation,
  schemas: SchemaReader,
  reading: RequestReading,
): void {
  const names = new Set<string>()
  const pattern = (inner: string) =>
    template
      .split(/(\{[^{}]+\})/)
      .map((part) => {
        if (!/^\{.+\}$/.test(part)) return literal(part)
        names.add(part.slice(1, -1))
        return inner
      })
      .join('')
  // Where two values meet in one segment, `{position}.{ext}`, there is more than one way to take them apart.
  const inners = ['([^/?#]*?)', '([^/?#]*)', '(.*?)']
  const matches = inners.flatMap((inner) => {
    const found = new RegExp(`${pattern(inner)}$`, 'u').exec(address)
    return found === null ? [] : [found.slice(1)]
  })
  if (matches.length === 0) {
    fault(reading, 'address', 'path', `${address} does not end like ${template}`)
    return
  }
  const parameters = operation.request?.path ?? []
  for (const [index, name] of [...names].entries()) {
    const parameter = parameters.find((one) => one.name === name) ?? { name, required: true }
    const all = matches.map((match) => {
      const raw = match[index] ?? ''
      const read = (shape: Shape) => readPathPart(parameter, shape, raw)
      return candidatesFor(parameter, schemas, read, () => decoded(raw))
    })
    const lists = all.filter((candidates) => typeof candidates !== 'string')
    judge(
      parameter,
      'path',
      lists.length > 0 ? lists.flat() : (all[0] ?? ''),
      true,
      schemas,
      reading,
    )
  }
}

/** Pairs that stand in the path itself, `?id={id}`: their values are parameters of the path. */
function readFixed(
  fixed: Pairs,
  pairs: Pairs,
  operation: ReadOperation,
  schemas: SchemaReader,
  reading: RequestReading,
): ReadonlySet<string> {
  for (const [name, text] of Object.entries(fixed.raw)) {
    const own = /^\{(.+)\}$/.exec([text].flat()[0] ?? '')?.[1]
    const raw = [pairs.raw[name] ?? ''].flat()[0] ?? ''
    const parameter = operation.request?.path?.find((one) => one.name === own)
    if (parameter === undefined || !Object.hasOwn(pairs.raw, name)) continue
    const read = (shape: Shape) => readPathPart({ ...parameter, style: 'simple' }, shape, raw)
    const candidates = candidatesFor(parameter, schemas, read, () => plain(raw))
    judge(parameter, 'path', candidates, true, schemas, reading)
  }
  return new Set(fixed.order)
}

/** Encoded as it leaves, or as it stands in the document. */
function literal(text: string): string {
  const escaped = (part: string) => part.replaceAll(/[.*+?^${}()|[\]\\/]/g, '\\$&')
  const encoded = encodeURI(decoded(text))
  return encoded === text ? escaped(text) : `(?:${escaped(text)}|${escaped(encoded)})`
}

/** The names of the pairs that no parameter was read from. */
function readList(
  parameters: readonly ReadParameter[],
  pairs: Pairs,
  place: Place,
  schemas: SchemaReader,
  reading: RequestReading,
): string[] {
  const names = new Set(parameters.map(({ name }) => name))
  const taken = new Map<string, string>()
  const shared = new Set<string>()
  for (const parameter of parameters) {
    let found = false
    const take = (name: string) => {
      const other = taken.get(name)
      if (other !== undefined && other !== parameter.name) shared.add(other).add(parameter.name)
      taken.set(name, parameter.name)
      found = true
    }
    const read = (shape: Shape) => {
      const { value, from } = readPairs(parameter, shape, pairs, names)
      for (const name of from) take(name)
      return value
    }
    const whole = () => {
      const raw = pairs.raw[parameter.name]
      if (raw === undefined) return undefined
      take(parameter.name)
      return plain([raw].flat().join('&'))
    }
    const candidates = candidatesFor(parameter, schemas, read, whole)
    judge(parameter, place, candidates, found, schemas, reading)
  }
  for (const name of shared) reading.shared.add(`${place} ${name}`)
  return pairs.order.filter((name) => !taken.has(name))
}

type Candidate = { value: unknown; schema: unknown; coerce: boolean }

/** A value with a media type of its own is that; another one is read by each shape it may have. */
function candidatesFor(
  parameter: ReadParameter,
  schemas: SchemaReader,
  read: (shape: Shape) => unknown,
  whole: () => string | undefined,
): Candidate[] | string {
  try {
    const [content] = Object.entries(parameter.content ?? {})
    if (content !== undefined) {
      const text = whole()
      if (text === undefined) return []
      const schema = isObject(content[1]) ? content[1].schema : undefined
      const isJson = /[/+]json/i.test(content[0])
      return [{ value: isJson ? JSON.parse(text) : text, schema, coerce: !isJson }]
    }
    return schemas.shapes(parameter.schema).map((shape) => {
      const value = withInnerJson(read(shape), shape, schemas)
      return { value, schema: parameter.schema, coerce: true }
    })
  } catch (error) {
    return String(error)
  }
}

function judge(
  parameter: ReadParameter,
  place: Place,
  candidates: Candidate[] | string,
  found: boolean,
  schemas: SchemaReader,
  reading: RequestReading,
): void {
  const where = `${place} ${parameter.name}`
  if (typeof candidates === 'string') {
    fault(reading, 'unreadable', where, candidates)
    return
  }
  if (!found) {
    if (parameter.required === true) fault(reading, 'missing', where, 'The document requires it.')
    return
  }
  const read = candidates.filter(({ value }) => value !== undefined)
  reading.values[place].set(
    parameter.name,
    read.map(({ value }) => structuredClone(value)),
  )
  let first: Problem | undefined
  for (const { value, schema, coerce } of read) {
    const problems = problemsOf(schemas, schema, value, coerce)
    if (typeof problems === 'string') {
      fault(reading, 'unreadable', where, problems)
      return
    }
    if (problems.length === 0) return
    first ??= problems[0]
  }
  if (first !== undefined) {
    const why = `${first.keyword}: ${first.message}`
    fault(reading, 'invalid', `${where}${first.at}`, why, first.contradiction)
  }
}

function problemsOf(schemas: SchemaReader, schema: unknown, value: unknown, coerce: boolean) {
  try {
    return schemas.problems(schema, value, coerce)
  } catch (error) {
    return String(error)
  }
}

function readContent(
  request: OutgoingRequest,
  mediaType: string | undefined,
  operation: ReadOperation,
  schemas: SchemaReader,
  reading: RequestReading,
): void {
  const body = operation.request?.body
  const contents = body?.contents ?? []
  const content = contentFor(mediaType ?? '', contents)
  if (request.body === undefined) {
    if (body?.required === true) fault(reading, 'missing', 'body', 'The document requires it.')
  } else if (contents.length === 0) {
    fault(reading, 'stray', 'body', 'The document has no body here.')
  } else if (content === undefined) {
    const wanted = contents.map((one) => one.mediaType).join(', ')
    fault(reading, 'media-type', 'body', `${mediaType} is not one of ${wanted}`)
  } else {
    readBytes(request.body, mediaType ?? '', content, schemas, reading)
  }
}

function readBytes(
  bytes: Uint8Array,
  mediaType: string,
  content: ReadContent,
  schemas: SchemaReader,
  reading: RequestReading,
): void {
  try {
    const read = readBody(mediaType, bytes, content, schemas)
    reading.body = read
    if (read.kind === 'opaque' || content.schema === undefined) return
    const value = read.texts ? textsOf(read.value) : read.value
    const [first] = schemas.problems(content.schema, value, read.texts)
    if (first === undefined) return
    const why = `${first.keyword}: ${first.message}`
    fault(reading, 'invalid', `body${first.at}`, why, first.contradiction)
  } catch (error) {
    fault(reading, 'unreadable', 'body', String(error))
  }
}
