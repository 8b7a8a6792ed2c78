/** Why a request is not what the document allows: a contradiction of the document's own, a schema that was cut to fit a tool, or ours to mend. */
import type { OperationSpec, ToolSpec } from '@bmm/spec/server-spec'
import { isObject, type Json, listOf, objectAt } from './json.ts'
import type { ToolFault } from './outcome.ts'

type ImportedTool = ToolSpec & { operation: OperationSpec }

export const TYPE_ONLY = 'the tool tells its type only'
const compositeTypes = ['object', 'array']

/** Undefined where it is not known. */
export function causeOf(fault: ToolFault, tool: ImportedTool, input: Json): string | undefined {
  if (fault.kind === 'invalid' && isToldByTypeOnly(tool, fault.where)) return TYPE_ONLY
  const own = tool.operation.parameters.find(
    ({ in: place, name }) => fault.where.split('/', 1)[0] === `${place} ${name}`,
  )
  if (own === undefined || own.contentType !== undefined) return undefined
  const sent = input[own.key]
  const parts = typeof sent === 'object' && sent !== null ? Object.values(sent) : []
  if (fault.kind === 'missing' && parts.length === 0 && typeof sent === 'object') {
    return 'an empty list or object leaves nothing in a URL (RFC 6570 section 2.3)'
  }
  if (parts.some((part) => typeof part === 'object' && part !== null)) {
    return 'no style says how a value inside a value is written (OpenAPI 3.1 section 4.8.12.4)'
  }
  const texts = [sent, ...parts].filter((part) => typeof part === 'string')
  const isSpaced = own.style === 'spaceDelimited' && texts.some((text) => text.includes(' '))
  const isPaired = own.in === 'header' && texts.some((text) => /[,=]/.test(text))
  return isSpaced || isPaired
    ? 'the delimiter of the style stands in the value (OpenAPI 3.1 appendix D)'
    : undefined
}

/**
 * Whether the tool's schema tells only the type of something on the way to `where` (`body/metadata/labels`,
 * `query filter/0`): the rest of it did not fit the tool, or it contains itself.
 */
function isToldByTypeOnly(tool: ImportedTool, where: string): boolean {
  const [place = '', ...steps] = where.split('/').map(unescaped)
  const { body, parameters } = tool.operation
  const own = parameters.find((one) => `${one.in} ${one.name}` === place)
  const root = objectAt(tool.inputSchema, 'properties')
  if (own !== undefined) return isCut(root[own.key], steps)
  if (body?.key !== undefined) return isCut(root[body.key], steps)
  const [name, ...below] = steps
  const field = body?.fields?.find((one) => one.name === name)
  return field !== undefined && isCut(root[field.key], below)
}

function isCut(schema: unknown, steps: readonly string[]): boolean {
  if (!isObject(schema)) return true
  const branches = [...listOf(schema.anyOf), ...listOf(schema.oneOf), ...listOf(schema.allOf)]
  const types = listOf(Array.isArray(schema.type) ? schema.type : [schema.type]).filter(
    (type) => type !== undefined,
  )
  const isComposite =
    types.length === 0 || types.some((type) => compositeTypes.includes(String(type)))
  const says = ['properties', 'items', 'prefixItems', 'additionalProperties', 'enum', 'const']
  if (isComposite && branches.length === 0 && !says.some((key) => key in schema)) return true
  if (branches.some((branch) => isCut(branch, steps))) return true
  const [step, ...below] = steps
  if (step === undefined) return isEmptyList(schema)
  const properties = objectAt(schema, 'properties')
  const next = properties[step] ?? schema.items ?? schema.additionalProperties
  return isEmptyList(schema) || (next !== undefined && isCut(next, below))
}

/** `items: {}`: a list of anything. */
function isEmptyList({ items }: Record<string, unknown>): boolean {
  return isObject(items) && Object.keys(items).every((key) => key === 'description')
}

function unescaped(step: string): string {
  return step.replaceAll('~1', '/').replaceAll('~0', '~')
}
