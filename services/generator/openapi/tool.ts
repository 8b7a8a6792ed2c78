/** One operation of a document becomes one tool: pure data that the guest's serialiser carries out. */
import type {
  BodySpec,
  HttpMethod,
  OperationSpec,
  ParameterSpec,
  ToolSpec,
} from '@bmm/spec/server-spec'
import { acceptOf, type BodySource, bodyOf, mediaTypes, writtenBody } from './body.ts'
import { type Fields, flattenedBody } from './body-fields.ts'
import type { SentCredentials } from './credentials.ts'
import type { OpenApiDocument } from './document.ts'
import { keyRing } from './input-key.ts'
import { isObject, type JsonObject, objectAt, own, textAt } from './json.ts'
import { negotiated } from './negotiation.ts'
import type { Notices } from './notices.ts'
import { ownName, tellOwnNames } from './own-name.ts'
import { MAX_WIRE_NAME, type ParameterSource, parametersOf } from './parameter.ts'
import { hasHidden, line, prose } from './prose.ts'
import type { References } from './reference.ts'
import { Refused } from './refused.ts'
import { namedProperties, type SchemaBudget, type SchemaBuilder, schemaBuilder } from './schema.ts'
import {
  type ApiServer,
  type UrlTemplate,
  urlTemplate,
  withoutDeclaredQuery,
} from './server-url.ts'
import { withoutSignature } from './signature.ts'
import { offerNamedFiles } from './upload.ts'
import { bodyNotes, wholeBody } from './whole-body.ts'

export type Import = { document: OpenApiDocument; references: References; notices: Notices }

/** An operation that can become a tool, with all that is known before its schema is built. */
export type Operation = {
  method: HttpMethod
  /** As it stands in the document. */
  path: string
  pointer: string
  pathItem: JsonObject
  operation: JsonObject
  server: ApiServer
  /** What its requests must be signed with, which no tool can do. */
  signing: string | undefined
}

export type ImportedTool = { tool: ToolSpec; origin: string; egressPath: string }

const MAX_PARAMETERS = 400
const MAX_TITLE = 120
const MAX_SUMMARY = 300
const MAX_DESCRIPTION = 1_500
/** Of a parameter's name in a warning. */
const MAX_STRAY_NAME = 100
const safeMethods: ReadonlySet<HttpMethod> = new Set(['GET', 'HEAD', 'OPTIONS', 'QUERY'])
const idempotentMethods: ReadonlySet<HttpMethod> = new Set([...safeMethods, 'PUT', 'DELETE'])

/** Throws Refused and ReferenceFault with the reason why the operation cannot become a tool. */
export function toolFrom(
  source: Operation,
  name: string,
  credentials: SentCredentials,
  budget: SchemaBudget,
  context: Import,
): ImportedTool {
  const { document, references, notices } = context
  const { operation, pathItem, pointer, method } = source
  const list = parametersOf(pathItem, operation, pointer, references, notices)
  const types =
    document.version === '2.0' ? negotiated(list.typeHeaders, pointer, notices) : undefined
  const consumes =
    types?.contentType === undefined
      ? mediaTypes(operation, document.root, 'consumes')
      : [types.contentType]
  const written = { version: document.version, operation, pointer }
  const body = bodyOf(writtenBody(written, list.bodyParameters, consumes, notices), references)
  const parameters = withoutSignature(list.parameters, source.signing, pointer, notices)
  const template = templateOf(source, parameters)
  const wanted = [
    ...wantedParameters(parameters, template, credentials, pointer, notices),
    ...querystringFields(list.querystring, schemaBuilder(references, { bytes: 0 })),
  ]
  if (wanted.length > MAX_PARAMETERS) {
    throw new Refused(
      `The operation has ${wanted.length} parameters; at most ${MAX_PARAMETERS} fit a tool.`,
    )
  }
  const builder = schemaBuilder(references, budget)
  const input = inputFrom(wanted, body, builder, { ...template, references })
  const report = builder.finish()
  tellShortcomings(report, pointer, notices)
  offerNamedFiles(
    input.schema,
    (input.body?.fields ?? []).flatMap(({ key, file }) => (file === true ? [key] : [])),
  )
  tellOwnNames(input.schema, [
    ...input.wires,
    ...(input.body?.fields ?? []).map(({ key, name: wire }) => ({ at: [key], wire })),
    ...report.renames,
  ])
  const produces = mediaTypes(operation, document.root, 'produces')
  const accept = types?.accept ?? acceptOf(operation, produces, references)
  const spec: OperationSpec = {
    method,
    url: template.url,
    parameters: input.parameters,
    ...(input.body === undefined ? {} : { body: input.body }),
    ...(report.renames.length === 0 ? {} : { renames: report.renames }),
    ...(accept === undefined ? {} : { accept }),
  }
  const called = ownName(textAt(operation, 'operationId') ?? '')
  const title = line(textAt(operation, 'summary') ?? called ?? '', MAX_TITLE)
  const tool: ToolSpec = {
    name,
    ...(title === '' ? {} : { title }),
    description: description(
      source,
      [called === undefined ? '' : `Called "${called}" in the API.`, ...input.notes],
      notices,
    ),
    inputSchema: input.schema,
    annotations: hints(method),
    operation: spec,
    examples: [],
  }
  return { tool, origin: template.origin, egressPath: template.path }
}

/** MCP's cautious reading: what is not safe by RFC 9110 section 9.2.1 may destroy. */
function hints(method: HttpMethod): ToolSpec['annotations'] {
  const readOnlyHint = safeMethods.has(method)
  return {
    readOnlyHint,
    destructiveHint: !readOnlyHint,
    idempotentHint: idempotentMethods.has(method),
    openWorldHint: true,
  }
}

function templateOf(source: Operation, parameters: readonly ParameterSource[]): UrlTemplate {
  const declared = (place: string) => parameters.filter((p) => p.in === place)
  const query = new Set(declared('query').map(({ name }) => name))
  const path = new Map(declared('path').map(({ name, reach }) => [name, reach]))
  return urlTemplate(source.server, withoutDeclaredQuery(source.path, query), path)
}

/** Path parameters as the template names them; without those that the broker or nobody fills in. */
function wantedParameters(
  parameters: readonly ParameterSource[],
  template: UrlTemplate,
  credentials: SentCredentials,
  at: string,
  notices: Notices,
): ParameterSource[] {
  const wanted = parameters.filter((parameter) => {
    if (parameter.in === 'path') {
      const isThere = template.names.has(parameter.name)
      if (!isThere) tellStrayPathParameter(parameter.name, at, notices)
      return isThere
    }
    return !credentials.isFilled(parameter.in, parameter.name)
  })
  const declared = new Set(wanted.filter((p) => p.in === 'path').map((p) => p.name))
  for (const [name, spans] of template.names) {
    if (declared.has(name)) {
      const parameter = wanted.find((p) => p.in === 'path' && p.name === name)
      if (parameter !== undefined && spans) parameter.allowReserved = true
      continue
    }
    notices.warn(at, 'A path parameter that is not declared became a required string.')
    wanted.push(undeclared(name, spans))
  }
  if (wanted.some(({ name }) => name.length > MAX_WIRE_NAME)) {
    throw new Refused('The name of a path parameter is too long.')
  }
  const order = ['path', 'query', 'header', 'cookie']
  return wanted.sort((a, b) => order.indexOf(a.in) - order.indexOf(b.in))
}

function tellStrayPathParameter(name: string, at: string, notices: Notices): void {
  const shown = line(name, MAX_STRAY_NAME)
  notices.warn(at, `The path parameter ${shown} was left out: the path has no {${shown}}.`)
}

function undeclared(name: string, allowReserved: boolean): ParameterSource {
  return {
    name,
    in: 'path',
    required: true,
    description: undefined,
    style: 'simple',
    explode: false,
    allowReserved,
    reach: allowReserved ? 'segments' : 'segment',
    contentType: undefined,
    parts: [{ source: { type: 'string' }, trail: undefined }],
  }
}

/** OpenAPI 3.2 `in: querystring`: the fields of a form become ordinary query parameters. */
function querystringFields(
  parameter: JsonObject | undefined,
  builder: SchemaBuilder,
): ParameterSource[] {
  if (parameter === undefined) return []
  const [first] = Object.entries(objectAt(parameter, 'content'))
  const media = first?.[1]
  const schema = isObject(media) ? own(media, 'schema') : undefined
  const { merged } = builder.look([{ source: schema, trail: undefined }])
  const fields = [...namedProperties(merged)].filter(([name]) => name.length <= MAX_WIRE_NAME)
  if (first?.[0] !== 'application/x-www-form-urlencoded' || fields.length === 0) {
    throw new Refused('The whole query string is one value that is not a form with named fields.')
  }
  return fields.map(([name, parts]) => ({
    name,
    in: 'query',
    required: own(parameter, 'required') === true && merged.object.required.has(name),
    description: undefined,
    style: 'form',
    explode: true,
    allowReserved: false,
    reach: 'segment',
    contentType: undefined,
    parts: [...parts],
  }))
}

type Input = {
  schema: JsonObject
  /** The parameters' own names by key. */
  wires: { at: string[]; wire: string }[]
  parameters: ParameterSpec[]
  body: BodySpec | undefined
  notes: readonly string[]
}

function inputFrom(
  wanted: readonly ParameterSource[],
  body: BodySource | undefined,
  builder: SchemaBuilder,
  { placeholders, references }: UrlTemplate & { references: References },
): Input {
  const ring = keyRing(wanted.map(({ name }) => name))
  const properties: JsonObject = {}
  const required: string[] = []
  const wires: Input['wires'] = []
  const parameters = wanted.map((parameter): ParameterSpec => {
    const key = ring.keyFor(parameter.name, parameter.in)
    wires.push({ at: [key], wire: parameter.name })
    const schema = builder.write(builder.look(parameter.parts), [key], parameter.description)
    properties[key] = schema
    if (parameter.required) required.push(key)
    if (parameter.in !== 'path') return parameterSpec(parameter, key, parameter.name)
    refuseEmpty(schema)
    return parameterSpec(parameter, key, placeholders.get(parameter.name) ?? parameter.name)
  })
  const fields = body === undefined ? undefined : flattenedBody(body, ring, builder, wanted.length)
  if (fields !== undefined) {
    Object.assign(properties, fields.properties)
    required.push(...fields.required)
  }
  const sent = body === undefined ? undefined : bodySpec(body, fields)
  if (body !== undefined && sent !== undefined && fields === undefined) {
    const key = ring.keyFor(ring.has('body') ? 'request_body' : 'body')
    sent.key = key
    properties[key] = wholeBody(body, key, builder, references)
    if (sent.required) required.push(key)
  }
  const schema: JsonObject = {
    type: 'object',
    properties,
    ...(required.length === 0 ? {} : { required }),
    additionalProperties: false,
  }
  return { schema, wires, parameters, body: sent, notes: bodyNotes(body, fields) }
}

/** A segment of an address is never empty: the schema says so, so that the model knows. */
function refuseEmpty(schema: JsonObject): void {
  if (schema.type === 'string') schema.minLength = 1
  if (schema.type === 'array') schema.minItems = 1
  if (schema.type === 'object') schema.minProperties = 1
}

function parameterSpec(parameter: ParameterSource, key: string, name: string): ParameterSpec {
  return {
    key,
    name,
    in: parameter.in,
    style: parameter.style,
    explode: parameter.explode,
    ...(parameter.allowReserved ? { allowReserved: true } : {}),
    ...(parameter.contentType === undefined ? {} : { contentType: parameter.contentType }),
  }
}

function bodySpec(body: BodySource, fields: Fields | undefined): BodySpec {
  return {
    kind: body.kind,
    contentType: body.contentType,
    required: body.required ?? (fields === undefined ? false : fields.required.length > 0),
    ...(fields === undefined ? {} : { fields: fields.fields }),
  }
}

function description(source: Operation, notes: readonly string[], notices: Notices): string {
  const summary = textAt(source.operation, 'summary') ?? textAt(source.pathItem, 'summary') ?? ''
  const long =
    textAt(source.operation, 'description') ?? textAt(source.pathItem, 'description') ?? ''
  if (hasHidden(summary) || hasHidden(long)) {
    notices.warn(source.pointer, 'Hidden characters were removed from a description.')
  }
  const head = prose(summary, MAX_SUMMARY)
  const rest = prose(long, MAX_DESCRIPTION)
  const isRepeated = head !== '' && rest.startsWith(head.replace(/\.$/, ''))
  const said = [isRepeated ? '' : head, rest].filter((part) => part !== '')
  const parts = [
    own(source.operation, 'deprecated') === true ? 'Deprecated.' : '',
    ...(said.length > 0 ? said : [`${source.method} ${prose(source.path, MAX_SUMMARY)}`]),
    ...notes,
  ]
  return parts.filter((part) => part !== '').join('\n\n')
}

function tellShortcomings(
  report: ReturnType<SchemaBuilder['finish']>,
  at: string,
  notices: Notices,
): void {
  if (report.dangling.length > 0) {
    notices.warn(at, 'A reference points to nothing; the value may be anything.')
  }
  if (report.recursive > 0) {
    notices.warn(at, 'A schema contains itself; its inner copies are described by their type only.')
  }
  if (report.loosened > 0) {
    notices.warn(
      at,
      'A schema contradicts its own examples, values or types: what refused them was left out.',
    )
  }
  if (report.shortened > 0) {
    notices.warn(at, 'The input is described only so far: its full schema is too large for a tool.')
  }
  if (report.renamesFull) {
    notices.warn(
      at,
      'Some optional keys outside the safe alphabet were left out: there are too many.',
    )
  }
}
