/** Checking a call's arguments against the tool's schema, in here because tenants' patterns can take for ever. */
import { type Schema, Validator } from '@cfworker/json-schema'

const MAX_PROBLEMS = 10

/** Answers the problems as lines `path: what`; none means that the input fits. */
export type InputCheck = (input: unknown) => string[]

/** The validator is built at the first call: a wake should not pay for two hundred tools. */
export function inputCheck(schema: Record<string, unknown>): InputCheck {
  let validator: Validator | undefined
  return (input) => {
    validator ??= new Validator(schema as Schema, '2020-12', false)
    const { valid, errors } = validator.validate(input)
    if (valid) return []
    // Each problem is listed at its parents as well: leaves are those that no other one lies below.
    const leaves = errors.filter(
      (error) =>
        !errors.some(
          (other) => other !== error && isBelow(other.keywordLocation, error.keywordLocation),
        ),
    )
    const lines = leaves.map((error) => `${pathOf(error.instanceLocation)}: ${error.error}`)
    return [...new Set(lines)].slice(0, MAX_PROBLEMS)
  }
}

function isBelow(location: string, parent: string): boolean {
  return location.startsWith(`${parent}/`)
}

/** `#/filter/name` → `filter.name` */
function pathOf(location: string): string {
  const path = location.replace(/^#\/?/, '')
  if (path === '') return 'arguments'
  const parts = path.split('/').map((part) => decodeURIComponent(part))
  return parts.map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~')).join('.')
}
