/** Example arguments for a tool, made from nothing but its input schema: every property, required or not. */
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
const require = createRequire(join(import.meta.dir, 'package.json'))
type Faker = { option(options: object): void; generate(schema: Schema): unknown }

/** Values hold what needs escaping (a space, an ampersand), where the schema lets them. */
export function exampleInput(schema: Schema): Record<string, unknown> {
  const value = exampleOf(schema, 0)
  return isObject(value) ? value : {}
}

function exampleOf(schema: unknown, depth: number): unknown {
  if (!isObject(schema)) return 'a b'
  if ('const' in schema) return schema.const
  if (Array.isArray(schema.enum)) return schema.enum.find((each) => each !== null) ?? null
  for (const key of ['anyOf', 'oneOf'] as const) {
    const [first] = listOf(schema[key])
    if (first !== undefined) return exampleOf(merged(schema, key, first), depth)
  }
  const types = Array.isArray(schema.type) ? schema.type : [schema.type]
  switch (types.find((type) => type !== 'null') ?? guessedType(schema)) {
    case 'object':
      return objectOf(schema, depth)
    case 'array':
      return arrayOf(schema, depth)
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
  const properties = { ...objectAt(rest, 'properties'), ...objectAt(branch, 'properties') }
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

function objectOf(schema: Schema, depth: number): Schema {
  const required = listOf(schema.required)
  const properties = Object.entries(objectAt(schema, 'properties')).filter(
    ([key]) => required.includes(key) || depth < FULL_DEPTH,
  )
  const made = depth >= MAX_DEPTH ? [] : properties
  const object = Object.fromEntries(made.map(([key, part]) => [key, exampleOf(part, depth + 1)]))
  const isOpenMap = properties.length === 0 && isObject(schema.additionalProperties)
  return isOpenMap && depth < FULL_DEPTH
    ? { key: exampleOf(schema.additionalProperties, depth + 1) }
    : object
}

function arrayOf(schema: Schema, depth: number): unknown[] {
  const least = numberAt(schema, 'minItems') ?? 0
  const most = numberAt(schema, 'maxItems') ?? Number.POSITIVE_INFINITY
  const wanted = schema.uniqueItems === true ? 1 : 2
  const count = Math.min(Math.max(wanted, least), most)
  if (depth >= MAX_DEPTH) return []
  const items = isFileList(schema) ? { contentEncoding: 'base64' } : schema.items
  return Array.from({ length: count }, () => exampleOf(items, depth + 1))
}

/** What a model reads there as well. */
function isFileList({ description }: Schema): boolean {
  return typeof description === 'string' && description.startsWith('File content as base64.')
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
    const examples = listOf(schema.examples).filter((each) => typeof each === 'string')
    const found = examples.find((text) => fitting(text) && pattern.test(text))
    return found ?? textOfPattern(schema)
  }
  if ('contentEncoding' in schema) return 'QUJD'
  const format = typeof schema.format === 'string' ? formats[schema.format] : undefined
  // A format that the length leaves no room for cannot be meant.
  if (format !== undefined && fitting(format)) return format
  const text = 'a b&c=d'.padEnd(Math.min(least, 10_000), 'x')
  return text.slice(0, Math.min(text.length, most))
}

/** The same text for the same pattern. */
function textOfPattern({ pattern, minLength, maxLength }: Schema): string {
  const faker: Faker = require('json-schema-faker')
  faker.option({ random: () => 0.5 })
  return String(faker.generate({ type: 'string', pattern, minLength, maxLength }))
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
