/** The ways a credential is put into a request, by the names that specs, stored destinations and REST give them. */
import { Scheme } from '@bmm/proto/secrets/v1/secret'

export const schemeFrom = {
  bearer: Scheme.BEARER,
  basic: Scheme.BASIC,
  header: Scheme.HEADER,
  query: Scheme.QUERY,
  cookie: Scheme.COOKIE,
} as const
export type SchemeName = keyof typeof schemeFrom

const schemeNames = Object.keys(schemeFrom) as SchemeName[]

/** Undefined for the unspecified one. */
export function findSchemeName(scheme: Scheme): SchemeName | undefined {
  return schemeNames.find((name) => schemeFrom[name] === scheme)
}
