/** Alternatives of a value: `oneOf`, `anyOf`, and the children of a parent that has a discriminator. */
import { isObject, type JsonObject, objectAt, own, textAt } from './json.ts'
import type { References } from './reference.ts'
import type { Leaf, Part, Trail } from './schema-leaf.ts'

type Child = { name: string; ref: string; schema: JsonObject }
/** Schemas whose `allOf` names the same parent, by themselves; found once a document. */
export type Children = ReadonlyMap<JsonObject, Child>
/** A child as an alternative to its parent, with the values of the discriminator that mean it. */
export type Kind = { part: Part; property: string; tags: readonly string[] }

/** Marks what this file adds to an alternative: it says the tag and neither opens nor closes an object. */
const TAG = Symbol('tag')
const MAX_CHILDREN = 100
const none: Part[][] = []

export function isTagOnly(schema: JsonObject): boolean {
  return Reflect.has(schema, TAG)
}

/** Each list of alternatives of a leaf; `oneOf` counts as `anyOf`, since real alternatives overlap. */
export function unionsOf(leaf: Leaf, references: References): readonly Part[][] {
  const { schema } = leaf
  if (schema.oneOf === undefined && schema.anyOf === undefined) return none
  const unions: Part[][] = []
  const trail = outsideOf(leaf.trail)
  for (const keyword of ['oneOf', 'anyOf'] as const) {
    const members = schema[keyword]
    if (!Array.isArray(members) || members.length === 0) continue
    const tags = discriminatorOf(schema, references)
    unions.push(
      members.map((source) => ({
        source: tags === undefined ? source : tagged(source, tags, references),
        trail,
      })),
    )
  }
  return unions
}

/**
 * The children of a parent as alternatives to it (OpenAPI 3.1, 4.8.25): what each adds, with its tag. The parent alone is
 * no alternative here: the writer of the union adds it.
 */
export function kindsOf(leaf: Leaf, references: References): Kind[] {
  const { schema, heirs } = leaf
  if (
    schema.discriminator === undefined ||
    schema.oneOf !== undefined ||
    schema.anyOf !== undefined
  )
    return []
  const children = references.childrenOf(schema)
  if (children.size === 0 || heirs.some((heir) => children.has(heir))) return []
  const tags = discriminatorOf(schema, references)
  if (tags === undefined) return []
  const trail = outsideOf(leaf.trail)
  const first = children.values().take(MAX_CHILDREN).toArray()
  return first.map(({ ref }) => {
    const source = tagged({ $ref: ref }, tags, references)
    return { part: { source, trail }, property: tags.property, tags: tags.of(ref).tags }
  })
}

/** What the leaf was reached by is written around its alternatives. */
function outsideOf(trail: Trail): Trail {
  return trail === undefined ? undefined : { ref: trail.ref, up: trail.up, outside: true }
}

type Discriminator = {
  property: string
  /** The values that mean a schema; `isMapped` where the document says so, else it is the schema's name. */
  of(ref: string): { tags: readonly string[]; isMapped: boolean }
}

function discriminatorOf(schema: JsonObject, references: References): Discriminator | undefined {
  const { discriminator } = schema
  // Swagger 2.0 has the property's name alone; the tag is the name of the schema.
  const property =
    typeof discriminator === 'string'
      ? discriminator
      : isObject(discriminator)
        ? textAt(discriminator, 'propertyName')
        : undefined
  if (property === undefined || property === '') return undefined
  const mapped = new Map<unknown, string[]>()
  const mapping = isObject(discriminator) ? objectAt(discriminator, 'mapping') : {}
  for (const [tag, target] of Object.entries(mapping)) {
    const named = typeof target === 'string' ? mappedSchema(target, references) : undefined
    if (named !== undefined) mapped.set(named, [...(mapped.get(named) ?? []), tag])
  }
  return {
    property,
    of(ref) {
      const schema = quietly(() => references.resolve(ref))
      const tags = mapped.get(schema)
      if (tags !== undefined) return { tags, isMapped: true }
      const own = isObject(schema) ? textAt(schema, 'x-ms-discriminator-value') : undefined
      return { tags: [own ?? nameOf(ref)], isMapped: own !== undefined }
    },
  }
}

/** The alternative with its tag, unless it tells that itself. A name that no mapping gives is only shown. */
function tagged(source: unknown, { property, of }: Discriminator, references: References): unknown {
  const ref = isObject(source) ? textAt(source, '$ref') : undefined
  if (ref === undefined || saysTag(source, property, references)) return source
  const { tags, isMapped } = of(ref)
  const shown = isMapped
    ? tags.length === 1
      ? { const: tags[0] }
      : { enum: tags }
    : { examples: tags }
  return { allOf: [source, { type: 'object', properties: { [property]: shown }, [TAG]: true }] }
}

/** `#/components/schemas/Circle` or just `Circle`. */
function mappedSchema(target: string, references: References): unknown {
  const isName = /^[\w.-]+$/.test(target)
  const places = isName
    ? [`#/components/schemas/${target}`, `#/definitions/${target}`, target]
    : [target]
  for (const place of places) {
    const schema = quietly(() => references.resolve(place))
    if (schema !== undefined) return schema
  }
  return undefined
}

/** The alternative tells its own tag. */
function saysTag(schema: unknown, property: string, references: References, depth = 0): boolean {
  if (!isObject(schema) || depth > 8) return false
  const ref = textAt(schema, '$ref')
  if (ref !== undefined) {
    return saysTag(
      quietly(() => references.resolve(ref)),
      property,
      references,
      depth + 1,
    )
  }
  const said = own(objectAt(schema, 'properties'), property)
  if (isObject(said) && (said.const !== undefined || isSingle(said.enum))) return true
  return (
    Array.isArray(schema.allOf) &&
    schema.allOf.some((part) => saysTag(part, property, references, depth + 1))
  )
}

function isSingle(values: unknown): boolean {
  return Array.isArray(values) && values.length === 1
}

function nameOf(ref: string): string {
  return ref.split('/').at(-1) ?? ref
}

/** A reference that leads nowhere, or out of the document, is told where it is followed. */
function quietly(resolve: () => unknown): unknown {
  try {
    return resolve()
  } catch {
    return undefined
  }
}

/** Children by their parent, of all schemas with a name. Those of children count as well. */
export function childIndex(
  named: Readonly<Record<string, unknown>>,
  prefix: string,
  resolve: (ref: string) => unknown,
): (parent: JsonObject) => Children {
  const direct = new Map<unknown, Child[]>()
  for (const [name, schema] of Object.entries(named)) {
    if (!isObject(schema) || !Array.isArray(schema.allOf)) continue
    const ref = `${prefix}${encodeURIComponent(name.replaceAll('~', '~0').replaceAll('/', '~1'))}`
    for (const part of schema.allOf) {
      const parentRef = isObject(part) ? textAt(part, '$ref') : undefined
      const parent = parentRef === undefined ? undefined : quietly(() => resolve(parentRef))
      if (parent === undefined || parent === schema) continue
      const siblings = direct.get(parent)
      if (siblings === undefined) direct.set(parent, [{ name, ref, schema }])
      else siblings.push({ name, ref, schema })
    }
  }
  // Asked for each place that names the parent: one has thousands of children, and thousands of places.
  const known = new WeakMap<JsonObject, Children>()
  return (parent) => {
    const before = known.get(parent)
    if (before !== undefined) return before
    const found = new Map<JsonObject, Child>()
    const open: unknown[] = [parent]
    for (let next = open.pop(); next !== undefined; next = open.pop()) {
      for (const child of direct.get(next) ?? []) {
        if (found.has(child.schema) || child.schema === parent) continue
        found.set(child.schema, child)
        open.push(child.schema)
      }
    }
    known.set(parent, found)
    return found
  }
}
