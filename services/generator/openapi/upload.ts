/** How a tool's input takes a file: as base64 text or a data URL, or as an object that also has its name and type. */
import { isObject, type JsonObject, listAt, objectAt, own } from './json.ts'

const mediaType = /^[\w!#$&^.+*-]+\/[\w!#$&^.+*-]+(?:\s*;[\x20-\x2b\x2d-\x7e]*)?$/
const MAX_TYPES = 200
export const fileWords =
  'File content as base64 or a data URL; or an object with name, type (a media type) and data (base64).'

/** The input with the files among its properties in both forms. */
export function offerNamedFiles(input: JsonObject, keys: readonly string[]): void {
  const properties = objectAt(input, 'properties')
  for (const key of keys) {
    const schema = own(properties, key)
    if (!isObject(schema)) continue
    if (schema.type === 'array') schema.items = fileSchema(objectAt(schema, 'items'))
    else properties[key] = fileSchema(schema)
  }
}

/** What the document limits, such as lengths, is said of the bytes: it does not fit their base64. */
export function fileSchema(schema: JsonObject): JsonObject {
  const base64 = { type: 'string', contentEncoding: 'base64' }
  const named = {
    type: 'object',
    properties: {
      name: { type: 'string', minLength: 1, maxLength: 255 },
      type: { type: 'string', pattern: '^[^\\s/]+/[^\\s/]+.*$', examples: ['text/csv'] },
      data: base64,
    },
    required: ['data'],
    additionalProperties: false,
  }
  const isNullable = listAt(schema, 'type').includes('null')
  return {
    ...(typeof schema.description === 'string' ? { description: schema.description } : {}),
    anyOf: [base64, named, ...(isNullable ? [{ type: 'null' }] : [])],
  }
}

/** Media types as one list, separated by commas; undefined where none is named. */
export function typeList(types: readonly string[]): string | undefined {
  const sound = types.map((type) => type.trim()).filter((type) => mediaType.test(type))
  let list = ''
  for (const type of new Set(sound)) {
    const longer = list === '' ? type : `${list}, ${type}`
    if (longer.length <= MAX_TYPES) list = longer
  }
  return list === '' ? undefined : list
}
