/** The signed contract of a server: what a person confirmed, in bytes that a writable database cannot forge. */
import { createPublicKey, type KeyObject, sign, verify } from 'node:crypto'
import { z } from 'zod'
import { digestPattern } from './digest.ts'
import { credentialSchema, egressSchema } from './server-spec.ts'

/** Who may call a server. `people` holds user ids. */
export const accessSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('org') }),
  z.strictObject({ kind: z.literal('people'), people: z.array(z.string()).max(1_000) }),
  z.strictObject({ kind: z.literal('anyone') }),
])
export type Access = z.infer<typeof accessSchema>

/** Whether a person, who is a member of these organisations, may use a server of that organisation. */
export function mayUse(
  access: Access,
  serverOrgId: string,
  person: { userId: string; orgIds: readonly string[] },
): boolean {
  switch (access.kind) {
    case 'org':
      return person.orgIds.includes(serverOrgId)
    case 'people':
      return access.people.includes(person.userId)
    case 'anyone':
      return true
    default:
      return access satisfies never
  }
}

const headSchema = {
  statementVersion: z.literal(1),
  serverId: z.string().startsWith('srv_'),
  orgId: z.string().startsWith('org_'),
  /** Rises with every statement of a server; a reader refuses one below the highest it has seen. */
  epoch: z.number().int().positive(),
  issuedAt: z.iso.datetime({ precision: 3 }),
}

export const serveStatementSchema = z.strictObject({
  ...headSchema,
  kind: z.literal('serve'),
  resourceUrl: z.string(),
  version: z.number().int().positive(),
  specDigest: z.string().regex(digestPattern),
  /** Digest of the compiled module; of zero bytes when every tool is an imported operation. */
  moduleDigest: z.string().regex(digestPattern),
  access: accessSchema,
  egress: z.array(egressSchema),
  credentials: z.array(credentialSchema),
})

/** A pause, a deletion or a takedown: nothing of this server may run below or at this epoch. */
export const stopStatementSchema = z.strictObject({
  ...headSchema,
  kind: z.literal('stop'),
  reason: z.enum(['paused', 'deleted', 'takedown']),
})

const statementSchema = z.discriminatedUnion('kind', [serveStatementSchema, stopStatementSchema])
export type Statement = z.infer<typeof statementSchema>
export type ServeStatement = z.infer<typeof serveStatementSchema>
export type StopStatement = z.infer<typeof stopStatementSchema>

/** Stored and passed on as these bytes, never as jsonb, never serialised again. */
export type SignedStatement = { bytes: Uint8Array; signature: Uint8Array; keyId: string }

const signingContext = new TextEncoder().encode('bmm-statement-v1\n')

/** Signs with Ed25519 (RFC 8032) over a domain-separation prefix and the bytes. */
export function signStatement(
  statement: Statement,
  key: KeyObject,
  keyId: string,
): SignedStatement {
  const bytes = new TextEncoder().encode(JSON.stringify(statementSchema.parse(statement)))
  return { bytes, signature: new Uint8Array(sign(null, signed(bytes), key)), keyId }
}

/** Public statement keys by id, as SubjectPublicKeyInfo DER. */
export type StatementKeys = ReadonlyMap<string, Uint8Array>

/** The statement, or undefined when the key is unknown, the signature wrong or the content not a statement. */
export function openStatement(
  signedStatement: SignedStatement,
  keys: StatementKeys,
): Statement | undefined {
  const der = keys.get(signedStatement.keyId)
  if (der === undefined) return undefined
  const key = createPublicKey({ key: Buffer.from(der), format: 'der', type: 'spki' })
  if (!verify(null, signed(signedStatement.bytes), key, signedStatement.signature)) return undefined
  const parsed = statementSchema.safeParse(
    JSON.parse(new TextDecoder().decode(signedStatement.bytes)),
  )
  return parsed.success ? parsed.data : undefined
}

function signed(bytes: Uint8Array): Uint8Array {
  const message = new Uint8Array(signingContext.length + bytes.length)
  message.set(signingContext)
  message.set(bytes, signingContext.length)
  return message
}
