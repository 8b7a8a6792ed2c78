/** What the schema objects that hold at once say about an object's properties. */
import { isObject, type JsonObject } from './json.ts'
import { inward, type Leaf, type Part } from './schema-leaf.ts'
import { compilablePattern } from './schema-pattern.ts'
import { isTagOnly } from './schema-union.ts'

export type MergedObject = {
  properties: Map<string, Part[]>
  patterns: Map<string, Part[]>
  required: Set<string>
  additional: boolean | Part[] | undefined
}

export function mergedObject(leaves: readonly Leaf[]): MergedObject {
  const result: MergedObject = {
    properties: new Map(),
    patterns: new Map(),
    required: new Set(),
    additional: undefined,
  }
  for (const leaf of leaves) mergeObject(result, leaf)
  // `additionalProperties: false` in one part of an allOf would forbid the properties of the others.
  if (result.additional === false && leaves.some(({ schema }) => opensObject(schema))) {
    result.additional = undefined
  }
  return result
}

export function saysObject(schema: JsonObject): boolean {
  return (
    isObject(schema.properties) ||
    Array.isArray(schema.required) ||
    isObject(schema.patternProperties) ||
    schema.additionalProperties !== undefined
  )
}

export function hasProperties(schema: JsonObject): boolean {
  return isObject(schema.properties) && Object.keys(schema.properties).length > 0
}

function opensObject(schema: JsonObject): boolean {
  return isObject(schema.properties) && schema.additionalProperties !== false && !isTagOnly(schema)
}

function mergeObject(result: MergedObject, { schema, trail: own }: Leaf): void {
  const trail = inward(own)
  if (isObject(schema.properties)) {
    for (const [name, source] of Object.entries(schema.properties)) {
      append(result.properties, name, { source, trail })
      // Draft 3 wrote `required: true` on the property itself.
      if (isObject(source) && source.required === true) result.required.add(name)
    }
  }
  if (isObject(schema.patternProperties)) {
    for (const [written, source] of Object.entries(schema.patternProperties)) {
      const pattern = compilablePattern(written)
      if (pattern !== undefined) append(result.patterns, pattern, { source, trail })
    }
  }
  if (Array.isArray(schema.required)) {
    for (const name of schema.required) if (typeof name === 'string') result.required.add(name)
  }
  const additional = schema.additionalProperties
  if (isObject(additional)) {
    const before = Array.isArray(result.additional) ? result.additional : []
    const isAnything = Object.keys(additional).length === 0
    if (!isAnything) result.additional = [...before, { source: additional, trail }]
    else if (before.length === 0) result.additional = true
  } else if (typeof additional === 'boolean') result.additional ??= additional
}

function append(map: Map<string, Part[]>, key: string, part: Part): void {
  const parts = map.get(key)
  if (parts === undefined) map.set(key, [part])
  else parts.push(part)
}
