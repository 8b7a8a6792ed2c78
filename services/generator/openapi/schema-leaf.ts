/** A schema seen through its `$ref`s and `allOf`s: the plain schema objects that all hold for one value. */
import { isObject, type JsonObject } from './json.ts'
import { ReferenceFault, type References } from './reference.ts'

/**
 * The `$ref`s on the way down to a schema, to notice recursion. `outside`: what the reference names is written around this
 * schema already, so it adds nothing here; one level further down it is recursion again.
 */
export type Trail = { ref: string; up: Trail; outside?: true } | undefined
/** A schema as it stands in the document, with the way that led to it. */
export type Part = { source: unknown; trail: Trail }
/** One schema object without `$ref`, `allOf` or a union of one; `heirs` are the schemas whose `allOf` led to it. */
export type Leaf = { schema: JsonObject; trail: Trail; heirs: readonly JsonObject[] }
type Inherited = Part & { heirs: readonly JsonObject[] }

export type Leaves = {
  leaves: Leaf[]
  /** The value may also be null. */
  nullable: boolean
  /** The reference that came back to where it started: the value is described by its type only. */
  recursive: string | undefined
  /** References that point to nothing; external ones throw instead. */
  dangling: string[]
  /** The schema `false`: no value fits. */
  never: boolean
}

const MAX_LEAVES = 100
const none: readonly JsonObject[] = []

/** Throws ReferenceFault for an external reference. */
export function leavesOf(parts: readonly Part[], references: References): Leaves {
  const result: Leaves = {
    leaves: [],
    nullable: false,
    recursive: undefined,
    dangling: [],
    never: false,
  }
  const queue: Inherited[] = parts.map(({ source, trail }) => ({ source, trail, heirs: none }))
  for (let index = 0; index < queue.length && index < MAX_LEAVES; index += 1) {
    const part = queue[index]
    if (part === undefined) break
    if (part.source === false) result.never = true
    if (isObject(part.source)) open(part.source, part, references, result, queue)
  }
  return result
}

/** Adds the schema's own keywords as a leaf, and to `more` what else holds for the same value. */
function open(
  schema: JsonObject,
  { trail, heirs }: Inherited,
  references: References,
  result: Leaves,
  more: Inherited[],
): void {
  const ref = referenceOf(schema)
  if (schema.nullable === true || schema['x-nullable'] === true) result.nullable = true
  if (ref !== undefined) {
    for (const part of referenced(ref, trail, references, result)) {
      more.push({ source: part.source, trail: part.trail, heirs })
    }
  }
  if (Array.isArray(schema.allOf)) {
    const own = [...heirs, schema]
    for (const source of schema.allOf) more.push({ source, trail, heirs: own })
  }
  let plain = schema
  for (const keyword of ['oneOf', 'anyOf'] as const) {
    const members = schema[keyword]
    if (!Array.isArray(members)) continue
    const others = members.filter((member) => !isNullSchema(member))
    if (others.length > 1) continue
    if (others.length < members.length) result.nullable = true
    if (others.length === 1) more.push({ source: others[0], trail, heirs })
    plain = { ...plain }
    delete plain[keyword]
  }
  result.leaves.push({ schema: withProperties(plain, references, result), trail, heirs })
}

/** A map of properties that is a reference itself; a property of that name has a schema, not a text. */
function withProperties(schema: JsonObject, references: References, result: Leaves): JsonObject {
  const { properties } = schema
  if (!isObject(properties) || typeof properties.$ref !== 'string') return schema
  const [part] = referenced(properties.$ref, undefined, references, result)
  return { ...schema, properties: isObject(part?.source) ? part.source : {} }
}

function referenced(ref: string, trail: Trail, references: References, result: Leaves): Part[] {
  let source: unknown
  try {
    source = references.resolve(ref)
  } catch (error) {
    if (!(error instanceof ReferenceFault) || error.external) throw error
    result.dangling.push(ref)
    return []
  }
  for (let step = trail; step !== undefined; step = step.up) {
    if (step.ref !== ref) continue
    if (step.outside) return []
    result.recursive = ref
    const type = isObject(source) ? source.type : undefined
    return type === undefined ? [] : [{ source: { type }, trail }]
  }
  return [{ source, trail: { ref, up: trail } }]
}

/** The trail of what stands inside of a schema: there, what was outside of it is recursion. */
export function inward(trail: Trail): Trail {
  if (trail === undefined) return undefined
  const up = inward(trail.up)
  return trail.outside || up !== trail.up ? { ref: trail.ref, up } : trail
}

function referenceOf(schema: JsonObject): string | undefined {
  if (typeof schema.$ref === 'string') return schema.$ref
  return typeof schema.$dynamicRef === 'string' ? schema.$dynamicRef : undefined
}

function isNullSchema(schema: unknown): boolean {
  if (!isObject(schema)) return false
  if (schema.type === 'null') return true
  return Array.isArray(schema.enum) && schema.enum.length === 1 && schema.enum[0] === null
}
