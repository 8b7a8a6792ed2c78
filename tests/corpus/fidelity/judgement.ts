/** One tool of a document: inputs are made from its schema, each becomes a request, and each request is read back by the document. */
import { schemaCheck } from '@bmm/runner/guest/input.ts'
import { type RenameNode, renameTree, withWireNames } from '@bmm/runner/guest/renames.ts'
import { requestFrom } from '@bmm/runner/guest/request.ts'
import type { OperationSpec, ToolSpec } from '@bmm/spec/server-spec'
import { exampleInput, inputPlans } from '../example-input.ts'
import { causeOf, TYPE_ONLY } from './causes.ts'
import type { ReadOperation } from './document-reader.ts'
import type { Json } from './json.ts'
import type { ToolFault } from './outcome.ts'
import { type RequestReading, requestReading } from './request-reading.ts'
import { sameBody, sameValue } from './sameness.ts'
import type { SchemaReader } from './schema-reader.ts'

export type Judgement = {
  inputs: number
  valid: number
  /** Of the valid ones, those that left out what the tool tells by its type only. */
  partial: number
  /** Of the inputs, the first that failed tells why. */
  faults: ToolFault[]
}

const randomId = () => '0123456789abcdef0123456789abcdef'

export function judgeTool(
  tool: ToolSpec & { operation: OperationSpec },
  operation: ReadOperation,
  schemas: SchemaReader,
  elsewhere: ReadonlySet<string>,
  accepts: (input: Json) => string[],
): Judgement {
  const check = schemaCheck(tool.inputSchema)
  const refusal = (input: Json) => check(input)[0] ?? accepts(input)[0]
  const judged = (input: Json) =>
    callFaults(tool.operation, input, operation, schemas, elsewhere).map((fault) => ({
      ...fault,
      cause: fault.cause ?? causeOf(fault, tool, input),
    }))
  const result: Judgement = { inputs: 0, valid: 0, partial: 0, faults: [] }
  const seen = new Set<string>()
  let firstRefusal: string | undefined
  for (const plan of inputPlans(tool.inputSchema)) {
    const input = exampleInput(tool.inputSchema, plan)
    const text = JSON.stringify(input)
    if (seen.has(text)) continue
    seen.add(text)
    const refused = refusal(input)
    firstRefusal ??= refused
    if (refused !== undefined) continue
    result.inputs += 1
    const faults = judged(input)
    const told = exampleInput(tool.inputSchema, { ...plan, properties: 'told' })
    const isPartial =
      plan.properties === 'all' &&
      faults[0]?.cause === TYPE_ONLY &&
      refusal(told) === undefined &&
      judged(told).length === 0
    if (faults.length === 0 || isPartial) result.valid += 1
    if (isPartial) result.partial += 1
    else if (result.faults.length === 0) result.faults = faults
  }
  if (result.inputs > 0) return result
  const why = firstRefusal ?? ''
  const isOurs = /does not match pattern|is too short \(0 </.test(why)
  const cause = isOurs ? 'the generator of inputs finds no text for a pattern' : undefined
  const fault = { kind: 'no-input', where: 'inputSchema', why, cause }
  return { ...result, inputs: 1, faults: [fault] }
}

/** What is wrong with the request that this input becomes. */
function callFaults(
  spec: OperationSpec,
  input: Json,
  operation: ReadOperation,
  schemas: SchemaReader,
  elsewhere: ReadonlySet<string>,
): ToolFault[] {
  try {
    const request = requestFrom(spec, input, randomId)
    const reading = requestReading(request, operation, schemas, elsewhere)
    return [...reading.faults, ...losses(spec, input, reading)].map((fault) =>
      reading.shared.has(fault.where.split('/', 1)[0] ?? '')
        ? { ...fault, cause: 'several parameters of the document leave the same name in the URL' }
        : fault,
    )
  } catch (error) {
    return [{ kind: 'refused', where: 'request', why: String(error).slice(0, 300) }]
  }
}

/** What was given and is not read back. */
function losses(spec: OperationSpec, input: Json, reading: RequestReading): ToolFault[] {
  const tree = renameTree(spec.renames ?? [])
  const wire = (key: string) =>
    Object.hasOwn(input, key) ? withWireNames(input[key], below(tree, key)) : undefined
  const lost: ToolFault[] = []
  for (const { key, name, in: place } of spec.parameters) {
    const sent = wire(key)
    const read = reading.values[place].get(name) ?? []
    if (read.some((one) => sameValue(sent, one)) || sameValue(sent, undefined)) continue
    lost.push(changed(`${place} ${name}`, sent, read[0]))
  }
  const { body } = spec
  if (body === undefined || reading.body === undefined) return lost
  const sent =
    body.key === undefined
      ? Object.fromEntries(
          (body.fields ?? []).flatMap(({ key, name }) => {
            const value = wire(key)
            return value === undefined ? [] : [[name, value]]
          }),
        )
      : wire(body.key)
  if (!sameBody(sent, reading.body)) {
    const read = reading.body.kind === 'opaque' ? 'bytes' : reading.body.value
    lost.push(changed('body', sent, read))
  }
  return lost
}

function below(tree: RenameNode, key: string): RenameNode | undefined {
  return tree.below.get(key)
}

export function changed(where: string, sent: unknown, read: unknown): ToolFault {
  return { kind: 'changed', where, why: `${shown(sent)} was read as ${shown(read)}` }
}

function shown(value: unknown): string {
  return (JSON.stringify(value) ?? 'nothing').slice(0, 120)
}
