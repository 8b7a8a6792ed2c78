/** Where a server stands by its newest statement: nothing is signed or stored for it after its deletion. */
import { precondition } from '@bmm/lib/errors'
import { openStatement, type SignedStatement, type Statement } from '@bmm/spec/statement'
import type { Keyring } from './keyring.ts'
import type { ServerRow } from './store.ts'

/** The newest statement; undefined when none was ever signed. */
export function standingOf(
  server: ServerRow,
  keyring: Keyring,
): { statement: Statement; signed: SignedStatement } | undefined {
  const { statement: bytes, signature, keyId } = server
  if (bytes === null || signature === null || keyId === null) return undefined
  const signed = { bytes, signature, keyId }
  const statement = openStatement(signed, keyring.statementKeys)
  if (statement === undefined) throw new Error('a stored statement does not verify')
  return { statement, signed }
}

export function isDeleted(server: ServerRow, keyring: Keyring): boolean {
  const standing = standingOf(server, keyring)
  return standing?.statement.kind === 'stop' && standing.statement.reason === 'deleted'
}

/** Throws `server_deleted`. */
export function refuseDeleted(server: ServerRow, keyring: Keyring): void {
  if (isDeleted(server, keyring)) {
    throw precondition(
      'server_deleted',
      'The server is deleted; nothing more is signed or stored for it.',
    )
  }
}
