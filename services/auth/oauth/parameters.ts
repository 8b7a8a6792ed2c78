/** The parameters of an OAuth request: one value a name, empty means absent, repetition is refused. */
import { OAuthError } from './oauth-error.ts'

export type Parameter = { name: string; value: string }

export type Parameters = {
  /** The value, or undefined when absent or empty (OAuth 2.1 section 3.1). */
  find(name: string): string | undefined
  /** The value; throws `invalid_request` when absent. */
  get(name: string): string
  /** Whether the name occurs twice. */
  isRepeated(name: string): boolean
  /** Throws when one of the names occurs twice; `resource` gets its own code (RFC 8707 section 2). */
  refuseRepeated(names?: readonly string[]): void
}

/** Reads decoded pairs in their order. */
export function parametersFrom(pairs: readonly Parameter[]): Parameters {
  const values = new Map<string, string>()
  const repeated = new Set<string>()
  for (const { name, value } of pairs) {
    if (values.has(name)) repeated.add(name)
    else values.set(name, value)
  }
  const find = (name: string) => values.get(name) || undefined
  return {
    find,
    get(name) {
      const value = find(name)
      // Our callers pass literals, so the name in the sentence is never input.
      if (value === undefined)
        throw new OAuthError('invalid_request', `The parameter ${name} is missing.`)
      return value
    },
    isRepeated: (name) => repeated.has(name),
    refuseRepeated(names) {
      const faulty = names === undefined ? repeated : names.filter((name) => repeated.has(name))
      for (const name of faulty) {
        if (name === 'resource') {
          throw new OAuthError('invalid_target', 'Name exactly one resource.')
        }
        throw new OAuthError('invalid_request', 'A parameter is given twice.')
      }
    },
  }
}
