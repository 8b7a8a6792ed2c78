/** What a secret is: its destination as bound text, its mask, and which secrets a statement opens. */

import { credentialSchema } from '@bmm/spec/server-spec'
import type { ServeStatement } from '@bmm/spec/statement'
import { z } from 'zod'

const LAST_FOUR_FROM_CHARACTERS = 12
const { scheme, origins } = credentialSchema.shape

const destinationSchema = z
  .strictObject({
    scheme,
    parameter: z.string().max(128),
    origins,
  })
  .refine((d) => (d.parameter !== '') === ['header', 'query', 'cookie'].includes(d.scheme), {
    message: 'parameter belongs to header, query and cookie, and only to them',
  })
export type Destination = z.infer<typeof destinationSchema>

/** The destination in the one spelling that is stored and bound: fixed key order, sorted origins. */
export function destinationText(destination: Destination): string {
  const { scheme, parameter, origins } = destinationSchema.parse(destination)
  return JSON.stringify({ scheme, parameter, origins: [...new Set(origins)].sort() })
}

/** Reads a stored destination. */
export function destinationFrom(text: string): Destination {
  return destinationSchema.parse(JSON.parse(text))
}

/** A fault of a destination as a sentence, or undefined. */
export function destinationFault(destination: unknown): string | undefined {
  const parsed = destinationSchema.safeParse(destination)
  if (parsed.success) return undefined
  const issue = parsed.error.issues[0]
  return `${issue?.path.join('.') ?? 'destination'}: ${issue?.message ?? 'is invalid'}`
}

/** What people may see of a value: nothing of short ones, the last four characters of longer ones. */
export function lastFour(value: string): string {
  return value.length >= LAST_FOUR_FROM_CHARACTERS ? value.slice(-4) : ''
}

/** Everything that a sealed value is bound to. */
export function secretBinding(row: {
  orgId: string
  serverId: string
  name: string
  destination: string
  keyVersion: number
  valueVersion: number
}): (string | number)[] {
  const { orgId, serverId, name, destination, keyVersion, valueVersion } = row
  return ['secret', orgId, serverId, name, destination, keyVersion, valueVersion]
}

/** The names that a statement may open; a stored secret that it does not name stays shut. */
export function namesToOpen(statement: ServeStatement): Set<string> {
  return new Set(statement.credentials.map((credential) => credential.name))
}
