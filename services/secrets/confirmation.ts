/** What a person confirmed, and the statement that follows from it (pure). */
import { digestOf } from '@bmm/spec/digest'
import { credentialSchema, egressSchema, parseServerSpec } from '@bmm/spec/server-spec'
import {
  type Access,
  accessSchema,
  type ServeStatement,
  type StopStatement,
} from '@bmm/spec/statement'
import { z } from 'zod'

/** The part of a statement that is fixed at confirmation. */
const contractSchema = z.strictObject({
  resourceUrl: z.url(),
  access: accessSchema,
  egress: z.array(egressSchema),
  credentials: z.array(credentialSchema),
})
export type Contract = z.infer<typeof contractSchema>

/** The contract in the bytes that were shown, or why there is none. */
export function contractFrom(input: {
  spec: Uint8Array
  specDigest: string
  resourceUrl: string
  access: string
}): { contract: string; access: Access } | { fault: string } {
  if (digestOf(input.spec) !== input.specDigest) {
    return { fault: 'The spec bytes do not have the stated digest.' }
  }
  try {
    const { egress, credentials } = parseServerSpec(input.spec)
    const access = accessSchema.parse(JSON.parse(input.access))
    const contract = { resourceUrl: input.resourceUrl, access, egress, credentials }
    return { contract: JSON.stringify(contractSchema.parse(contract)), access }
  } catch (error) {
    if (error instanceof z.ZodError || error instanceof SyntaxError) {
      return { fault: 'The spec or the access rule is malformed.' }
    }
    throw error
  }
}

/** The contract in what was recorded. */
export function contractOf(recorded: string): Contract {
  return contractSchema.parse(JSON.parse(recorded))
}

/** The statement to sign for a recorded contract. */
export function serveStatement(input: {
  serverId: string
  orgId: string
  epoch: number
  version: number
  specDigest: string
  moduleDigest: string
  contract: string
  issuedAt: Date
}): ServeStatement {
  const { serverId, orgId, epoch, version, specDigest, moduleDigest } = input
  return {
    statementVersion: 1,
    kind: 'serve',
    serverId,
    orgId,
    epoch,
    version,
    specDigest,
    moduleDigest,
    issuedAt: input.issuedAt.toISOString(),
    ...contractOf(input.contract),
  }
}

/** The statement that stops a server. */
export function stopStatement(input: {
  serverId: string
  orgId: string
  epoch: number
  reason: StopStatement['reason']
  issuedAt: Date
}): StopStatement {
  const { serverId, orgId, epoch, reason } = input
  return {
    statementVersion: 1,
    kind: 'stop',
    serverId,
    orgId,
    epoch,
    reason,
    issuedAt: input.issuedAt.toISOString(),
  }
}
