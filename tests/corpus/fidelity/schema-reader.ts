/** Values held against a document's schemas by an independent validator (ajv), and the shapes that a schema lets a value have. */
import { type DocumentSchemas, documentSchemas, type Strictness } from './document-schemas.ts'
import { isObject, type Json, listOf, objectAt } from './json.ts'
import { load } from './packages.ts'

type Validate = ((value: unknown) => boolean) & {
  errors?: { instancePath: string; message?: string; keyword: string; params: Json }[] | null
}
type Ajv = { addSchema(schema: unknown, key: string): void; compile(schema: unknown): Validate }
type AjvClass = new (options: object) => Ajv
export type Problem = {
  at: string
  keyword: string
  message: string
  /** How the document contradicts itself there: what it refuses by the letter fits by what it can only mean. */
  contradiction: string | undefined
}
/** What a value of a parameter can look like before it is deserialised. */
export type Shape = {
  type: string | undefined
  properties: Json
  isOpen: boolean
  additional: unknown
  items: unknown
}
export type SchemaReader = {
  /** Throws when the schema cannot be compiled. `coerce`: texts of a URL count as numbers where these are wanted. */
  problems(schema: unknown, value: unknown, coerce: boolean): Problem[]
  shapes(schema: unknown): Shape[]
}

const MAX_DEPTH = 12
const otherDialects = /\\[pPAZzQEGh]|\\x\{|\[\[:|\(\?[a-zA-Z]/
const contradictions: [Strictness, string][] = [
  ['overlapping', 'its alternatives overlap'],
  ['open', 'the parts of an object refuse the properties of each other'],
]

export function schemaReader(document: Json): SchemaReader {
  const isNew = typeof document.openapi === 'string' && !document.openapi.startsWith('3.0')
  const schemas = documentSchemas(document, isNew)
  const validators = new Map<string, ReturnType<typeof newValidator>>()
  const validator = (strictness: Strictness, coerce: boolean) => {
    const key = `${strictness} ${coerce}`
    const known = validators.get(key) ?? newValidator(schemas, isNew, strictness, coerce)
    validators.set(key, known)
    return known
  }
  return {
    shapes: (schema) => shapesOf(schema, schemas, 0),
    problems(schema, value, coerce) {
      const text = JSON.stringify(value)
      const errors = validator('letter', coerce)(schema, value)
      if (errors.length === 0) return []
      // Values of a URL are coerced in place.
      const again = () => (text === undefined ? undefined : JSON.parse(text))
      const contradiction = contradictions.find(
        ([strictness]) => validator(strictness, coerce)(schema, again()).length === 0,
      )?.[1]
      return errors.map((error) => ({ ...error, contradiction }))
    },
  }
}

function newValidator(
  schemas: DocumentSchemas,
  isNew: boolean,
  strictness: Strictness,
  coerce: boolean,
) {
  const ajv = newAjv(isNew, coerce)
  const clean = schemas.cleaner(strictness, (key, schema) => ajv.addSchema(schema, key))
  // By their text: `{"type":"string"}` stands a thousand times in a document.
  const compiled = new Map<string, Validate>()
  return (schema: unknown, value: unknown) => {
    const own = { type: 'object', properties: { value: clean(schema) } }
    const key = JSON.stringify(own)
    const validate = compiled.get(key) ?? ajv.compile(own)
    compiled.set(key, validate)
    if (validate({ value })) return []
    const errors = validate.errors ?? []
    // The text `1` is a number as well: alternatives are told apart by the sender alone.
    if (coerce && errors.every(({ params }) => Array.isArray(params.passingSchemas))) return []
    return errors.map(({ instancePath, message = '', keyword, params }) => ({
      at: instancePath.replace(/^\/value/, ''),
      keyword,
      message: `${message} ${JSON.stringify(params).slice(0, 200)}`,
    }))
  }
}

function newAjv(isNew: boolean, coerceTypes: boolean): Ajv {
  const { default: Class } = load<{ default: AjvClass }>(isNew ? 'ajv/dist/2020' : 'ajv')
  const { default: addFormats } = load<{ default: (ajv: Ajv) => void }>('ajv-formats')
  const ajv = new Class({
    strict: false,
    validateSchema: false,
    allErrors: false,
    logger: false,
    coerceTypes,
    inlineRefs: false,
    code: { regExp: Object.assign(expression, { code: 'expression' }), optimize: false },
  })
  addFormats(ajv)
  return ajv
}

/** A pattern of another dialect (Java's `\p{Alnum}`, Ruby's `\A`) refuses nothing. */
function expression(pattern: string): RegExp {
  for (const flags of ['u', ...(otherDialects.test(pattern) ? [] : [''])]) {
    try {
      return new RegExp(pattern, flags)
    } catch {}
  }
  return /(?:)/
}

/** One for each alternative, with what holds for all of them. */
function shapesOf(schema: unknown, schemas: DocumentSchemas, depth: number): Shape[] {
  if (!isObject(schema) || depth > MAX_DEPTH) return [shapeOf({})]
  const next = (part: unknown) => shapesOf(part, schemas, depth + 1)
  if (typeof schema.$ref === 'string') return next(schemas.target(schema.$ref))
  const branches = [...listOf(schema.anyOf), ...listOf(schema.oneOf)]
  const parts = listOf(schema.allOf).flatMap((part) => next(part).slice(0, 1))
  const own = [shapeOf(schema), ...parts]
  const bases = branches.length === 0 ? [shapeOf({})] : branches.flatMap(next)
  return bases.flatMap((base) => joined([...own, base], schema))
}

function joined(all: readonly Shape[], schema: Json): Shape[] {
  const types = [...new Set(all.map(({ type }) => type).filter((type) => type !== undefined))]
  const properties = Object.assign({}, ...all.map((one) => one.properties))
  const isOpen = all.every((one) => one.isOpen)
  const items = all.map((one) => one.items).find((one) => one !== undefined)
  const additional = all.map((one) => one.additional).find((one) => one !== undefined)
  const several = Array.isArray(schema.type) ? schema.type.filter((type) => type !== 'null') : []
  const wanted = several.length > 1 ? several : [types[0] ?? typeBy(properties, items)]
  return wanted.map((type) => ({
    type: typeof type === 'string' ? type : undefined,
    properties,
    isOpen,
    additional,
    items,
  }))
}

function shapeOf(schema: Json): Shape {
  const types = listOf(Array.isArray(schema.type) ? schema.type : [schema.type])
  const type = types.find((one) => typeof one === 'string' && one !== 'null')
  const { additionalProperties } = schema
  return {
    type: typeof type === 'string' ? type : undefined,
    properties: objectAt(schema, 'properties'),
    isOpen: additionalProperties !== false,
    additional: isObject(additionalProperties) ? additionalProperties : undefined,
    items: schema.items,
  }
}

function typeBy(properties: Json, items: unknown): string | undefined {
  if (Object.keys(properties).length > 0) return 'object'
  return items === undefined ? undefined : 'array'
}
