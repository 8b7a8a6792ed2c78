/** Parts of a tool's input schema that no call can fill: for every field, item and alternative an instance is made and checked. */
import { schemaCheck } from '@bmm/runner/guest/input.ts'
import { exampleInput } from './example-input.ts'

type Schema = Record<string, unknown>

/** `where` is the path of keys, with `*` for items and `|2` for the third alternative. */
export type Unfillable = { where: string; why: string }

const MAX_DEPTH = 40
const MAX_FOUND = 5
const MAX_SHOWN = 300

/** A part that a document itself closes (`false`) is left out: nothing is meant to fill it. */
export function unfillableParts(inputSchema: Schema): Unfillable[] {
  const found: Unfillable[] = []
  visit(inputSchema, [], found)
  return found
}

function visit(schema: unknown, at: readonly string[], found: Unfillable[]): void {
  if (!isObject(schema) || at.length > MAX_DEPTH || found.length >= MAX_FOUND) return
  if ('not' in schema && Object.keys(schema).length <= 2) return
  const before = found.length
  for (const [key, part] of Object.entries(objectAt(schema, 'properties'))) {
    visit(part, [...at, key], found)
  }
  visit(schema.items, [...at, '*'], found)
  visit(schema.additionalProperties, [...at, '*'], found)
  for (const part of listOf(schema.prefixItems)) visit(part, [...at, '*'], found)
  for (const union of unionsOf(schema)) {
    for (const [index, part] of union.entries()) visit(part, [...at, `|${index}`], found)
  }
  // What contains a part that cannot be filled is not told once more.
  if (found.length > before) return
  for (const fault of faultsOf(schema)) {
    found.push({ where: [...at, ...fault.step].join('/'), why: fault.why.slice(0, MAX_SHOWN) })
  }
}

/** Each alternative is tried beside all that is written around it, as a call would have to give it. */
function faultsOf(schema: Schema): { step: string[]; why: string }[] {
  const check = schemaCheck(schema)
  const unions = unionsOf(schema)
  if (unions.length !== 1) {
    const why = refusal(schema, check)
    return why === undefined ? [] : [{ step: [], why }]
  }
  const { allOf: _allOf, anyOf: _anyOf, ...rest } = schema
  return (unions[0] ?? []).flatMap((part, index) => {
    const why = refusal({ ...rest, anyOf: [part] }, check)
    return why === undefined ? [] : [{ step: [`|${index}`], why }]
  })
}

/** Undefined when an instance fits: one with everything, or one with only what is required. */
function refusal(schema: Schema, check: (value: unknown) => string[]): string | undefined {
  const wrapped = { type: 'object', properties: { value: schema }, required: ['value'] }
  let first: string | undefined
  for (const properties of ['required', 'all'] as const) {
    const { value } = exampleInput(wrapped, { properties, alternative: 0 })
    const problems = check(value)
    if (problems.length === 0) return undefined
    first ??= `${JSON.stringify(value)?.slice(0, MAX_SHOWN / 3)}: ${problems.join(' ')}`
  }
  return first
}

function unionsOf(schema: Schema): unknown[][] {
  const all = [schema, ...listOf(schema.allOf).filter(isObject)]
  return all.map((each) => listOf(each.anyOf)).filter((union) => union.length > 0)
}

function objectAt(schema: Schema, key: string): Schema {
  const value = schema[key]
  return isObject(value) ? value : {}
}

function listOf(value: unknown): unknown[] {
  return Array.isArray(value) ? value : []
}

function isObject(value: unknown): value is Schema {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
