/** Example arguments for a tool, made from nothing but its input schema: with every property, with the required ones only, by each alternative. */
import { createRequire } from 'node:module'
import { join } from 'node:path'

type Schema = Record<string, unknown>

const MAX_DEPTH = 8
/** Beyond this depth only what is required. */
const FULL_DEPTH = 4
const formats: Readonly<Record<string, string>> = {
  'date-time': '2026-03-04T05:06:07Z',
  date: '2026-03-04',
  time: '05:06:07Z',
  duration: 'P1D',
  email: 'ada@example.com',
  'idn-email': 'ada@example.com',
  hostname: 'api.example.com',
  ipv4: '192.0.2.1',
  ipv6: '2001:db8::1',
  uri: 'https://example.com/a?b=c',
  url: 'https://example.com/a?b=c',
  'uri-reference': '/a?b=c',
  uuid: '5f0c1c2e-8f3a-4a68-9d1c-3c7b6a1d2e4f',
  byte: 'QUJD',
  regex: '^a$',
  'json-pointer': '/a',
}
/** What patterns of names, addresses and times often mean. */
const usualTexts = [
  'abc',
  'example',
  'example.com',
  '1',
  '10m',
  '2026-03-04',
  'i-1234567890abcdef0',
]
const PATTERN_TRIES = 30
const require = createRequire(join(import.meta.dir, 'package.json'))
type Faker = { option(options: object): void; generate(schema: Schema): unknown }
/** Which of the inputs that a schema allows is made. */
export type InputPlan = {
  /** `told`: all but the optional ones whose schema does not say what is in them. */
  properties: 'all' | 'told' | 'required'
  /** Which alternative of each union; the last one where a union has fewer. */
  alternative: number
}

/** Beyond it, alternatives are not tried one by one. */
const MAX_ALTERNATIVES = 8
const everything: InputPlan = { properties: 'all', alternative: 0 }

/** Values hold what needs escaping (a space, an ampersand), where the schema lets them. */
export function exampleInput(schema: Schema, plan: InputPlan = everything): Schema {
  const value = exampleOf(schema, plan, 0)
  return isObject(value) ? value : {}
}

/** One input with everything, one with the least, and one for each further alternative of the largest union. */
export function inputPlans(schema: Schema): InputPlan[] {
  const count = Math.min(mostAlternatives(schema, 0), MAX_ALTERNATIVES)
  const further = Array.from({ length: Math.max(0, count - 1) }, (_, index) => index + 1)
  return [
    everything,
    { properties: 'required', alternative: 0 },
    ...further.map((alternative): InputPlan => ({ properties: 'all', alternative })),
  ]
}

function mostAlternatives(value: unknown, depth: number): number {
  if (typeof value !== 'object' || value === null || depth > 4 * MAX_DEPTH) return 0
  const own = isObject(value) ? [listOf(value.anyOf).length, listOf(value.oneOf).length] : []
  return Math.max(
    0,
    ...own,
    ...Object.values(value).map((part) => mostAlternatives(part, depth + 1)),
  )
}

function exampleOf(schema: unknown, plan: InputPlan, depth: number): unknown {
  if (!isObject(schema)) return 'a b'
  if ('const' in schema) return schema.const
  if (Array.isArray(schema.enum)) return schema.enum.find((each) => each !== null) ?? null
  for (const key of ['anyOf', 'oneOf'] as const) {
    const branches = listOf(schema[key])
    const chosen = branches[Math.min(plan.alternative, branches.length - 1)]
    if (chosen !== undefined) return exampleOf(merged(schema, key, chosen), plan, depth)
  }
  const types = Array.isArray(schema.type) ? schema.type : [schema.type]
  if (types.every((type) => type === 'null')) return null
  switch (types.find((type) => type !== 'null') ?? guessedType(schema)) {
    case 'object':
      return objectOf(schema, plan, depth)
    case 'array':
      return arrayOf(schema, plan, depth)
    case 'integer':
      return numberOf(schema, 1)
    case 'number':
      return numberOf(schema, 1.5)
    case 'boolean':
      return true
    case 'null':
      return null
    default:
      return textOf(schema)
  }
}

/** Without the union, with its first branch beside what stood there. */
function merged(schema: Schema, key: string, branch: unknown): Schema {
  const { [key]: _union, ...rest } = schema
  if (!isObject(branch)) return rest
  const properties = { ...objectAt(rest, 'properties') }
  for (const [key, part] of Object.entries(objectAt(branch, 'properties'))) {
    const around = properties[key]
    properties[key] = isObject(around) && isObject(part) ? { ...around, ...part } : part
  }
  const required = [...listOf(rest.required), ...listOf(branch.required)]
  return {
    ...rest,
    ...branch,
    ...(Object.keys(properties).length > 0 ? { properties } : {}),
    ...(required.length > 0 ? { required } : {}),
  }
}

function guessedType(schema: Schema): string {
  if ('properties' in schema || 'additionalProperties' in schema) return 'object'
  if ('items' in schema || 'prefixItems' in schema) return 'array'
  return 'minimum' in schema || 'maximum' in schema ? 'integer' : 'string'
}

function objectOf(schema: Schema, plan: InputPlan, depth: number): Schema {
  // A file: which media types it may have stands in the operation, not in the schema.
  const { data } = objectAt(schema, 'properties')
  if (isObject(data) && data.contentEncoding === 'base64') {
    return { name: 'a b.bin', data: exampleOf(data, plan, depth + 1) }
  }
  const required = listOf(schema.required)
  const properties = Object.entries(objectAt(schema, 'properties')).filter(
    ([key, part]) => required.includes(key) || (depth < FULL_DEPTH && isWanted(part, plan)),
  )
  const made = depth >= MAX_DEPTH ? [] : properties
  const object = Object.fromEntries(
    made.map(([key, part]) => [key, exampleOf(part, plan, depth + 1)]),
  )
  for (const key of required) {
    // An alternative by itself may ask for what is described around it.
    if (typeof key === 'string' && !Object.hasOwn(object, key)) object[key] = 'a b'
  }
  const isOpenMap = properties.length === 0 && isObject(schema.additionalProperties)
  return isOpenMap && (depth < FULL_DEPTH || numberAt(schema, 'minProperties') === 1)
    ? { key: exampleOf(schema.additionalProperties, plan, depth + 1) }
    : object
}

function isWanted(part: unknown, { properties }: InputPlan): boolean {
  return properties === 'all' || (properties === 'told' && isTold(part))
}

/** An object without properties, a list of anything, and a schema that says nothing are not. */
function isTold(schema: unknown): boolean {
  if (!isObject(schema)) return false
  const branches = [...listOf(schema.anyOf), ...listOf(schema.oneOf), ...listOf(schema.allOf)]
  if (branches.length > 0) return branches.every((branch) => isTold(branch) || isNull(branch))
  if ('enum' in schema || 'const' in schema) return true
  const types = listOf(Array.isArray(schema.type) ? schema.type : [schema.type])
  if (types.includes('array')) return isTold(schema.items)
  if (!types.includes('object')) return types.some((type) => typeof type === 'string')
  const properties = objectAt(schema, 'properties')
  const required = listOf(schema.required).flatMap((key) =>
    Object.entries(properties).filter(([own]) => own === key),
  )
  return 'properties' in schema
    ? required.every(([, part]) => isTold(part))
    : isTold(schema.additionalProperties)
}

function isNull(schema: unknown): boolean {
  return isObject(schema) && schema.type === 'null'
}

function arrayOf(schema: Schema, plan: InputPlan, depth: number): unknown[] {
  const least = numberAt(schema, 'minItems') ?? 0
  const most = numberAt(schema, 'maxItems') ?? Number.POSITIVE_INFINITY
  const wanted = schema.uniqueItems === true ? 1 : 2
  const count = Math.min(Math.max(wanted, least), most)
  if (depth >= MAX_DEPTH) return []
  return Array.from({ length: count }, () => exampleOf(schema.items, plan, depth + 1))
}

function numberOf(schema: Schema, usual: number): number {
  const step = numberAt(schema, 'multipleOf')
  const above = numberAt(schema, 'exclusiveMinimum')
  const below = numberAt(schema, 'exclusiveMaximum')
  const least = numberAt(schema, 'minimum') ?? (above === undefined ? undefined : above + 1)
  const most = numberAt(schema, 'maximum') ?? (below === undefined ? undefined : below - 1)
  const value = Math.min(Math.max(usual, least ?? usual), most ?? Number.POSITIVE_INFINITY)
  return step === undefined ? value : Math.ceil(value / step) * step
}

function textOf(schema: Schema): string {
  const least = numberAt(schema, 'minLength') ?? 0
  const most = numberAt(schema, 'maxLength') ?? Number.POSITIVE_INFINITY
  const fitting = (text: string) => text.length >= least && text.length <= most
  if (typeof schema.pattern === 'string') {
    const pattern = new RegExp(schema.pattern, 'u')
    const fits = (text: string) => fitting(text) && pattern.test(text)
    const usual = [...listOf(schema.examples), formats[String(schema.format)]]
    const found = usual.filter((each) => typeof each === 'string').find(fits)
    return found ?? textOfPattern(schema, fits)
  }
  if ('contentEncoding' in schema) return 'QUJD'
  const format = typeof schema.format === 'string' ? formats[schema.format] : undefined
  // A format that the length leaves no room for cannot be meant.
  if (format !== undefined && fitting(format)) return format
  const text = 'a b&c=d'.padEnd(Math.min(least, 10_000), 'x')
  return text.slice(0, Math.min(text.length, most))
}

const knownTexts = new Map<string, string>()

/** The same text for the same pattern: the first of some that fits. A generator of texts knows no lookahead. */
function textOfPattern(schema: Schema, fits: (text: string) => boolean): string {
  const { pattern, minLength, maxLength } = schema
  const key = JSON.stringify([pattern, minLength, maxLength])
  const known = knownTexts.get(key)
  if (known !== undefined) return known
  const faker: Faker = require('json-schema-faker')
  let text = usualTexts.find(fits)
  for (let turn = 0; text === undefined && turn < PATTERN_TRIES; turn += 1) {
    faker.option({ random: randomFrom(turn) })
    const longer = repeating(String(pattern), Number(minLength ?? 0) - (turn >> 1))
    const source = turn % 2 === 0 ? pattern : longer
    text = [madeBy(faker, { type: 'string', pattern: source, minLength, maxLength })].find(
      (made) => made !== undefined && fits(made),
    )
  }
  knownTexts.set(key, text ?? '')
  return text ?? ''
}

/** What may repeat does so `count` times, to reach a least length. */
function repeating(pattern: string, count: number): string {
  return pattern.replaceAll(/(?<![\\([|{?])[+*]/g, `{${Math.max(1, count)}}`)
}

/** Undefined for what the generator cannot read, such as a lookbehind. */
function madeBy(faker: Faker, schema: Schema): string | undefined {
  try {
    return String(faker.generate(schema))
  } catch {
    return undefined
  }
}

/** The first turn always says a half: short texts of letters from the middle of their ranges. */
function randomFrom(turn: number): () => number {
  let state = turn
  return () => {
    if (turn === 0) return 0.5
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31
    return state / 2 ** 31
  }
}

function objectAt(schema: Schema, key: string): Schema {
  const value = schema[key]
  return isObject(value) ? value : {}
}

function numberAt(schema: Schema, key: string): number | undefined {
  const value = schema[key]
  return typeof value === 'number' ? value : undefined
}

function listOf(value: unknown): unknown[] {
  return Array.isArray(value) ? value : []
}

function isObject(value: unknown): value is Schema {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
