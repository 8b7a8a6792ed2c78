/** The examples that stand in a document, sent through its tool: what is read back must be the example. */
import { schemaCheck } from '@bmm/runner/guest/input.ts'
import { type RenameNode, renameTree } from '@bmm/runner/guest/renames.ts'
import { requestFrom } from '@bmm/runner/guest/request.ts'
import type { OperationSpec, ToolSpec } from '@bmm/spec/server-spec'
import { exampleInput } from '../example-input.ts'
import { contentFor } from './body-reader.ts'
import type { ReadExample, ReadOperation, ReadParameter } from './document-reader.ts'
import { isObject, type Json } from './json.ts'
import { changed } from './judgement.ts'
import type { ToolFault } from './outcome.ts'
import { type RequestReading, requestReading } from './request-reading.ts'
import { sameBody, sameValue } from './sameness.ts'
import type { SchemaReader } from './schema-reader.ts'

export type RoundTrips = {
  tried: number
  equal: number
  /** Of those that are not equal, the ones that their own schema does not allow. */
  contradicted: number
  faults: ToolFault[]
}
type ImportedTool = ToolSpec & { operation: OperationSpec }
/** One value for each input key that has an example. */
type ExampleSet = { parameters: Map<string, unknown>; body: { value: unknown } | undefined }

const MAX_SETS = 5
const UNDECLARED = 'the example has a field that its schema does not declare'
const REFUSED = 'the example contradicts its own schema'
const randomId = () => '0123456789abcdef0123456789abcdef'

export function roundTrips(
  tool: ImportedTool,
  operation: ReadOperation,
  schemas: SchemaReader,
  elsewhere: ReadonlySet<string>,
): RoundTrips {
  const sets = exampleSets(tool.operation, operation)
  const result: RoundTrips = { tried: 0, equal: 0, contradicted: 0, faults: [] }
  const check = schemaCheck(tool.inputSchema)
  for (const set of sets) {
    const input = inputOf(tool, set)
    if (input === undefined) continue
    result.tried += 1
    const fault = faultOf(tool, input, set, operation, schemas, elsewhere, check)
    if (fault === undefined) {
      result.equal += 1
      continue
    }
    const cause = contradiction(set, tool.operation, operation, schemas)
    if (cause !== undefined) result.contradicted += 1
    result.faults.push({ ...fault, cause })
  }
  return result
}

function faultOf(
  { operation: spec }: ImportedTool,
  input: Json,
  set: ExampleSet,
  operation: ReadOperation,
  schemas: SchemaReader,
  elsewhere: ReadonlySet<string>,
  check: (input: unknown) => string[],
): ToolFault | undefined {
  const [refusal] = check(input)
  if (refusal !== undefined) {
    return { kind: 'example-refused', where: 'inputSchema', why: refusal }
  }
  try {
    const request = requestFrom(spec, input, randomId)
    const reading = requestReading(request, operation, schemas, elsewhere)
    return difference(spec, set, reading)
  } catch (error) {
    return { kind: 'example-not-sent', where: 'request', why: String(error).slice(0, 300) }
  }
}

/** The first example that is not read back as it stands in the document. */
function difference(
  spec: OperationSpec,
  set: ExampleSet,
  reading: RequestReading,
): ToolFault | undefined {
  for (const { key, name, in: place } of spec.parameters) {
    const example = set.parameters.get(key)
    const read = reading.values[place].get(name) ?? []
    if (example === undefined || read.some((one) => sameValue(example, one))) continue
    return changed(`${place} ${name}`, example, read[0])
  }
  if (set.body === undefined) return undefined
  const { body } = reading
  if (body !== undefined && sameBody(set.body.value, body)) return undefined
  const read = body?.kind === 'opaque' ? 'bytes' : body?.value
  return changed('body', set.body.value, read)
}

/** How the document contradicts its own examples; undefined where it does not. */
function contradiction(
  set: ExampleSet,
  spec: OperationSpec,
  operation: ReadOperation,
  schemas: SchemaReader,
): string | undefined {
  const contents = operation.request?.body?.contents ?? []
  const values = [...set.parameters].map(([key, value]) => {
    const own = spec.parameters.find((one) => one.key === key)
    return { value, schema: own && readParameter(operation, own)?.schema }
  })
  if (set.body !== undefined) {
    const { schema } = contentFor(spec.body?.contentType ?? '', contents) ?? {}
    values.push({ value: set.body.value, schema })
    const names = isObject(set.body.value) ? Object.keys(set.body.value) : []
    const shapes = schemas.shapes(schema)
    const isDeclared = (name: string) => shapes.some(({ properties }) => name in properties)
    const isMap = shapes.some(({ additional }) => additional !== undefined)
    if (!isMap && !names.every(isDeclared)) return UNDECLARED
  }
  return values.some(({ value, schema }) => isRefused(schemas, schema, value)) ? REFUSED : undefined
}

function isRefused(schemas: SchemaReader, schema: unknown, value: unknown): boolean {
  try {
    return schemas.problems(schema, value, false).length > 0
  } catch {
    return false
  }
}

function exampleSets(spec: OperationSpec, operation: ReadOperation): ExampleSet[] {
  const lists = spec.parameters.flatMap((own) => {
    const parameter = readParameter(operation, own)
    const values = valuesOf(parameter?.examples, parameter?.schema)
    return values.length === 0 ? [] : [{ key: own.key, values }]
  })
  const contents = operation.request?.body?.contents ?? []
  const content = spec.body && contentFor(spec.body.contentType, contents)
  const isText = spec.body?.kind !== 'binary'
  const bodies = content === undefined || !isText ? [] : valuesOf(content.examples, content.schema)
  const count = Math.min(
    MAX_SETS,
    Math.max(bodies.length, ...lists.map(({ values }) => values.length)),
  )
  return Array.from({ length: Math.max(0, count) }, (_, index) => ({
    parameters: new Map(lists.map(({ key, values }) => [key, values[index % values.length]])),
    body: bodies.length === 0 ? undefined : { value: bodies[index % bodies.length] },
  }))
}

function readParameter(
  operation: ReadOperation,
  { name, in: place }: OperationSpec['parameters'][number],
): ReadParameter | undefined {
  const lists = { path: 'path', query: 'query', header: 'headers', cookie: 'cookie' } as const
  const found = operation.request?.[lists[place]]?.filter((one) =>
    place === 'header' ? one.name.toLowerCase() === name.toLowerCase() : one.name === name,
  )
  return found?.[0]
}

/** Null and nothing cannot be told from absence in a URL. */
function valuesOf(examples: readonly ReadExample[] | undefined, schema: unknown): unknown[] {
  const own = (examples ?? []).flatMap((example) => ('value' in example ? [example.value] : []))
  const ofSchema = isObject(schema) && Array.isArray(schema.examples) ? schema.examples : []
  const all = own.length > 0 ? own : ofSchema
  return all.filter((value) => value !== null && value !== undefined && value !== '')
}

/** The least input with the examples in their places; undefined where the body cannot be given in parts. */
function inputOf(tool: ImportedTool, set: ExampleSet): Json | undefined {
  const { operation: spec, inputSchema } = tool
  const tree = renameTree(spec.renames ?? [])
  const input = exampleInput(inputSchema, { properties: 'required', alternative: 0 })
  for (const [key, value] of set.parameters) input[key] = withKeys(value, tree.below.get(key))
  if (set.body === undefined || spec.body === undefined) return input
  const { value } = set.body
  if (spec.body.key !== undefined) {
    input[spec.body.key] = withKeys(value, tree.below.get(spec.body.key))
    return input
  }
  if (!isObject(value)) return undefined
  for (const { key } of spec.body.fields ?? []) delete input[key]
  const byName = new Map((spec.body.fields ?? []).map(({ key, name }) => [name, key]))
  for (const [name, part] of Object.entries(value)) {
    const key = byName.get(name)
    if (key === undefined) input[name] = part
    else input[key] = withKeys(part, tree.below.get(key))
  }
  return input
}

/** From wire names to the tool's keys. */
function withKeys(value: unknown, node: RenameNode | undefined): unknown {
  if (node === undefined || node.below.size === 0) return value
  if (Array.isArray(value)) return value.map((item) => withKeys(item, node.below.get('*')))
  if (!isObject(value)) return value
  const byWire = new Map([...node.below].map(([key, below]) => [below.wire ?? key, key]))
  return Object.fromEntries(
    Object.entries(value).map(([name, part]) => {
      const key = byWire.get(name) ?? name
      return [key, withKeys(part, node.below.get(key) ?? node.below.get('*'))]
    }),
  )
}
