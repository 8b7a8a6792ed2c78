/** Schemas of hand-written tools: what a client cannot compile makes it lose the whole tool list, so it is told here (pure). */
import { propertyKeyPattern, type ServerSpec } from '@bmm/spec/server-spec'
import type { SpecFault } from './spec-consistency.ts'

const MAX_NOTES = 20
const types: ReadonlySet<unknown> = new Set([
  'null',
  'boolean',
  'object',
  'array',
  'number',
  'string',
  'integer',
])
/** Keywords whose value is a schema, a list of schemas, or a map of schemas (JSON Schema 2020-12 Core, section 10). */
const oneSchema = new Set([
  ...['additionalProperties', 'unevaluatedProperties', 'propertyNames', 'items', 'contains'],
  ...['unevaluatedItems', 'not', 'if', 'then', 'else', 'contentSchema'],
])
const schemaLists = new Set(['allOf', 'anyOf', 'oneOf', 'prefixItems'])
const schemaMaps = new Set([
  'properties',
  'patternProperties',
  '$defs',
  'definitions',
  'dependentSchemas',
])
const counts = new Set([
  ...['minLength', 'maxLength', 'minItems', 'maxItems', 'minProperties', 'maxProperties'],
  ...['minContains', 'maxContains'],
])
const numbers = new Set([
  'minimum',
  'maximum',
  'exclusiveMinimum',
  'exclusiveMaximum',
  'multipleOf',
])

type Place = { value: unknown; path: string }
type Found = { path: string; message: string }

/** The first schema that a client could not compile, or undefined. */
export function schemaFault(spec: ServerSpec): SpecFault | undefined {
  for (const { root, at } of schemasOf(spec)) {
    for (const place of subschemas(root, at)) {
      const fault = faultAt(place, root)
      if (fault !== undefined) return fault
    }
  }
  return undefined
}

/** Keys that some model APIs refuse together with the whole tool list. At most 20. */
export function unsafeKeys(spec: ServerSpec): SpecFault[] {
  const found: SpecFault[] = []
  for (const [index, { name, inputSchema }] of spec.tools.entries()) {
    for (const { value, path } of subschemas(inputSchema, `/tools/${index}/inputSchema`)) {
      const keys =
        isRecord(value) && isRecord(value.properties) ? Object.keys(value.properties) : []
      for (const key of keys.filter((each) => !propertyKeyPattern.test(each))) {
        const shown = JSON.stringify(key.slice(0, 80))
        found.push({
          path: `${path}/properties/${pointerPart(key)}`,
          message: `The tool ${name} has a property ${shown}. Some model APIs refuse the whole tool list for a key with other characters than A-Z a-z 0-9 _ . - or more than 64 of them.`,
        })
        if (found.length === MAX_NOTES) return found
      }
    }
  }
  return found
}

function* schemasOf({ tools }: ServerSpec): Generator<{ root: unknown; at: string }> {
  for (const [index, { inputSchema, outputSchema }] of tools.entries()) {
    yield { root: inputSchema, at: `/tools/${index}/inputSchema` }
    if (outputSchema !== undefined) yield { root: outputSchema, at: `/tools/${index}/outputSchema` }
  }
}

/** The schema and every schema within it; what is no schema where one belongs is yielded as well. */
function* subschemas(root: unknown, at: string): Generator<Place> {
  const open: Place[] = [{ value: root, path: at }]
  for (let place = open.pop(); place !== undefined; place = open.pop()) {
    yield place
    if (!isRecord(place.value)) continue
    for (const [keyword, value] of Object.entries(place.value)) {
      const path = `${place.path}/${pointerPart(keyword)}`
      if (oneSchema.has(keyword)) open.push({ value, path })
      else if (schemaLists.has(keyword) && Array.isArray(value)) {
        for (const [index, each] of value.entries())
          open.push({ value: each, path: `${path}/${index}` })
      } else if (schemaMaps.has(keyword) && isRecord(value)) {
        for (const [key, each] of Object.entries(value)) {
          open.push({ value: each, path: `${path}/${pointerPart(key)}` })
        }
      }
    }
  }
}

function faultAt({ value, path }: Place, root: unknown): Found | undefined {
  if (typeof value === 'boolean') return undefined
  if (!isRecord(value)) return { path, message: `${path}: A schema is an object, true or false.` }
  for (const [keyword, given] of Object.entries(value)) {
    const problem = problemOf(keyword, given, root)
    if (problem !== undefined) {
      const place = `${path}/${pointerPart(keyword)}`
      return { path: place, message: `${place}: ${problem}` }
    }
  }
  return undefined
}

/** What is wrong with a keyword's value, as a sentence. */
function problemOf(keyword: string, given: unknown, root: unknown): string | undefined {
  if (keyword === 'pattern') return patternProblem(given)
  if (keyword === 'type') return typeProblem(given)
  if (keyword === '$ref') return referenceProblem(given, root)
  if (keyword === 'enum') {
    return Array.isArray(given) && given.length > 0
      ? undefined
      : 'It is a list with at least one value.'
  }
  if (keyword === 'required') {
    const isList = Array.isArray(given) && given.every((name) => typeof name === 'string')
    return isList ? undefined : 'It is a list of property names, beside "properties".'
  }
  if (schemaLists.has(keyword)) {
    return Array.isArray(given) && given.length > 0 ? undefined : 'It is a list of schemas.'
  }
  if (keyword === 'patternProperties' && isRecord(given)) {
    return Object.keys(given)
      .map(patternProblem)
      .find((problem) => problem !== undefined)
  }
  if (schemaMaps.has(keyword)) {
    return isRecord(given) ? undefined : 'It is an object of schemas by name.'
  }
  if (counts.has(keyword)) {
    return Number.isInteger(given) && Number(given) >= 0
      ? undefined
      : 'It is a whole number from 0.'
  }
  if (numbers.has(keyword)) return typeof given === 'number' ? undefined : 'It is a number.'
  return undefined
}

function patternProblem(pattern: unknown): string | undefined {
  if (typeof pattern !== 'string') return 'It is a text: a regular expression.'
  try {
    new RegExp(pattern, 'u')
    return undefined
  } catch (error) {
    const why = error instanceof Error ? error.message.replace(/^.*: /s, '') : String(error)
    return `Clients compile patterns with the u flag of JavaScript, and this one does not compile: ${why}. Often a backslash stands before a character that needs none, such as "\\-".`
  }
}

function typeProblem(type: unknown): string | undefined {
  const all: readonly unknown[] = Array.isArray(type) ? type : [type]
  return all.length > 0 && all.every((each) => types.has(each))
    ? undefined
    : `It is one of ${[...types].join(', ')}, or a list of these.`
}

/** Clients fetch nothing, and most know no `$id`: a reference leads into the same schema. */
function referenceProblem(reference: unknown, root: unknown): string | undefined {
  if (typeof reference !== 'string') return 'It is a text.'
  if (reference === '#') return undefined
  if (!reference.startsWith('#')) {
    return 'It leads out of the schema. Put what it names under "$defs" and refer to "#/$defs/…".'
  }
  const isThere = reference.startsWith('#/')
    ? valueAt(root, reference.slice(2)) !== undefined
    : hasAnchor(root, reference.slice(1))
  return isThere ? undefined : 'It leads to nothing in this schema.'
}

function valueAt(root: unknown, pointer: string): unknown {
  let value = root
  for (const part of pointer.split('/')) {
    if (typeof value !== 'object' || value === null) return undefined
    const key = unescaped(part)
    value = Object.hasOwn(value, key) ? Reflect.get(value, key) : undefined
  }
  return value
}

function unescaped(part: string): string {
  try {
    return decodeURIComponent(part).replaceAll('~1', '/').replaceAll('~0', '~')
  } catch {
    return part
  }
}

function hasAnchor(root: unknown, name: string): boolean {
  for (const { value } of subschemas(root, '')) {
    if (isRecord(value) && (value.$anchor === name || value.$dynamicAnchor === name)) return true
  }
  return false
}

function pointerPart(key: string): string {
  return key.replaceAll('~', '~0').replaceAll('/', '~1')
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
