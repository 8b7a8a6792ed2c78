/** The request body of an operation: which media type is sent, and whether its fields stand in the tool's input. */
import type { BodySpec } from '@bmm/spec/server-spec'
import { exampleOf, followedWithWords } from './example.ts'
import { isObject, type JsonObject, listAt, objectAt, own, textAt } from './json.ts'
import type { Notices } from './notices.ts'
import { collection } from './parameter.ts'
import type { References } from './reference.ts'
import { Refused } from './refused.ts'
import type { Part } from './schema-leaf.ts'
import { typeList } from './upload.ts'

export type BodySource = {
  kind: BodySpec['kind']
  contentType: string
  /** Undefined: the document does not say. */
  required: boolean | undefined
  description: string | undefined
  parts: Part[]
  /** Shown beside the schema. */
  example: unknown
  /** Encoding objects by property (form and multipart). */
  encoding: JsonObject
}

type Media = { type: string; object: JsonObject }

const MAX_CONTENT_TYPE = 200
const formType = 'application/x-www-form-urlencoded'

/** The body that the tool will send; undefined when the operation has none. Throws ReferenceFault, Refused. */
export function bodyOf(requestBody: unknown, references: References): BodySource | undefined {
  if (requestBody === undefined || requestBody === null) return undefined
  const body = followedWithWords(requestBody, references)
  if (!isObject(body)) return undefined
  const content = references.follow(own(body, 'content'))
  const media = Object.entries(isObject(content) ? content : {}).flatMap(([type, value]) => {
    const object = references.follow(value)
    return [{ type: type.trim(), object: isObject(object) ? object : {} }]
  })
  if (media.length === 0) return undefined
  const required = own(body, 'required')
  const description = textAt(body, 'description')
  const { object, ...best } = chosen(media)
  return {
    ...best,
    example: exampleOf(object, references) ?? exampleOf(body, references),
    required: typeof required === 'boolean' ? required : undefined,
    description,
  }
}

/**
 * What the document gives as the body of an operation, in the form of its version or, with a warning, in that of another:
 * `in: body` is of Swagger 2.0, `requestBody` of OpenAPI 3.
 */
export function writtenBody(
  { version, operation, pointer }: { version: string; operation: JsonObject; pointer: string },
  parameters: readonly JsonObject[],
  consumes: readonly unknown[],
  notices: Notices,
): unknown {
  const ofParameters = requestBodyOfParameters(parameters, consumes)
  const ofObject = own(operation, 'requestBody') ?? undefined
  const isOld = version === '2.0'
  const [native, foreign] = isOld ? [ofParameters, ofObject] : [ofObject, ofParameters]
  if (foreign === undefined) return native
  const [written, meant] = isOld
    ? ['`requestBody`', 'OpenAPI 3']
    : ['Parameters `in: body` or `formData`', 'Swagger 2.0']
  notices.warn(
    pointer,
    native === undefined
      ? `${written}: a form of ${meant} that this version does not know. It was taken as the body.`
      : `${written}: a form of ${meant}, beside a body in the form of this version. It was left out.`,
  )
  return native ?? foreign
}

/** Swagger 2.0: `body` and `formData` parameters as the request body object of OpenAPI 3. */
function requestBodyOfParameters(
  parameters: readonly JsonObject[],
  consumes: readonly unknown[],
): JsonObject | undefined {
  const whole = parameters.find((parameter) => textAt(parameter, 'in') === 'body')
  const types = consumes.filter((type) => typeof type === 'string')
  if (whole !== undefined) {
    const named = types.length === 0 ? ['application/json'] : types
    const schema = own(whole, 'schema') ?? {}
    return {
      required: own(whole, 'required') === true,
      description: own(whole, 'description'),
      example: own(whole, 'example') ?? own(whole, 'x-example'),
      content: Object.fromEntries(named.map((type) => [type, { schema }])),
    }
  }
  if (parameters.length === 0) return undefined
  const hasFile = parameters.some((parameter) => own(parameter, 'type') === 'file')
  const isMultipart = hasFile || (types.length > 0 && types.every((t) => /^multipart\//i.test(t)))
  const named = parameters.flatMap((parameter) => {
    const name = textAt(parameter, 'name')
    return name === undefined ? [] : [{ name, parameter }]
  })
  const schema = {
    type: 'object',
    properties: Object.fromEntries(
      named.map(({ name, parameter }) => [name, fieldSchema(parameter)]),
    ),
    required: named.flatMap(({ name, parameter }) =>
      own(parameter, 'required') === true ? [name] : [],
    ),
  }
  const lists = named.filter(({ parameter }) => own(parameter, 'type') === 'array')
  const encoding = Object.fromEntries(
    lists.map(({ name, parameter }) => {
      const { style, explode } = collection(textAt(parameter, 'collectionFormat') ?? 'csv', 'query')
      return [name, { style, explode }]
    }),
  )
  return {
    required: schema.required.length > 0,
    content: { [isMultipart ? 'multipart/form-data' : formType]: { schema, encoding } },
  }
}

function fieldSchema(parameter: JsonObject): JsonObject {
  const { required: _required, schema: described, ...written } = parameter
  const schema = isObject(described) ? described : written
  return own(parameter, 'type') === 'file'
    ? { ...schema, type: 'string', format: 'binary' }
    : schema
}

/** JSON before forms before text before bytes; among equals the document's order. */
function chosen(
  media: readonly Media[],
): Pick<BodySource, 'kind' | 'contentType' | 'parts' | 'encoding'> & { object: JsonObject } {
  const ranked = media
    .map((one) => ({ ...one, kind: kindOf(one) }))
    .filter((one) => one.kind !== undefined)
  const order = ['json', 'form', 'multipart', 'text', 'binary']
  ranked.sort(
    (a, b) =>
      order.indexOf(a.kind ?? '') - order.indexOf(b.kind ?? '') || preference(b) - preference(a),
  )
  const best = ranked[0]
  if (best?.kind === undefined) {
    const types = media.map(({ type }) => type.slice(0, 80)).join(', ')
    throw new Refused(`The request body is ${types}, which cannot be built from a tool's input.`)
  }
  const files = ranked.filter(({ kind }) => kind === 'binary').map(({ type }) => type)
  const types = best.kind === 'binary' && best.type !== '*/*' ? typeList(files) : undefined
  const contentType = types ?? concreteType(best.type, best.kind)
  const isStream = own(best.object, 'itemSchema') !== undefined || isSequential(contentType)
  const source = isStream
    ? { type: 'string', description: `The whole body as ${contentType} text.` }
    : (own(best.object, 'schema') ?? {})
  return {
    kind: best.kind,
    contentType,
    parts: [{ source, trail: undefined }],
    encoding: objectAt(best.object, 'encoding'),
    object: best.object,
  }
}

/** Plain JSON before patches that a model can write as an object, before lists of patch steps. */
function preference(media: Media): number {
  const type = bareType(media.type)
  if (type === 'application/json') return 2
  if (type === 'application/merge-patch+json') return 1
  return type === 'application/json-patch+json' ? -1 : 0
}

/** Undefined for what a tool cannot send. */
function kindOf(media: Media): BodySpec['kind'] | undefined {
  const type = bareType(media.type)
  if (own(media.object, 'itemSchema') !== undefined || isSequential(type)) return 'text'
  if (type === formType) return 'form'
  if (type === 'multipart/form-data') return 'multipart'
  if (type.startsWith('multipart/')) return undefined
  if (type === '*/*' || type === 'application/*' || type === '') return kindOfSchema(media.object)
  if (/[/+]json$|^text\/json$/.test(type) || /^application\/[\w.-]*json[\w.-]*$/.test(type))
    return 'json'
  const isText =
    type.startsWith('text/') ||
    /[/+](?:xml|yaml|x-yaml|graphql|javascript|sql|sparql-query|csv|x-ndjson)$/.test(type)
  return isText ? 'text' : 'binary'
}

function kindOfSchema(object: JsonObject): BodySpec['kind'] {
  const schema = objectAt(object, 'schema')
  const type = textAt(schema, 'type')
  if (type === 'string') return textAt(schema, 'format') === 'binary' ? 'binary' : 'text'
  return own(object, 'schema') === undefined ? 'binary' : 'json'
}

/** JSON text sequences and lines: one value after the other, which a model can write as text. */
function isSequential(type: string): boolean {
  return /^application\/(?:x-ndjson|ndjson|jsonl|json-seq|[\w.-]+\+json-seq|x-jsonlines)$/.test(
    bareType(type),
  )
}

function bareType(type: string): string {
  return (type.split(';', 1)[0] ?? '').trim().toLowerCase()
}

/** A range such as `image/*` cannot be sent. */
function concreteType(type: string, kind: BodySpec['kind']): string {
  const usual = {
    json: 'application/json',
    form: formType,
    multipart: 'multipart/form-data',
    text: 'text/plain',
    binary: 'application/octet-stream',
  }[kind]
  if (type.includes('*') || type.length > MAX_CONTENT_TYPE) return usual
  return /^[\w!#$&^.+-]+\/[\w!#$&^.+-]+\s*(?:;[\x20-\x7e]*)?$/.test(type) ? type : usual
}

/** The Accept header: JSON where a successful answer has it, else what the answers are. */
export function acceptOf(
  operation: JsonObject,
  produces: readonly unknown[],
  references: References,
): string | undefined {
  const responses = Object.entries(objectAt(operation, 'responses'))
  const successful = responses.filter(([status]) => status.startsWith('2'))
  const types = new Set<string>()
  for (const [, value] of successful) {
    const response = quietly(() => references.follow(value))
    if (!isObject(response)) continue
    for (const type of Object.keys(objectAt(response, 'content'))) types.add(type)
  }
  for (const type of types.size === 0 ? produces : []) if (typeof type === 'string') types.add(type)
  const sound = [...types].filter((type) =>
    /^[\w!#$&^.+*-]+\/[\w!#$&^.+*-]+(?:\s*;[\x20-\x7e]*)?$/.test(type),
  )
  const json = sound.filter((type) => /[/+]json/i.test(type))
  const accept = (json.length > 0 ? json : sound).slice(0, 8).join(', ')
  return accept === '' || accept.length > 500 ? undefined : accept
}

/** A response that cannot be resolved costs the Accept header, not the operation. */
function quietly(work: () => unknown): unknown {
  try {
    return work()
  } catch {
    return undefined
  }
}

/** `consumes` or `produces` of Swagger 2.0: the operation's own, else the document's. */
export function mediaTypes(
  operation: JsonObject,
  root: JsonObject,
  keyword: 'consumes' | 'produces',
): unknown[] {
  const own = listAt(operation, keyword)
  return own.length > 0 ? own : listAt(root, keyword)
}
