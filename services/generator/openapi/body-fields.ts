/** The fields of an object body as properties of the tool's input, where the rule allows it. */
import type { BodySpec } from '@bmm/spec/server-spec'
import type { BodySource } from './body.ts'
import { withExampleOf } from './example.ts'
import { type KeyRing, safeKey } from './input-key.ts'
import { isObject, type JsonObject, own, textAt } from './json.ts'
import { namedProperties, type SchemaBuilder, type Seen, valuesAt, widenTag } from './schema.ts'
import type { Part } from './schema-leaf.ts'
import type { Kind } from './schema-union.ts'
import { fileWords, typeList } from './upload.ts'

type Field = NonNullable<BodySpec['fields']>[number]

export type Fields = {
  properties: JsonObject
  /** Keys that the input must have. */
  required: string[]
  fields: Field[]
  /** What the fields' schemas do not say, for the tool's description. */
  note: string | undefined
}

const MAX_FIELDS = 100
const MAX_KINDS_TOLD = 20
const fieldStyles = ['form', 'spaceDelimited', 'pipeDelimited', 'deepObject'] as const

/**
 * Undefined where the body stays whole under one key: it is no object with named fields, a union, an open map,
 * has too many fields, or a field's key is already a parameter's.
 */
export function flattenedBody(
  body: BodySource,
  ring: KeyRing,
  builder: SchemaBuilder,
  parameterCount: number,
): Fields | undefined {
  if (body.kind === 'text' || body.kind === 'binary') return undefined
  const seen = builder.look(body.parts)
  if (!isFlattenable(seen)) return undefined
  const { merged } = seen
  const all = namedProperties(merged)
  // Among so many some may be read-only, but not all but a hundred.
  if (all.size > MAX_FIELDS * 3) return undefined
  const named: NamedField[] = [...all].map(([name, parts]) => ({
    name,
    seen: builder.look(shownParts(name, parts, body, seen)),
  }))
  const kinds = fieldsOfKinds(merged.kinds, all, builder)
  if (kinds === undefined) return undefined
  named.push(...kinds.fields)
  const sent = named.filter((field) => !field.seen.readOnly)
  const keys = sent.map(({ name }) => safeKey(name))
  const isClash = new Set(keys).size < keys.length || keys.some((key) => ring.has(key))
  if (
    sent.length === 0 ||
    sent.length > MAX_FIELDS ||
    parameterCount + sent.length > 400 ||
    isClash
  ) {
    return undefined
  }
  const properties: JsonObject = {}
  const fields = sent.map(({ name, seen: field, kinds }): Field => {
    const key = ring.keyFor(name)
    widenTag(field, name, merged.kinds, builder.look)
    const inside = valuesAt(merged.samples, name)
    const schema = builder.write(field, [key], describedFor(kinds, field), inside)
    const isFile = body.kind === 'multipart' && isFileField(field, builder)
    if (isFile) describeFile(schema)
    properties[key] = schema
    return {
      key,
      name,
      ...(isFile ? { file: true } : {}),
      ...encodingOf(body, name),
      ...(isFile ? fileTypes(body, name, field) : {}),
    }
  })
  // An explicit `required: false` lets the whole body be left out; silence is taken as carelessness.
  const isRequired = body.required !== false
  const required = sent.flatMap(({ name }, index) => {
    const key = fields[index]?.key
    return isRequired && merged.object.required.has(name) && key !== undefined ? [key] : []
  })
  const notes = [alternativesNote(merged.unions), kinds.note].filter((note) => note !== undefined)
  return { properties, required, fields, note: notes.length === 0 ? undefined : notes.join('\n\n') }
}

/** The example of the media type overrides a field's own, which overrides that of the whole schema. */
function shownParts(
  name: string,
  parts: readonly Part[],
  body: BodySource,
  { merged }: Seen,
): readonly Part[] {
  const [shown] = Array.isArray(merged.plain.examples) ? merged.plain.examples : []
  const last = withExampleOf([], name, shown)
  return withExampleOf([...parts, ...last], name, body.example)
}

/** A field of a body that becomes a property; `kinds` are the tags of the alternatives that alone have it. */
type NamedField = { name: string; seen: Seen; kinds?: readonly string[] }

/**
 * What the children of a parent add, as optional fields that say for which kind they are. Undefined where they do not fit
 * into one list of fields: a child is a union itself, or two children mean different things by one name.
 */
function fieldsOfKinds(
  kinds: readonly Kind[],
  base: ReadonlyMap<string, unknown>,
  builder: SchemaBuilder,
): { fields: NamedField[]; note: string | undefined } | undefined {
  const found = new Map<string, { parts: readonly Part[]; kinds: string[] }>()
  const asked: string[] = []
  for (const { part, property, tags } of kinds) {
    const { merged } = builder.look([part])
    if (merged.unions.length > 0) return undefined
    const tag = tags.join(' or ')
    const own = [...namedProperties(merged)].filter(([name]) => !base.has(name))
    for (const [name, parts] of own) {
      const known = found.get(name)
      if (known !== undefined && known.parts[0]?.source !== parts[0]?.source) return undefined
      if (known === undefined) found.set(name, { parts, kinds: [tag] })
      else known.kinds.push(tag)
    }
    const required = own.map(([name]) => name).filter((name) => merged.object.required.has(name))
    const needs = required.length === 0 ? '' : ` needs ${required.map(safeKey).join(', ')}`
    asked.push(`${property} "${tag}"${needs}`)
  }
  const told = asked.slice(0, MAX_KINDS_TOLD).join('; ')
  const more = asked.length > MAX_KINDS_TOLD ? `; and ${asked.length - MAX_KINDS_TOLD} more` : ''
  return {
    fields: [...found].map(([name, { parts, kinds: tags }]) => ({
      ...{ name, seen: builder.look(parts), kinds: tags },
    })),
    note: asked.length === 0 ? undefined : `Kinds of the body: ${told}${more}.`,
  }
}

function describedFor(kinds: readonly string[] | undefined, { merged }: Seen): string | undefined {
  if (kinds === undefined) return undefined
  const said = typeof merged.plain.description === 'string' ? ` ${merged.plain.description}` : ''
  return `For ${kinds.map((kind) => `"${kind}"`).join(', ')}.${said}`
}

function isFlattenable({ merged, recursive, never }: Seen): boolean {
  if (never || recursive !== undefined) return false
  if (merged.types?.length !== 1 || merged.types[0] !== 'object') return false
  const { additional, patterns } = merged.object
  if (additional === true || Array.isArray(additional) || patterns.size > 0) return false
  return merged.unions.every((members) => members.every(isConstraint))
}

/** An alternative that only says which fields go together does not make a union of shapes. */
function isConstraint(part: Part): boolean {
  return (
    isObject(part.source) &&
    Object.entries(part.source).every(
      ([keyword, value]) =>
        ['required', 'not', 'title', 'description', 'minProperties'].includes(keyword) ||
        (keyword === 'type' && value === 'object'),
    )
  )
}

function alternativesNote(unions: readonly (readonly Part[])[]): string | undefined {
  const sets = unions.flatMap((members) =>
    members.flatMap(({ source }) => {
      const required = isObject(source) ? source.required : undefined
      const names = Array.isArray(required) ? required.filter((n) => typeof n === 'string') : []
      return names.length === 0 ? [] : [names.map((name) => safeKey(name)).join(' + ')]
    }),
  )
  const told = [...new Set(sets)].slice(0, 10)
  return told.length < 2 ? undefined : `Give at least one of: ${told.join('; ')}.`
}

/** A file is a string of bytes, or a list of such. */
function isFileField({ merged }: Seen, builder: SchemaBuilder): boolean {
  const plain = merged.types?.[0] === 'array' ? builder.look(merged.items).merged : merged
  const { format, contentMediaType, contentEncoding } = plain.plain
  if (plain.types !== undefined && plain.types[0] !== 'string') return false
  return (
    format === 'binary' ||
    format === 'byte' ||
    contentEncoding === 'base64' ||
    (typeof contentMediaType === 'string' && !contentMediaType.startsWith('text/'))
  )
}

/** Its schema is written once all are (`offerNamedFiles`). */
function describeFile(schema: JsonObject): void {
  const said = typeof schema.description === 'string' ? ` ${schema.description}` : ''
  schema.description = `${fileWords}${said}`
}

/** Of several types that a file may have, the guest sends the one that fits it. */
function fileTypes(body: BodySource, name: string, { merged }: Seen): Partial<Field> {
  const encoding = own(body.encoding, name)
  const named = isObject(encoding) ? textAt(encoding, 'contentType') : undefined
  const said = merged.plain.contentMediaType
  const types = typeList((named ?? (typeof said === 'string' ? said : '')).split(','))
  return types === undefined ? {} : { contentType: types }
}

function encodingOf(body: BodySource, name: string): Partial<Field> {
  const encoding = own(body.encoding, name)
  if (!isObject(encoding)) return {}
  const style = fieldStyles.find((known) => known === textAt(encoding, 'style'))
  const explode = own(encoding, 'explode')
  const type = textAt(encoding, 'contentType')?.split(',', 1)[0]?.trim()
  const isConcrete =
    type !== undefined && /^[\w!#$&^.+-]+\/[\w!#$&^.+-]+(?:\s*;[\x20-\x7e]*)?$/.test(type)
  return {
    ...(isConcrete && type.length <= 200 ? { contentType: type } : {}),
    ...(style === undefined ? {} : { style }),
    ...(typeof explode === 'boolean' ? { explode } : {}),
  }
}
