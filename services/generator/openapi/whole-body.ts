/** What a model is told of a body beyond its fields: the schema of one that stays whole, samples, the body's own words. */
import type { BodySource } from './body.ts'
import type { Fields } from './body-fields.ts'
import { withExample } from './example.ts'
import type { JsonObject } from './json.ts'
import { prose, verbatim } from './prose.ts'
import type { References } from './reference.ts'
import { Refused } from './refused.ts'
import type { SchemaBuilder } from './schema.ts'
import { fileSchema, fileWords } from './upload.ts'
import { isXml, xmlShape } from './xml-shape.ts'

const MAX_SAMPLE = 1_500
const MAX_NOTE = 600

/** What the body's fields cannot say. */
export function bodyNotes(body: BodySource | undefined, fields: Fields | undefined): string[] {
  if (body === undefined || fields === undefined) return []
  const said = prose(body.description ?? '', MAX_NOTE)
  return [said === '' ? '' : `Request body: ${said}`, fields.note ?? '']
}

export function wholeBody(
  body: BodySource,
  key: string,
  builder: SchemaBuilder,
  references: References,
): JsonObject {
  if (body.kind === 'text' || body.kind === 'binary') {
    const how =
      body.kind === 'text' ? `${body.contentType} text` : `${body.contentType}. ${fileWords}`
    const schema = {
      type: 'string',
      description: `${prose(`The request body as ${how}. ${body.description ?? ''}`, 600)}${sampleOf(body, references)}`,
    }
    return body.kind === 'binary' ? fileSchema(schema) : schema
  }
  const seen = builder.look(withExample(body.parts, body.example))
  const { types } = seen.merged
  if (body.kind !== 'json' && types?.includes('object') === false) {
    throw new Refused(
      `The body is ${body.contentType}, whose parts have names: its schema must be an object, and is ${types.join(' or ') || 'null'}.`,
    )
  }
  const schema = builder.write(seen, [key], body.description)
  if (body.kind !== 'json' && schema.type === undefined) schema.type = 'object'
  return schema
}

/** What a text body looks like, which no schema of a string says. */
function sampleOf(
  { kind, contentType, example, parts }: BodySource,
  references: References,
): string {
  if (kind !== 'text') return ''
  if (example !== undefined && example !== null) {
    const text = typeof example === 'string' ? example : JSON.stringify(example)
    // A document's example object is no XML: its schema tells how it is written.
    if (typeof example === 'string' || !isXml(contentType)) {
      return `\nExample: ${verbatim(text, MAX_SAMPLE)}`
    }
  }
  const shape = isXml(contentType) ? xmlShape(parts, references) : undefined
  return shape === undefined ? '' : `\nShape: ${verbatim(shape, MAX_SAMPLE)}`
}
