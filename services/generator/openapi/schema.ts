/** Schemas of a document become the self-contained input schema of one tool, within a budget. */
import type { RenameSpec } from '@bmm/spec/server-spec'
import { type KeyRing, keyRing } from './input-key.ts'
import type { JsonObject } from './json.ts'
import { line, prose } from './prose.ts'
import type { References } from './reference.ts'
import { type Leaves, leavesOf, type Part } from './schema-leaf.ts'
import { type Merged, merged } from './schema-merge.ts'

/** What one tool's schema may cost: about the bytes of its JSON. */
export type SchemaBudget = { bytes: number }

export type SchemaBuilder = {
  /** What holds for a value: looked at now, not written. */
  look(parts: readonly Part[]): Seen
  /** A schema that `finish` fills in. `at` is its path in the tool's input. */
  write(seen: Seen, at: readonly string[], description?: string): JsonObject
  /** Fills in everything that was asked for, the shallow before the deep. */
  finish(): SchemaReport
}

/** A value's schema with its references opened and its parts merged. */
export type Seen = {
  merged: Merged
  readOnly: boolean
  recursive: string | undefined
  never: boolean
}

export type SchemaReport = {
  renames: RenameSpec[]
  dangling: string[]
  /** Schemas that are described by their type only: the budget was spent or they contain themselves. */
  shortened: number
  recursive: number
  /** More nested keys needed renaming than a spec holds. */
  renamesFull: boolean
}

type Task = { seen: Seen; out: JsonObject; at: readonly string[]; depth: number }

const MAX_DEPTH = 12
const MAX_PROPERTIES = 300
const MAX_REQUIRED = 1_000
const MAX_ALTERNATIVES = 30
const MAX_ENUM = 250
const MAX_ENUM_BYTES = 6_000
const MAX_RENAMES = 500
const MAX_WIRE_KEY = 1_000
/** Deeper schemas explain themselves more briefly. */
const DESCRIPTION_LIMITS = [600, 400, 200]
const DEEP_DESCRIPTION = 120
const NODE_COST = 24

export function schemaBuilder(references: References, budget: SchemaBudget): SchemaBuilder {
  const tasks: Task[] = []
  const rings = new Map<string, KeyRing>()
  const report: SchemaReport = {
    renames: [],
    dangling: [],
    shortened: 0,
    recursive: 0,
    renamesFull: false,
  }
  let left = budget.bytes

  function look(parts: readonly Part[]): Seen {
    const leaves = leavesOf(parts, references)
    report.dangling.push(...leaves.dangling)
    return {
      merged: merged(leaves),
      readOnly: isReadOnly(leaves),
      recursive: leaves.recursive,
      never: leaves.never,
    }
  }

  function write(seen: Seen, at: readonly string[], description?: string, depth = 0): JsonObject {
    const out: JsonObject = {}
    if (seen.recursive !== undefined) report.recursive += 1
    const { types, nullable } = seen.merged
    if (types !== undefined) out.type = typeKeyword(types, nullable)
    const said = description ?? seen.merged.plain.description ?? againSentence(seen.recursive)
    if (typeof said === 'string') {
      const text = prose(said, DESCRIPTION_LIMITS[depth] ?? DEEP_DESCRIPTION)
      if (text !== '') out.description = text
    }
    left -= NODE_COST + (typeof out.description === 'string' ? out.description.length : 0)
    tasks.push({ seen, out, at, depth })
    return out
  }

  function fill(task: Task): void {
    const { seen, out, depth } = task
    if (seen.never) {
      out.not = {}
      return
    }
    writePlain(out, seen.merged)
    left -= plainCost(out)
    if (!isComposite(seen.merged)) return
    if (left <= 0 || depth >= MAX_DEPTH) report.shortened += 1
    else writeNested(task)
  }

  function writeNested({ seen, out, at, depth }: Task): void {
    const { merged: schema } = seen
    const child = (parts: readonly Part[], ...step: string[]): JsonObject =>
      write(look(parts), [...at, ...step], undefined, depth + 1)
    if (schema.prefixItems.length > 0) {
      out.prefixItems = schema.prefixItems.map((parts) => child(parts, '*'))
    }
    if (schema.items.length > 0) out.items = child(schema.items, '*')
    const isWhole = writeProperties(out, schema, at, depth)
    const { additional, patterns } = schema.object
    if (Array.isArray(additional)) out.additionalProperties = child(additional, '*')
    else if (additional === false && patterns.size === 0 && isWhole) {
      out.additionalProperties = false
    }
    const unions = schema.unions.map((members) =>
      members.slice(0, MAX_ALTERNATIVES).map((part) => child([part])),
    )
    for (const members of unions) if (schema.nullable) members.push({ type: 'null' })
    if (unions.length === 1) out.anyOf = unions[0]
    else if (unions.length > 1) out.allOf = unions.map((anyOf) => ({ anyOf }))
  }

  /** False when some properties were left out. */
  function writeProperties(
    out: JsonObject,
    schema: Merged,
    at: readonly string[],
    depth: number,
  ): boolean {
    const named = namedProperties(schema)
    if (named.size === 0) return true
    const { required: wanted } = schema.object
    const ring = ringAt(at)
    const properties: JsonObject = {}
    const required: string[] = []
    let count = 0
    let isWhole = true
    for (const [wire, parts] of named) {
      const isRequired = wanted.has(wire)
      count += 1
      if (count > (isRequired ? MAX_REQUIRED : MAX_PROPERTIES) || (left <= 0 && !isRequired)) {
        report.shortened += 1
        isWhole = false
        continue
      }
      const seen = look(parts)
      if (seen.readOnly) continue
      const key = ring.keyFor(wire)
      if (key !== wire && !rename([...at, key], wire)) {
        isWhole = false
        continue
      }
      if (isRequired) required.push(key)
      left -= key.length
      properties[key] = write(seen, [...at, key], undefined, depth + 1)
    }
    if (Object.keys(properties).length > 0) out.properties = properties
    if (required.length > 0) out.required = required
    return isWhole
  }

  function ringAt(at: readonly string[]): KeyRing {
    const name = at.join('\0')
    const known = rings.get(name) ?? keyRing()
    rings.set(name, known)
    return known
  }

  function rename(at: string[], wire: string): boolean {
    if (report.renames.length >= MAX_RENAMES) {
      report.renamesFull = true
      return false
    }
    report.renames.push({ at, wire })
    return true
  }

  function finish(): SchemaReport {
    for (let index = 0; index < tasks.length; index += 1) {
      const task = tasks[index]
      if (task !== undefined) fill(task)
    }
    tasks.length = 0
    return report
  }

  return { look, write: (seen, at, description) => write(seen, at, description), finish }
}

/** The properties of an object, with those that are required but not described; without names that no spec holds. */
export function namedProperties(schema: Merged): Map<string, readonly Part[]> {
  const { properties, required } = schema.object
  const named = new Map<string, readonly Part[]>(properties)
  for (const name of required) if (!named.has(name)) named.set(name, [])
  for (const name of named.keys()) {
    if (name === '' || name.length > MAX_WIRE_KEY) named.delete(name)
  }
  return named
}

function isReadOnly(leaves: Leaves): boolean {
  return leaves.leaves.some(({ schema }) => schema.readOnly === true)
}

/** `#/components/schemas/Author` → what the model should know of an author inside an author. */
function againSentence(ref: string | undefined): string | undefined {
  const name = ref === undefined ? '' : line(ref.split('/').at(-1) ?? '', 60)
  return name === '' ? undefined : `Once more as ${name} above.`
}

function isComposite(schema: Merged): boolean {
  return (
    schema.isObject ||
    schema.items.length > 0 ||
    schema.prefixItems.length > 0 ||
    schema.unions.length > 0
  )
}

function typeKeyword(types: readonly string[], nullable: boolean): unknown {
  const all = nullable ? [...types, 'null'] : types
  return all.length === 1 ? all[0] : all
}

function writePlain(out: JsonObject, schema: Merged): void {
  const { title, description: _description, enum: values, const: only, ...rest } = schema.plain
  if (rest.default !== undefined && !fitsTypes(rest.default, schema)) delete rest.default
  if (rest.uniqueItems === true && schema.types?.includes('array') !== true) delete rest.uniqueItems
  if (out.description === undefined && typeof title === 'string')
    out.description = prose(title, 120)
  Object.assign(out, rest)
  if (Array.isArray(values)) {
    const all = schema.nullable && !values.includes(null) ? [...values, null] : values
    if (all.length <= MAX_ENUM && JSON.stringify(all).length <= MAX_ENUM_BYTES) out.enum = all
    else {
      const some = values.slice(0, 5).map((value) => JSON.stringify(value))
      const note = `One of ${values.length} values, such as ${some.join(', ')}.`
      out.description = prose(`${String(out.description ?? '')} ${note}`, 800)
    }
  } else if (only !== undefined) {
    if (schema.nullable) out.enum = [only, null]
    else out.const = only
  }
}

/** Documents say `default: "inf"` of an integer; strict readers of tool lists refuse that. */
function fitsTypes(value: unknown, { types, nullable }: Merged): boolean {
  if (types === undefined) return true
  if (value === null) return nullable
  const type = Array.isArray(value) ? 'array' : typeof value
  return types.includes(type) || (type === 'number' && types.includes('integer'))
}

function plainCost(out: JsonObject): number {
  let cost = 0
  for (const [keyword, value] of Object.entries(out)) {
    if (keyword === 'description' || keyword === 'type') continue
    cost += keyword.length + 6
    if (typeof value === 'string') cost += value.length
    else if (typeof value === 'object') cost += JSON.stringify(value).length
  }
  return cost
}
