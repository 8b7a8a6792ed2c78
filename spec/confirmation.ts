/** What a person confirms when a server is made or resumed, as one digest. */
import { digestOf } from './digest.ts'
import type { Access } from './statement.ts'

/**
 * Covers everything that the statement takes from the person: the spec's bytes, the address, and who may call. A user
 * token carries it as `cnf`; the service that asks for a signature cannot change any of the three.
 */
export function confirmationDigest(confirmed: {
  /** `sha256:…` of the bytes that were shown. */
  specDigest: string
  resourceUrl: string
  access: Access
}): string {
  const { specDigest, resourceUrl, access } = confirmed
  const people = access.kind === 'people' ? access.people : []
  return digestOf(
    JSON.stringify(['bmm-confirmation-v1', specDigest, resourceUrl, access.kind, people]),
  )
}
