/** Schemas of a document as JSON Schema for a validator: what is no keyword is left out, a reference is the key of a schema of its own. */
import { isObject, type Json, listOf, objectAt, pointedAt } from './json.ts'
import { load } from './packages.ts'

/**
 * How strictly they are taken: by the letter; alternatives that overlap may both fit; or the parts of an `allOf`
 * do not close an object to each other either.
 */
export type Strictness = 'letter' | 'overlapping' | 'open'
export type DocumentSchemas = {
  /** What a local reference names. */
  target(reference: string): unknown
  /** `define` gets each referenced schema once, before `clean` answers. */
  cleaner(
    strictness: Strictness,
    define: (key: string, schema: unknown) => void,
  ): (schema: unknown) => unknown
}
type Convert = (document: Json, schema: unknown) => Json

const MAX_DEPTH = 12
const numericFormats = new Set(['int32', 'int64', 'float', 'double'])
const jsonTypes = new Set(['string', 'number', 'integer', 'boolean', 'object', 'array', 'null'])
const numbers = [
  'minimum',
  'maximum',
  'exclusiveMinimum',
  'exclusiveMaximum',
  'multipleOf',
  'minLength',
  'maxLength',
  'minItems',
  'maxItems',
  'minProperties',
  'maxProperties',
]
const singles = ['not', 'additionalProperties', 'unevaluatedProperties', 'unevaluatedItems']
const lists = ['allOf', 'anyOf', 'oneOf', 'prefixItems']
const joining = ['allOf', 'anyOf', 'oneOf']
const maps = ['properties', 'patternProperties', 'dependentSchemas']

export function documentSchemas(document: Json, isNew: boolean): DocumentSchemas {
  const { convertToJsonSchema } = load<{ convertToJsonSchema: Convert }>('@stoplight/http-spec/oas')
  const targets = new Map<string, unknown>()

  function target(reference: string): unknown {
    if (targets.has(reference)) return targets.get(reference)
    const found = pointedAt(document, reference)
    const made = isObject(found) ? convertToJsonSchema(document, found) : found
    targets.set(reference, made)
    return made
  }

  /** What only answers have need not be sent (OpenAPI 3.0.3 section 4.7.24.1). */
  function isReadOnly(schema: unknown, depth = 0): boolean {
    if (!isObject(schema) || depth > MAX_DEPTH) return false
    if (schema.readOnly === true) return true
    return typeof schema.$ref === 'string' && isReadOnly(target(schema.$ref), depth + 1)
  }

  function cleaner(strictness: Strictness, define: (key: string, schema: unknown) => void) {
    const cleaned = { whole: new WeakMap<object, unknown>(), part: new WeakMap<object, unknown>() }
    const keys = new Map<string, string>()

    /** A part: one of several schemas that hold for the same value. */
    function clean(schema: unknown, isPart = false): unknown {
      if (typeof schema === 'boolean') return schema
      if (!isObject(schema)) return {}
      const own = cleaned[isPart ? 'part' : 'whole']
      const known = own.get(schema)
      if (known !== undefined) return known
      const made: Json = {}
      own.set(schema, made)
      if (typeof schema.$ref === 'string') {
        if (schema.$ref.startsWith('#')) made.$ref = keyOf(schema.$ref, isPart)
        if (!isNew) return made
      }
      return Object.assign(made, plainKeywords(schema, isReadOnly), nestedKeywords(schema, isPart))
    }

    function nestedKeywords(schema: Json, isPart: boolean): Json {
      const made: Json = {}
      const isOpened = strictness === 'open' && (isPart || joining.some((key) => key in schema))
      for (const key of singles) {
        const isClosing = isOpened && schema[key] === false
        if (key in schema && !isClosing) made[key] = clean(schema[key])
      }
      for (const key of lists) {
        const parts = listOf(schema[key])
        const own = key === 'oneOf' && strictness !== 'letter' ? 'anyOf' : key
        const arePart = strictness === 'open' && joining.includes(key)
        if (parts.length > 0) made[own] = parts.map((part) => clean(part, arePart))
      }
      for (const key of maps) {
        if (!isObject(schema[key])) continue
        const parts = Object.entries(schema[key]).map(([name, part]) => [name, clean(part)])
        made[key] = Object.fromEntries(parts)
      }
      if (isObject(schema.items) || typeof schema.items === 'boolean') {
        made.items = clean(schema.items)
      }
      return made
    }

    function keyOf(reference: string, isPart: boolean): string {
      const own = `${isPart} ${reference}`
      const known = keys.get(own)
      if (known !== undefined) return known
      const key = `ref:${keys.size}`
      keys.set(own, key)
      define(key, clean(target(reference), isPart))
      return key
    }

    return (schema: unknown) => clean(schema)
  }

  return { target, cleaner }
}

function plainKeywords(schema: Json, isReadOnly: (schema: unknown) => boolean): Json {
  const made: Json = {}
  const types = listOf(Array.isArray(schema.type) ? schema.type : [schema.type]).filter(
    (type) => typeof type === 'string' && jsonTypes.has(type),
  )
  if (types.length > 0) made.type = types.length === 1 ? types[0] : types
  if (Array.isArray(schema.enum) && schema.enum.length > 0) made.enum = schema.enum
  if ('const' in schema) made.const = schema.const
  if (typeof schema.pattern === 'string') made.pattern = schema.pattern
  const { format } = schema
  if (typeof format === 'string' && !numericFormats.has(format)) made.format = format
  for (const key of numbers) if (typeof schema[key] === 'number') made[key] = schema[key]
  if (schema.uniqueItems === true) made.uniqueItems = true
  const required = listOf(schema.required).filter(
    (name) => typeof name === 'string' && !isReadOnly(objectAt(schema, 'properties')[name]),
  )
  if (required.length > 0) made.required = [...new Set(required)]
  return made
}
