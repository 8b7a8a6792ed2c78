/** Parameters of an operation, of any dialect, and how each travels in the request. */
import type { ParameterSpec } from '@bmm/spec/server-spec'
import { exampleOf, followedWithWords, withExample } from './example.ts'
import { isObject, type JsonObject, listAt, objectAt, own, textAt } from './json.ts'
import type { Notices } from './notices.ts'
import type { References } from './reference.ts'
import type { Part } from './schema-leaf.ts'
import type { PathReach } from './server-url.ts'

export type ParameterStyle = ParameterSpec['style']

export type ParameterSource = {
  /** The name on the wire. */
  name: string
  in: ParameterSpec['in']
  required: boolean
  description: string | undefined
  style: ParameterStyle
  explode: boolean
  allowReserved: boolean
  /** Of a value in a path. */
  reach: PathReach
  contentType: string | undefined
  parts: Part[]
}

export type ParameterList = {
  parameters: ParameterSource[]
  /** Those of Swagger 2.0 that make up the body. */
  bodyParameters: JsonObject[]
  /** Parameters for the headers Accept and Content-Type. */
  typeHeaders: JsonObject[]
  /** OpenAPI 3.2: the one parameter that is the whole query string. */
  querystring: JsonObject | undefined
}

const defaultStyles = { path: 'simple', query: 'form', header: 'simple', cookie: 'form' } as const
const allowedStyles: Readonly<Record<ParameterSpec['in'], readonly string[]>> = {
  path: ['simple', 'label', 'matrix', 'spaceDelimited', 'pipeDelimited'],
  query: ['form', 'spaceDelimited', 'pipeDelimited', 'deepObject'],
  header: ['simple'],
  cookie: ['form'],
}
export const MAX_WIRE_NAME = 256
const delimited: JsonObject = {
  ssv: 'spaceDelimited',
  tsv: 'tabDelimited',
  pipes: 'pipeDelimited',
}
/** Headers that OpenAPI 3 says to ignore (3.1, 4.8.12); what Swagger 2.0 means by them, `negotiated` reads. */
const ignoredHeaders = new Set(['accept', 'content-type', 'authorization'])
/** Headers that describe the message or the connection: the serialiser and the broker write them. */
const ownHeaders = new Set([
  'accept',
  'accept-encoding',
  'authorization',
  'connection',
  'content-length',
  'content-type',
  'host',
  'keep-alive',
  'proxy-authorization',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])
const headerName = /^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$/

/** The path item's parameters, replaced by the operation's own of the same name and place. Throws ReferenceFault. */
export function parametersOf(
  pathItem: JsonObject,
  operation: JsonObject,
  at: string,
  references: References,
  notices: Notices,
): ParameterList {
  const byName = new Map<string, JsonObject>()
  const bodyParameters = new Map<string, JsonObject>()
  let querystring: JsonObject | undefined
  for (const value of [pathItem, operation].flatMap((holder) =>
    parameterList(holder, references),
  )) {
    const parameter = followedWithWords(value, references)
    if (!isObject(parameter)) continue
    const [name, place] = [textAt(parameter, 'name'), textAt(parameter, 'in')]
    if (place === 'body' || place === 'formData') {
      bodyParameters.set(place === 'body' ? place : `formData ${name}`, parameter)
    } else if (place === 'querystring') querystring = parameter
    else if (name !== undefined && name !== '' && place !== undefined) {
      // Header names have no case (RFC 9110 section 5.1): the operation's own replaces the path's.
      byName.set(`${place} ${place === 'header' ? name.toLowerCase() : name}`, parameter)
    } else notices.warn(at, 'A parameter without name or place ("in") was left out.')
  }
  const parameters = [...byName.values()].flatMap((parameter) => {
    const source = parameterSource(parameter, at, references, notices)
    return source === undefined ? [] : [source]
  })
  const typeHeaders = ['accept', 'content-type']
    .map((name) => byName.get(`header ${name}`))
    .filter((parameter) => parameter !== undefined)
  return { parameters, bodyParameters: [...bodyParameters.values()], typeHeaders, querystring }
}

/** The list itself may be a reference, though no version of OpenAPI knows that. */
function parameterList(holder: JsonObject, references: References): unknown[] {
  const list = references.follow(own(holder, 'parameters'))
  return Array.isArray(list) ? list : []
}

/** Undefined where a parameter cannot or must not be sent by a tool's input. */
function parameterSource(
  parameter: JsonObject,
  at: string,
  references: References,
  notices: Notices,
): ParameterSource | undefined {
  const name = textAt(parameter, 'name') ?? ''
  const place = placeOf(textAt(parameter, 'in'))
  if (place === undefined || name.length > MAX_WIRE_NAME) {
    notices.warn(at, 'A parameter with an unknown place ("in") or an overlong name was left out.')
    return undefined
  }
  if (place === 'header') {
    if (ownHeaders.has(name.toLowerCase())) {
      tellOwnHeader(name, at, notices)
      return undefined
    }
    if (!headerName.test(name)) {
      notices.warn(at, 'A header parameter whose name is no HTTP header name was left out.')
      return undefined
    }
  }
  if (place === 'cookie' && !headerName.test(name)) {
    notices.warn(at, 'A cookie parameter whose name is no cookie name was left out.')
    return undefined
  }
  const content = contentOf(parameter)
  const schema = content?.schema ?? own(parameter, 'schema') ?? parameter
  const example = exampleOf(content?.media ?? parameter, references)
  return {
    name,
    in: place,
    required: place === 'path' || own(parameter, 'required') === true,
    description: describedAs(parameter, schema),
    ...transport(parameter, place, at, notices),
    reach: reachOf(parameter, followed(schema, references)),
    contentType: content?.type,
    parts: [...withExample([{ source: schema, trail: undefined }], example)],
  }
}

function tellOwnHeader(name: string, at: string, notices: Notices): void {
  if (ignoredHeaders.has(name.toLowerCase())) return
  notices.warn(
    at,
    `The header ${name} is written by the platform: the parameter of that name was left out.`,
  )
}

/** A reference means the same as what it names; one that cannot be followed is told where the schema is written. */
function followed(schema: unknown, references: References): unknown {
  try {
    return references.follow(schema)
  } catch {
    return schema
  }
}

/** `x-multi-segment` is GitHub's word for it; a pattern with a slash outside brackets is Google's. */
function reachOf(parameter: JsonObject, schema: unknown): PathReach {
  if (own(parameter, 'x-multi-segment') === true) return 'segments'
  if (own(parameter, 'allowReserved') === true) return 'segments'
  const pattern = isObject(schema) ? textAt(schema, 'pattern') : undefined
  if (pattern?.replaceAll(/\\?\[[^\]]*\]/g, '').includes('/')) return 'segments'
  return holdsSlash(parameter, schema) ? 'encoded' : 'segment'
}

/** "The ID or URL-encoded path of the project" is GitLab's word for it; others show an example. */
function holdsSlash(parameter: JsonObject, schema: unknown): boolean {
  const places = isObject(schema) ? [parameter, schema] : [parameter]
  return places.some((place) => {
    const said = textAt(place, 'description') ?? ''
    if (/\b(?:ur[il]|percent)[\s-]?encoded\s+(?:full\s+)?path\b|%2f/i.test(said)) return true
    const named = Object.values(objectAt(place, 'examples'))
    const examples = [
      ...[own(place, 'example'), ...listAt(place, 'examples')],
      ...named.map((each) => (isObject(each) ? own(each, 'value') : undefined)),
    ]
    return examples.some((each) => typeof each === 'string' && /\/|%2f/i.test(each))
  })
}

function placeOf(place: string | undefined): ParameterSpec['in'] | undefined {
  return place === 'path' || place === 'query' || place === 'header' || place === 'cookie'
    ? place
    : undefined
}

function contentOf(
  parameter: JsonObject,
): { type: string; schema: unknown; media: JsonObject } | undefined {
  const content = own(parameter, 'content')
  const [first] = isObject(content) ? Object.entries(content) : []
  if (first === undefined || !isObject(first[1])) return undefined
  return { type: first[0].slice(0, 200), schema: own(first[1], 'schema') ?? {}, media: first[1] }
}

/** The parameter's own words win over its schema's; a deprecated one says so. */
function describedAs(parameter: JsonObject, schema: unknown): string | undefined {
  const said =
    textAt(parameter, 'description') ??
    (isObject(schema) ? textAt(schema, 'description') : undefined)
  if (own(parameter, 'deprecated') !== true) return said
  return `Deprecated. ${said ?? ''}`.trim()
}

function transport(
  parameter: JsonObject,
  place: ParameterSpec['in'],
  at: string,
  notices: Notices,
): Pick<ParameterSource, 'style' | 'explode' | 'allowReserved'> {
  const format = textAt(parameter, 'collectionFormat')
  const isArray = own(parameter, 'type') === 'array' && own(parameter, 'schema') === undefined
  if (isArray || format !== undefined) return collection(format ?? 'csv', place)
  const written = textAt(parameter, 'style')
  let style: ParameterStyle = defaultStyles[place]
  if (isStyle(written) && allowedStyles[place].includes(written)) style = written
  // OpenAPI 3.2 adds the style `cookie`, which differs from `form` in escaping only.
  else if (written !== undefined && written !== 'cookie') {
    notices.warn(
      at,
      `A ${place} parameter has a style that this place does not know; "${style}" is used.`,
    )
  }
  const explode = own(parameter, 'explode')
  return {
    style,
    explode: typeof explode === 'boolean' ? explode : style === 'form' || style === 'deepObject',
    allowReserved: own(parameter, 'allowReserved') === true,
  }
}

/** Swagger 2.0 `collectionFormat` as style and explode. */
export function collection(
  format: string,
  place: ParameterSpec['in'],
): Pick<ParameterSource, 'style' | 'explode' | 'allowReserved'> {
  const known = own(delimited, format)
  const style = isStyle(known) && place !== 'cookie' ? known : defaultStyles[place]
  return { style, explode: format === 'multi' && place === 'query', allowReserved: false }
}

function isStyle(text: unknown): text is ParameterStyle {
  return (
    text === 'simple' ||
    text === 'label' ||
    text === 'matrix' ||
    text === 'form' ||
    text === 'spaceDelimited' ||
    text === 'pipeDelimited' ||
    text === 'tabDelimited' ||
    text === 'deepObject'
  )
}

/** True where the document asks for the Authorization header as if it were an ordinary parameter. */
export function asksForAuthorization(
  pathItem: JsonObject,
  operation: JsonObject,
  references: References,
): boolean {
  const lists = [pathItem, operation].flatMap((holder) => parameterList(holder, references))
  return lists.some((value) => {
    const parameter = references.follow(value)
    return (
      isObject(parameter) &&
      textAt(parameter, 'in') === 'header' &&
      textAt(parameter, 'name')?.toLowerCase() === 'authorization'
    )
  })
}
