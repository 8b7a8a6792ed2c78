/** Schemas of a document become the self-contained input schema of one tool, within a budget. */
import type { RenameSpec } from '@bmm/spec/server-spec'
import { isObject, type JsonObject, own } from './json.ts'
import { line, prose } from './prose.ts'
import type { References } from './reference.ts'
import { ANY, type Named, nameKeys, type Step } from './schema-keys.ts'
import { type Leaves, leavesOf, type Part } from './schema-leaf.ts'
import { type Merged, merged, settled } from './schema-merge.ts'
import type { Kind } from './schema-union.ts'

/** What one tool's schema may cost: about the bytes of its JSON. */
export type SchemaBudget = { bytes: number }

export type SchemaBuilder = {
  /** What holds for a value: looked at now, not written. */
  look(parts: readonly Part[]): Seen
  /** A schema that `finish` fills in. `at` is its path in the tool's input. */
  write(
    seen: Seen,
    at: readonly string[],
    description?: string,
    witnesses?: readonly unknown[],
  ): JsonObject
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
  /** Schemas that contradict themselves, written without what refuses their own values. */
  loosened: number
  /** More nested keys needed renaming than a spec holds. */
  renamesFull: boolean
}

type Task = {
  seen: Seen
  out: JsonObject
  at: readonly Step[]
  depth: number
  /** For an alternative: what else holds for the same value. */
  around: Around | undefined
  /** Values for it from examples: its own that are composite, and those of the schemas around it. */
  witnesses: readonly unknown[]
}
/** Wire names that are written beside an alternative; `isOpen` where more may be. */
type Around = { names: ReadonlySet<string>; isOpen: boolean }
const MAX_DEPTH = 12
const MAX_PROPERTIES = 300
const MAX_REQUIRED = 1_000
const MAX_ALTERNATIVES = 100
const OTHER_ALTERNATIVE = 'Any other alternative of the API.'
const OTHER_KIND = 'Any other kind: the fields above alone.'
const MAX_WITNESSES = 20
const none: readonly unknown[] = []
const MAX_ENUM = 250
const MAX_ENUM_BYTES = 6_000
const MAX_WIRE_KEY = 1_000
/** Deeper schemas explain themselves more briefly. */
const DESCRIPTION_LIMITS = [600, 400, 200]
const DEEP_DESCRIPTION = 120
const NODE_COST = 24

export function schemaBuilder(references: References, budget: SchemaBudget): SchemaBuilder {
  const tasks: Task[] = []
  const objects: Named[] = []
  const report: SchemaReport = {
    renames: [],
    dangling: [],
    shortened: 0,
    recursive: 0,
    loosened: 0,
    renamesFull: false,
  }
  let left = budget.bytes

  function look(parts: readonly Part[]): Seen {
    const leaves = leavesOf(parts, references)
    report.dangling.push(...leaves.dangling)
    return {
      merged: merged(leaves, references),
      readOnly: isReadOnly(leaves),
      recursive: leaves.recursive,
      never: leaves.never,
    }
  }

  function write(
    seen: Seen,
    at: readonly Step[],
    description?: string,
    depth = 0,
    around?: Around,
    witnesses: readonly unknown[] = none,
  ): JsonObject {
    const out: JsonObject = {}
    if (seen.recursive !== undefined) report.recursive += 1
    if (settled(seen.merged, witnesses)) report.loosened += 1
    const { types, nullable } = seen.merged
    if (types !== undefined) out.type = typeKeyword(types, nullable)
    const said = description ?? seen.merged.plain.description ?? againSentence(seen.recursive)
    if (typeof said === 'string') {
      const text = prose(said, DESCRIPTION_LIMITS[depth] ?? DEEP_DESCRIPTION)
      if (text !== '') out.description = text
    }
    left -= NODE_COST + (typeof out.description === 'string' ? out.description.length : 0)
    const { samples } = seen.merged
    const known =
      samples.length === 0 ? witnesses : [...witnesses, ...samples].slice(0, MAX_WITNESSES)
    tasks.push({ seen, out, at, depth, around, witnesses: known })
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
    if (isComposite(seen.merged)) {
      if (left <= 0 || depth >= MAX_DEPTH) report.shortened += 1
      else writeNested(task)
    }
    // Several model APIs refuse a whole tool list for one list without items.
    if (seen.merged.types?.includes('array')) out.items ??= {}
  }

  function writeNested(task: Task): void {
    const { seen, out, at, depth, around, witnesses } = task
    const { merged: schema } = seen
    const items = witnesses.flatMap((value) => (Array.isArray(value) ? value : []))
    const child = (parts: readonly Part[], step: Step, inside = none): JsonObject =>
      write(look(parts), [...at, step], undefined, depth + 1, undefined, inside)
    if (schema.prefixItems.length > 0) {
      out.prefixItems = schema.prefixItems.map((parts) => child(parts, ANY))
    }
    if (schema.items.length > 0) out.items = child(schema.items, ANY, items)
    const members = schema.unions.map((parts) => alternatives(parts))
    if (schema.kinds.length > 0) {
      const parent = look([{ source: { description: OTHER_KIND }, trail: undefined }])
      members.push([...alternatives(schema.kinds.map(({ part }) => part)), parent])
    }
    const isWhole = writeProperties(task)
    const { additional, patterns } = schema.object
    // By the letter, what a part says of other properties holds for those beside it; here it holds for those that stand nowhere.
    if (additional !== undefined && additional !== true) {
      const isBeside = members.some((seens) => seens.some((member) => adds(member, schema)))
      const isForeign = isBeside || isOpened(schema, around)
      if (!isForeign && Array.isArray(additional)) out.additionalProperties = child(additional, ANY)
      else if (!isForeign && additional === false && patterns.size === 0 && isWhole)
        out.additionalProperties = false
    }
    writeUnions(out, schema, members, task)
  }

  function alternatives(parts: readonly Part[]): Seen[] {
    const seens = parts.slice(0, MAX_ALTERNATIVES).map((part) => look([part]))
    if (parts.length <= MAX_ALTERNATIVES) return seens
    report.shortened += 1
    return [...seens, look([{ source: { description: OTHER_ALTERNATIVE }, trail: undefined }])]
  }

  function writeUnions(out: JsonObject, schema: Merged, members: Seen[][], task: Task): void {
    const names = new Set([...namedProperties(schema).keys(), ...(task.around?.names ?? [])])
    const isOpen = members.length > 1 || (task.around?.isOpen ?? false)
    const written = members.map((seens) => {
      const list = seens.map((seen) =>
        write(seen, task.at, undefined, task.depth + 1, { names, isOpen }),
      )
      if (schema.nullable) list.push({ type: 'null' })
      return list
    })
    const strange = strangeTypes(schema, members)
    if (strange.length > 0) {
      out.type = typeKeyword([...(schema.types ?? []), ...strange], schema.nullable)
      report.loosened += 1
    }
    if (written.length === 1) out.anyOf = written[0]
    else if (written.length > 1) out.allOf = written.map((anyOf) => ({ anyOf }))
  }

  /** False when some properties were left out. */
  function writeProperties({ seen, out, at, depth, around, witnesses }: Task): boolean {
    const { merged: schema } = seen
    const named = namedProperties(schema)
    if (named.size === 0) return true
    const { required: wanted, properties: described } = schema.object
    const written: Named = { out, at, properties: [], required: [] }
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
      const property = look(parts)
      if (property.readOnly) continue
      widenTag(property, wire, schema.kinds, look)
      if (isRequired) written.required.push(wire)
      // An alternative that only asks for a field leaves it as it is described around.
      if (!described.has(wire) && around?.names.has(wire)) continue
      left -= wire.length
      const inside = valuesAt(witnesses, wire)
      const below = write(property, [...at, wire], undefined, depth + 1, undefined, inside)
      written.properties.push([wire, below])
    }
    objects.push(written)
    return isWhole
  }

  function finish(): SchemaReport {
    for (let index = 0; index < tasks.length; index += 1) {
      const task = tasks[index]
      if (task !== undefined) fill(task)
    }
    tasks.length = 0
    nameKeys(objects, report)
    objects.length = 0
    return report
  }

  return {
    look,
    write: (seen, at, description, witnesses) =>
      write(seen, at, description, 0, undefined, witnesses),
    finish,
  }
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

/** Types of alternatives that the type beside them refuses altogether: GitHub has an object beside `type: array`. */
function strangeTypes({ types }: Merged, members: readonly Seen[][]): string[] {
  if (types === undefined || types.length === 0) return []
  const isKnown = (type: string) =>
    types.includes(type) || (type === 'integer' && types.includes('number'))
  const strange = members.flat().flatMap(({ merged: member }) => {
    const own = member.types ?? []
    const isWider = own.includes('number') && types.includes('integer')
    return isWider || own.some(isKnown) ? [] : own
  })
  return [...new Set(strange)]
}

/** What example objects have under a name. */
export function valuesAt(samples: readonly unknown[], name: string): readonly unknown[] {
  if (samples.length === 0) return none
  return samples.flatMap((sample) => {
    const value = isObject(sample) ? own(sample, name) : undefined
    return value === undefined ? [] : [value]
  })
}

/** A parent that allows its own tag alone would refuse each of its children: theirs are allowed as well. */
export function widenTag(
  seen: Seen,
  name: string,
  kinds: readonly Kind[],
  look: SchemaBuilder['look'],
): void {
  const { plain } = seen.merged
  const before = plain.const === undefined ? plain.enum : [plain.const]
  if (kinds.length === 0 || !Array.isArray(before)) return
  const tags = kinds.flatMap(({ part, property }) => {
    if (property !== name) return []
    const parts = look([part]).merged.object.properties.get(name)
    const said = parts === undefined ? {} : look(parts).merged.plain
    return said.const === undefined ? (Array.isArray(said.enum) ? said.enum : []) : [said.const]
  })
  if (tags.every((tag) => before.includes(tag))) return
  delete plain.const
  plain.enum = [...new Set([...before, ...tags])]
}

function isReadOnly(leaves: Leaves): boolean {
  return leaves.leaves.some(({ schema }) => schema.readOnly === true)
}

/** `#/components/schemas/Author` → what the model should know of an author inside an author. */
function againSentence(ref: string | undefined): string | undefined {
  const name = ref === undefined ? '' : line(ref.split('/').at(-1) ?? '', 60)
  return name === '' ? undefined : `Once more as ${name} above.`
}

/** An alternative has properties that are not among those around it. */
function adds({ merged: member }: Seen, base: Merged): boolean {
  if (member.unions.length > 0 || member.kinds.length > 0) return true
  return [...member.object.properties.keys()].some((name) => !base.object.properties.has(name))
}

/** Something around a closed alternative is not among its own properties. */
function isOpened(schema: Merged, around: Around | undefined): boolean {
  if (around === undefined) return false
  return around.isOpen || [...around.names].some((name) => !schema.object.properties.has(name))
}

function isComposite(schema: Merged): boolean {
  return (
    schema.isObject ||
    schema.kinds.length > 0 ||
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
