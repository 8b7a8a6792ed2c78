/** What a schema says against itself: values of another type, patterns and bounds that its own examples break. */
import type { JsonObject } from './json.ts'
import { compiles } from './schema-pattern.ts'

/** Keywords that a document's own values can be held against. */
const checks: Readonly<Record<string, (value: unknown, bound: unknown) => boolean>> = {
  pattern: (value, bound) => typeof value !== 'string' || isMatch(value, String(bound)),
  minLength: (value, bound) => typeof value !== 'string' || [...value].length >= Number(bound),
  maxLength: (value, bound) => typeof value !== 'string' || [...value].length <= Number(bound),
  minimum: (value, bound) => typeof value !== 'number' || value >= Number(bound),
  maximum: (value, bound) => typeof value !== 'number' || value <= Number(bound),
  exclusiveMinimum: (value, bound) => typeof value !== 'number' || value > Number(bound),
  exclusiveMaximum: (value, bound) => typeof value !== 'number' || value < Number(bound),
  multipleOf: (value, bound) => typeof value !== 'number' || value % Number(bound) === 0,
  minItems: (value, bound) => !Array.isArray(value) || value.length >= Number(bound),
  maxItems: (value, bound) => !Array.isArray(value) || value.length <= Number(bound),
}
/** Pairs of bounds between which nothing may be left. */
const ranges = [
  ['minLength', 'maxLength'],
  ['minItems', 'maxItems'],
  ['minProperties', 'maxProperties'],
  ['minimum', 'maximum'],
] as const
const checkedKeywords = Object.keys(checks)
/** `/^a$/` is a literal of JavaScript: its slashes and flags are no part of the expression. */
const LITERAL = /^\/(.+)\/([a-z]*)$/s
const REPEATED = /[+*}]\)*[^)]*\)(?:[+*]|\{\d+,)/
const MAX_TRIED = 200

/**
 * Brings the values of a schema to its types and leaves out each keyword that the schema's own examples, default or values
 * break. Answers whether anything had to be loosened. `types` undefined means any; null beside them is `nullable`;
 * `witnesses` are what examples of the schemas around this one give here.
 */
export function agree(
  plain: JsonObject,
  types: readonly string[] | undefined,
  nullable: boolean,
  witnesses: readonly unknown[] = [],
): boolean {
  let isLoosened = false
  for (const [least, most] of ranges) {
    if (plain[least] !== undefined && isEmptyRange(plain, least, most)) isLoosened = true
  }
  if (!hasValues(plain) && plain.pattern === undefined && witnesses.length === 0) return isLoosened
  if (typeof plain.pattern === 'string')
    isLoosened = settlePattern(plain, plain.pattern) || isLoosened
  if (types !== undefined) {
    if (settleValues(plain, types, nullable)) isLoosened = true
    settleSamples(plain, types, nullable)
  }
  const values = [...ownValues(plain), ...witnesses.filter((value) => value !== null)]
  for (const keyword of checkedKeywords) {
    const bound = plain[keyword]
    if (bound === undefined || values.every((value) => checks[keyword]?.(value, bound))) continue
    delete plain[keyword]
    isLoosened = true
  }
  return settleEnum(plain, types, witnesses) || isLoosened
}

/** A literal with a flag cannot be told in JSON Schema, and its text alone would refuse what it allows. */
function settlePattern(plain: JsonObject, pattern: string): boolean {
  const [, inner, flags] = LITERAL.exec(pattern) ?? []
  if (inner === undefined) return false
  const values = ownValues(plain).filter((value) => typeof value === 'string')
  const isLiteral =
    values.length > 0
      ? !values.every((value) => isMatch(value, pattern))
      : flags !== '' || inner.startsWith('^') || inner.endsWith('$')
  if (!isLiteral) return false
  if (flags?.includes('i') || flags?.includes('m') || flags?.includes('s') || !compiles(inner)) {
    delete plain.pattern
    return true
  }
  plain.pattern = inner
  return false
}

/** True when the values of enum or const say something else than the types. */
function settleValues(plain: JsonObject, types: readonly string[], nullable: boolean): boolean {
  if (plain.const !== undefined) {
    const value = broughtTo(plain.const, types, nullable)
    if (value === undefined) delete plain.const
    else plain.const = value
    return value === undefined
  }
  if (!Array.isArray(plain.enum)) return false
  const brought = plain.enum.map((value: unknown) => broughtTo(value, types, nullable))
  const kept = [...new Set(brought.filter((value) => value !== undefined))]
  if (kept.length === 0) delete plain.enum
  else plain.enum = kept
  return kept.length === 0
}

/** A default or example that is of no type of the schema says nothing. */
function settleSamples(plain: JsonObject, types: readonly string[], nullable: boolean): void {
  if (plain.default !== undefined) {
    const value = broughtTo(plain.default, types, nullable)
    if (value === undefined) delete plain.default
    else plain.default = value
  }
  if (!Array.isArray(plain.examples)) return
  const kept = plain.examples
    .map((value: unknown) => broughtTo(value, types, nullable))
    .filter((value) => value !== undefined)
  if (kept.length === 0) delete plain.examples
  else plain.examples = kept
}

/** Where the schema's own example is no value of its enum, the enum is a choice of examples itself. */
function settleEnum(
  plain: JsonObject,
  types: readonly string[] | undefined,
  witnesses: readonly unknown[],
): boolean {
  if (!Array.isArray(plain.enum)) return false
  const values: readonly unknown[] = plain.enum
  const fitting = witnesses.filter((value) => types === undefined || types.includes(typeOf(value)))
  const samples = [
    plain.default,
    ...(Array.isArray(plain.examples) ? plain.examples : []),
    ...fitting.filter(isScalar),
  ]
  const strangers = samples.filter((value) => value !== undefined && !values.includes(value))
  if (strangers.length === 0) return false
  plain.enum = [...new Set([...values, ...strangers.filter(isScalar)])]
  return true
}

function hasValues(plain: JsonObject): boolean {
  return (
    plain.default !== undefined ||
    plain.const !== undefined ||
    plain.examples !== undefined ||
    plain.enum !== undefined
  )
}

function ownValues(plain: JsonObject): unknown[] {
  return [
    ...(plain.default === undefined ? [] : [plain.default]),
    ...(plain.const === undefined ? [] : [plain.const]),
    ...(Array.isArray(plain.examples) ? plain.examples : []),
    ...(Array.isArray(plain.enum) ? plain.enum : []),
  ].filter((value) => value !== null)
}

/** The value as one of the types, where its text means the same; undefined where it cannot be one. */
function broughtTo(value: unknown, types: readonly string[], nullable: boolean): unknown {
  if (value === null) return nullable ? null : undefined
  if (types.includes(typeOf(value)) || (types.includes('number') && typeof value === 'number')) {
    return value
  }
  if (types.includes('string') && isScalar(value)) return String(value)
  if (typeof value === 'string') {
    const text = value.trim()
    const number = Number(text)
    const isNumber = text !== '' && Number.isFinite(number)
    if (types.includes('integer') && isNumber && Number.isSafeInteger(number)) return number
    if (types.includes('number') && isNumber) return number
    if (types.includes('boolean') && (text === 'true' || text === 'false')) return text === 'true'
  }
  return undefined
}

function typeOf(value: unknown): string {
  if (Array.isArray(value)) return 'array'
  return Number.isInteger(value) ? 'integer' : typeof value
}

function isEmptyRange(plain: JsonObject, least: string, most: string): boolean {
  if (typeof plain[least] !== 'number' || typeof plain[most] !== 'number') return false
  if (plain[least] <= plain[most]) return false
  delete plain[least]
  delete plain[most]
  return true
}

/** What might take for ever is not tried: a repetition of a repetition, a long value. */
function isMatch(value: string, pattern: string): boolean {
  if (value.length > MAX_TRIED || REPEATED.test(pattern) || !compiles(pattern)) return true
  return new RegExp(pattern, 'u').test(value)
}

function isScalar(value: unknown): boolean {
  return ['string', 'number', 'boolean'].includes(typeof value)
}
