/** Many schema objects that hold at once become one: older dialects are upgraded on the way (JSON Schema 2020-12). */
import { isObject, type JsonObject } from './json.ts'
import type { References } from './reference.ts'
import { agree } from './schema-agreement.ts'
import { inward, type Leaf, type Leaves, type Part } from './schema-leaf.ts'
import { hasProperties, type MergedObject, mergedObject, saysObject } from './schema-object.ts'
import { compilablePattern } from './schema-pattern.ts'
import { type Kind, kindsOf, unionsOf } from './schema-union.ts'

export type Merged = {
  /** Undefined: any type; empty: null alone. Null beside others is told by `nullable`. */
  types: string[] | undefined
  nullable: boolean
  /** Keywords whose values hold no schema, checked and upgraded. */
  plain: JsonObject
  items: readonly Part[]
  prefixItems: (readonly Part[])[]
  /** Each is a list of alternatives; `oneOf` counts as `anyOf`. */
  unions: Part[][]
  /** What the children of a parent with a discriminator add to it; each with its tag. */
  kinds: Kind[]
  /** Objects and lists among its examples and defaults: what is inside of it is held against them. */
  samples: unknown[]
  /** Says anything about properties. */
  isObject: boolean
  /** Merged when first asked for: an entity of a thousand properties is looked at more often than written. */
  readonly object: MergedObject
}

const aliases: Readonly<Record<string, string | undefined>> = {
  string: 'string',
  number: 'number',
  integer: 'integer',
  boolean: 'boolean',
  object: 'object',
  array: 'array',
  null: 'null',
  file: 'string',
  str: 'string',
  text: 'string',
  date: 'string',
  datetime: 'string',
  'date-time': 'string',
  uuid: 'string',
  int: 'integer',
  int32: 'integer',
  int64: 'integer',
  long: 'integer',
  float: 'number',
  double: 'number',
  decimal: 'number',
  bool: 'boolean',
  list: 'array',
  map: 'object',
  dict: 'object',
}
const counts = ['minLength', 'maxLength', 'minItems', 'maxItems', 'minProperties', 'maxProperties']
const MAX_DEFAULT = 300
const MAX_FORMAT = 40

export function merged(from: Leaves, references: References): Merged {
  let object: MergedObject | undefined
  const result: Merged = {
    types: undefined,
    nullable: from.nullable,
    plain: {},
    items: [],
    prefixItems: [],
    unions: [],
    kinds: [],
    samples: [],
    isObject: from.leaves.some(({ schema }) => saysObject(schema)),
    get object() {
      object ??= mergedObject(from.leaves)
      return object
    },
  }
  for (const leaf of from.leaves) {
    mergeTypes(result, leaf.schema)
    mergePlain(result.plain, leaf.schema)
    addComposites(result.samples, leaf.schema)
    mergeArray(result, leaf)
    for (const union of unionsOf(leaf, references)) result.unions.push(union)
    if (leaf.schema.discriminator !== undefined) result.kinds.push(...kindsOf(leaf, references))
  }
  if (result.types === undefined) {
    if (from.leaves.some(({ schema }) => hasProperties(schema))) result.types = ['object']
    // Beside alternatives, `items` may be meant for the one that is a list.
    else if (hasItems(result) && result.unions.length === 0) result.types = ['array']
  }
  return result
}

/**
 * Leaves out what the schema's own examples, default and values break, and answers whether there was such a thing. For
 * what is written only: most schemas are looked at more often. `witnesses`: values that examples around it have here.
 */
export function settled(schema: Merged, witnesses: readonly unknown[]): boolean {
  const { plain } = schema
  const hasSamples =
    witnesses.length > 0 || plain.default !== undefined || plain.examples !== undefined
  const isWidened =
    hasSamples &&
    schema.types?.includes('integer') === true &&
    [...samplesOf(plain), ...witnesses].some(
      (value) => typeof value === 'number' && value % 1 !== 0,
    )
  if (isWidened) {
    const types = schema.types?.map((type) => (type === 'integer' ? 'number' : type))
    schema.types = [...new Set(types)]
  }
  return agree(plain, schema.types, schema.nullable, witnesses) || isWidened
}

function hasItems({ items, prefixItems }: Merged): boolean {
  return items.length > 0 || prefixItems.length > 0
}

/** Objects and lists that a schema gives as its own values, however large. */
function addComposites(samples: unknown[], schema: JsonObject): void {
  const { example, examples, default: usual } = schema
  if (example === undefined && examples === undefined && usual === undefined) return
  for (const value of [example, usual, ...(Array.isArray(examples) ? examples : [])]) {
    if (typeof value === 'object' && value !== null) samples.push(value)
  }
}

function samplesOf(plain: JsonObject): unknown[] {
  return [plain.default, ...(Array.isArray(plain.examples) ? plain.examples : [])]
}

/** Null aside, the types a schema names; undefined when it names none that is known. */
function typesOf(schema: JsonObject): string[] | undefined {
  const named = Array.isArray(schema.type) ? schema.type : [schema.type]
  const types = named.flatMap((type) => {
    const known = typeof type === 'string' ? aliases[type.toLowerCase()] : undefined
    return known === undefined || known === 'null' ? [] : [known]
  })
  return types.length === 0 ? undefined : [...new Set(types)]
}

function mergeTypes(result: Merged, schema: JsonObject): void {
  if (Array.isArray(schema.type) && schema.type.includes('null')) result.nullable = true
  const types = typesOf(schema)
  const before = result.types
  if (types === undefined) {
    if (isNullOnly(schema)) {
      result.nullable = true
      result.types ??= []
    }
    return
  }
  if (before === undefined || before.length === 0) result.types = types
  else {
    const both = types.filter(
      (t) => before.includes(t) || (t === 'integer' && before.includes('number')),
    )
    if (both.length > 0) result.types = both
  }
}

function isNullOnly({ type }: JsonObject): boolean {
  return (
    type === 'null' || (Array.isArray(type) && type.length > 0 && type.every((t) => t === 'null'))
  )
}

function mergePlain(plain: JsonObject, schema: JsonObject): void {
  for (const keyword of ['title', 'description', 'contentMediaType', 'contentEncoding'] as const) {
    const value = schema[keyword]
    if (typeof value === 'string') plain[keyword] ??= value
  }
  const format = schema.format
  if (typeof format === 'string' && format.length <= MAX_FORMAT) plain.format ??= format
  if (schema.uniqueItems === true) plain.uniqueItems = true
  if (schema.deprecated === true) plain.deprecated = true
  for (const keyword of counts) {
    const value = schema[keyword]
    if (!Number.isSafeInteger(value) || Number(value) < 0) continue
    plain[keyword] = tighter(keyword.startsWith('min'), plain[keyword], Number(value))
  }
  mergeBounds(plain, schema)
  if (plain.pattern === undefined && typeof schema.pattern === 'string') {
    const pattern = compilablePattern(schema.pattern)
    if (pattern !== undefined) plain.pattern = pattern
  }
  mergeValues(plain, schema)
}

/** `exclusiveMinimum: true` beside `minimum` is the older dialect of `exclusiveMinimum: n`. */
function mergeBounds(plain: JsonObject, schema: JsonObject): void {
  const bounds = [
    ['minimum', 'exclusiveMinimum', true],
    ['maximum', 'exclusiveMaximum', false],
  ] as const
  for (const [bound, exclusive, lower] of bounds) {
    const value = schema[bound]
    if (typeof value === 'number') {
      const keyword = schema[exclusive] === true ? exclusive : bound
      plain[keyword] = tighter(lower, plain[keyword], value)
    }
    const alone = schema[exclusive]
    if (typeof alone === 'number') plain[exclusive] = tighter(lower, plain[exclusive], alone)
  }
  // Fractions are left out: validators compute 19.99 % 0.01 in floating point.
  const step = schema.multipleOf
  if (Number.isSafeInteger(step) && Number(step) > 0) plain.multipleOf ??= step
}

function mergeValues(plain: JsonObject, schema: JsonObject): void {
  if (Array.isArray(schema.enum) && schema.enum.length > 0) {
    const values = schema.enum.filter(isScalar)
    if (values.length === schema.enum.length) {
      const before = plain.enum
      const both = Array.isArray(before) ? values.filter((value) => before.includes(value)) : values
      plain.enum = both.length > 0 ? both : values
    }
  }
  if (isScalar(schema.const) && schema.const !== undefined) plain.const ??= schema.const
  for (const value of [schema.default, schema['x-default']]) {
    if (value !== undefined && plain.default === undefined && isSmall(value)) plain.default = value
  }
  if (plain.examples !== undefined) return
  const examples = Array.isArray(schema.examples)
    ? schema.examples.slice(0, 1)
    : [schema.example ?? schema['x-example']]
  const kept = examples.filter((value) => value !== undefined && value !== null && isSmall(value))
  if (kept.length > 0) plain.examples = kept
}

function mergeArray(result: Merged, { schema, trail: own }: Leaf): void {
  const trail = inward(own)
  const tuple = Array.isArray(schema.prefixItems) ? schema.prefixItems : schema.items
  if (Array.isArray(tuple)) {
    if (result.prefixItems.length === 0) {
      result.prefixItems = tuple.map((source) => [{ source, trail }])
    }
  }
  if (isObject(schema.items)) result.items = [...result.items, { source: schema.items, trail }]
}

function tighter(lower: boolean, before: unknown, value: number): number {
  if (typeof before !== 'number') return value
  return lower ? Math.max(before, value) : Math.min(before, value)
}

function isScalar(value: unknown): boolean {
  return value === null || ['string', 'number', 'boolean'].includes(typeof value)
}

/** Small enough to show to a model; a value that YAML anchors made cyclic is not. */
function isSmall(value: unknown): boolean {
  if (isScalar(value)) return typeof value !== 'string' || value.length <= MAX_DEFAULT
  let nodes = 0
  const pending: unknown[] = [value]
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    nodes += 1
    if (nodes > MAX_DEFAULT / 10) return false
    if (typeof next === 'object' && next !== null) pending.push(...Object.values(next))
  }
  return JSON.stringify(value).length <= MAX_DEFAULT
}
