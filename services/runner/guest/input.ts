/** Checking a call's arguments and its structured result against the tool's schemas, in here because tenants' patterns can take for ever. */
import { format, type Schema, Validator } from '@cfworker/json-schema'
import { type QuickCheck, quickCheck } from './quick-check.ts'

/** A format informs and does not refuse: the API decides (JSON Schema 2020-12 Validation, 7.2.1). */
for (const name of Object.keys(format)) Reflect.deleteProperty(format, name)

const MAX_PROBLEMS = 10
/** Keywords that only pass on what their subschemas say. */
const wrappers: ReadonlySet<string> = new Set([
  'properties',
  'patternProperties',
  'additionalProperties',
  'unevaluatedProperties',
  'items',
  'prefixItems',
  'allOf',
  '$ref',
])

/** How the validator words a property that is not there. */
const missingPattern = /required property "(.*)"\.$/s

/** Answers the problems as lines `path: what`; none means that the value fits. */
export type SchemaCheck = {
  (value: unknown): string[]
  /** The places (steps from the value itself) where something of another type stands than the schema asks for. */
  mistyped(value: unknown): string[][]
}

/** What checks is built at the first call: a wake should not pay for two hundred tools. `whole` names the value itself. */
export function schemaCheck(schema: Record<string, unknown>, whole = 'arguments'): SchemaCheck {
  let validator: Validator | undefined
  let quick: QuickCheck | 'none' | undefined
  const validate = (input: unknown) => {
    validator ??= new Validator(schema as Schema, '2020-12', false)
    return validator.validate(input)
  }
  const check = (input: unknown) => {
    quick ??= quickCheck(schema) ?? 'none'
    if (quick !== 'none' && quick(input)) return []
    const { valid, errors } = validate(input)
    if (valid) return []
    // Each problem is listed at its parents as well: only those that no other one lies below say what is wrong.
    const leaves = errors.filter(
      ({ keyword, keywordLocation }) =>
        !wrappers.has(keyword) &&
        !errors.some((other) => other.keywordLocation.startsWith(`${keywordLocation}/`)),
    )
    const lines = leaves.map(({ keyword, instanceLocation, error }) => {
      const missing = keyword === 'required' ? missingPattern.exec(error)?.[1] : undefined
      if (missing !== undefined)
        return `${placeIn(instanceLocation, whole, missing)}: It is missing.`
      const problem = keyword === 'false' ? 'There is no such property.' : error
      return `${placeIn(instanceLocation, whole)}: ${problem}`
    })
    return [...new Set(lines)].slice(0, MAX_PROBLEMS)
  }
  const mistyped = (input: unknown) => {
    const places = validate(input).errors.filter(({ keyword }) => keyword === 'type')
    return [...new Set(places.map(({ instanceLocation }) => instanceLocation))].map(stepsIn)
  }
  return Object.assign(check, { mistyped })
}

/** `#/filter` and `name` → `filter.name` */
function placeIn(location: string, whole: string, missing?: string): string {
  const names = stepsIn(location)
  if (missing !== undefined) names.push(missing)
  return names.length === 0 ? whole : names.join('.')
}

function stepsIn(location: string): string[] {
  const parts = location.replace(/^#\/?/, '').split('/').filter(Boolean)
  return parts.map((part) => decodeURIComponent(part).replaceAll('~1', '/').replaceAll('~0', '~'))
}
