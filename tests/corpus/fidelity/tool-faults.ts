/** What is wrong with a tool by itself: lists that do not say of what, and one wire name under two keys. */
import type { OperationSpec, ToolSpec } from '@bmm/spec/server-spec'
import { isObject, listOf, objectAt } from './json.ts'
import type { ToolFault } from './outcome.ts'

const MAX_DEPTH = 60
const numberedKey = /^(.+)_\d+$/

export function toolFaults(tool: ToolSpec & { operation: OperationSpec }): ToolFault[] {
  return [...listsWithoutItems(tool.inputSchema), ...keysWithTwins(tool)]
}

/** Several model APIs refuse the whole list of tools for one of them. */
function listsWithoutItems(schema: unknown): ToolFault[] {
  const found: ToolFault[] = []
  walk(schema, [], (at, path) => {
    const types = listOf(Array.isArray(at.type) ? at.type : [at.type])
    if (types.includes('array') && !('items' in at) && !('prefixItems' in at)) {
      found.push({ kind: 'no-items', where: path.join('/'), why: 'The list does not say of what.' })
    }
  })
  return found.slice(0, 1)
}

/** `type_2` for `type` where `type` is a key as well: a model cannot tell which is which. */
function keysWithTwins({
  operation,
  inputSchema,
}: ToolSpec & { operation: OperationSpec }): ToolFault[] {
  const keys = new Set<string>()
  walk(inputSchema, [], (at) => {
    for (const key of Object.keys(objectAt(at, 'properties'))) keys.add(key)
  })
  const named = [
    ...operation.parameters.map(({ key, name }) => ({ key, wire: name })),
    ...(operation.body?.fields ?? []).map(({ key, name }) => ({ key, wire: name })),
    ...(operation.renames ?? []).map(({ at, wire }) => ({ key: at.at(-1) ?? '', wire })),
  ]
  const twins = named.filter(
    ({ key, wire }) => key !== wire && numberedKey.test(key) && keys.has(wire),
  )
  const [first] = twins
  if (first === undefined) return []
  const why = `It stands for ${first.wire}, which is a key, too; ${twins.length} such keys in all.`
  return [{ kind: 'twin-key', where: first.key, why }]
}

function walk(
  schema: unknown,
  path: readonly string[],
  look: (at: Record<string, unknown>, path: readonly string[]) => void,
): void {
  if (!isObject(schema) || path.length > MAX_DEPTH) return
  look(schema, path)
  for (const key of ['properties', 'patternProperties', '$defs']) {
    for (const [name, part] of Object.entries(objectAt(schema, key)))
      walk(part, [...path, name], look)
  }
  for (const key of ['items', 'additionalProperties', 'not'])
    walk(schema[key], [...path, key], look)
  for (const key of ['anyOf', 'oneOf', 'allOf', 'prefixItems']) {
    for (const part of listOf(schema[key])) walk(part, [...path, key], look)
  }
}
