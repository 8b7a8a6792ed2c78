/** Signing statements: one epoch after another, once for each confirmation, nothing after a deletion. */
import { conflict, denied, invalid, notFound, precondition } from '@bmm/lib/errors'
import type { UserClaims } from '@bmm/lib/identity'
import { inTransaction, type Sql, type Transaction } from '@bmm/lib/sql'
import { confirmationDigest } from '@bmm/spec/confirmation'
import {
  type SignedStatement,
  type Statement,
  type StopStatement,
  signStatement,
} from '@bmm/spec/statement'
import { contractFrom, serveStatement, stopStatement } from './confirmation.ts'
import type { Keyring } from './keyring.ts'
import { isDeleted, refuseDeleted, standingOf } from './standing.ts'
import * as store from './store.ts'
import { getOwnServer } from './vault.ts'

export type Signed = { statement: SignedStatement; epoch: number }

/** Records what the person of the user token confirmed. Throws `not_confirmed`, `spec_invalid`, `server_not_found`, `confirmation_exists`. */
export async function recordConfirmation(
  sql: Sql,
  user: UserClaims,
  input: {
    confirmationId: string
    serverId: string
    spec: Uint8Array
    specDigest: string
    resourceUrl: string
    access: string
  },
): Promise<void> {
  const made = contractFrom(input)
  if ('fault' in made) throw invalid('spec_invalid', made.fault)
  const { confirmationId: id, serverId, specDigest, resourceUrl } = input
  if (user.confirmDigest !== confirmationDigest({ specDigest, resourceUrl, access: made.access })) {
    throw denied('not_confirmed', 'The person did not confirm this spec, address and access.')
  }
  await inTransaction(sql, async (transaction) => {
    await store.ensureServer(transaction, serverId, user.orgId)
    await getOwnServer(transaction, user, serverId)
    const row = { id, serverId, userId: user.userId, specDigest, contract: made.contract }
    await store.insertConfirmation(transaction, row)
    const stored = await store.findConfirmation(transaction, id)
    const same =
      stored?.serverId === serverId &&
      stored.userId === user.userId &&
      stored.specDigest === specDigest &&
      stored.contract === made.contract
    if (!same) throw conflict('confirmation_exists', 'Another confirmation has this id.')
  })
}

/** Signs the statement of a confirmation at the server's next epoch, or returns the one it signed before. */
export async function signServe(
  sql: Sql,
  keyring: Keyring,
  input: { confirmationId: string; version: number; moduleDigest: string; now: Date },
): Promise<Signed> {
  return inTransaction(sql, async (transaction) => {
    const found = await store.findConfirmation(transaction, input.confirmationId)
    if (found === undefined) throw notFound('confirmation_not_found', 'Nothing was confirmed so.')
    const server = await store.lockServer(transaction, found.serverId)
    // Read again behind the lock: another process may have used it meanwhile.
    const confirmation = await store.findConfirmation(transaction, input.confirmationId)
    if (server === undefined || confirmation === undefined) throw new Error('a locked row is gone')
    if (confirmation.epoch !== null) {
      const again = standingOf(server, keyring)
      const same =
        again !== undefined &&
        confirmation.epoch === server.epoch &&
        confirmation.version === input.version &&
        confirmation.moduleDigest === input.moduleDigest
      if (same) return { statement: again.signed, epoch: server.epoch }
      throw conflict('confirmation_used', 'A statement was signed for this confirmation already.')
    }
    refuseDeleted(server, keyring)
    const statement = serveStatement({
      serverId: confirmation.serverId,
      orgId: server.orgId,
      epoch: server.epoch + 1,
      version: input.version,
      specDigest: confirmation.specDigest,
      moduleDigest: input.moduleDigest,
      contract: confirmation.contract,
      issuedAt: input.now,
    })
    const signed = await signNext(transaction, keyring, statement)
    const { version, moduleDigest } = input
    await store.useConfirmation(transaction, input.confirmationId, {
      version,
      moduleDigest,
      epoch: signed.epoch,
    })
    return signed
  })
}

/** Signs a stop. Repeating the reason that stands returns the same statement. Throws `server_not_found`, `server_deleted`. */
export async function signStop(
  sql: Sql,
  keyring: Keyring,
  user: UserClaims,
  input: { serverId: string; reason: StopStatement['reason']; now: Date },
): Promise<Signed> {
  return inTransaction(sql, async (transaction) => {
    const server = await getOwnServer(transaction, user, input.serverId, store.lockServer)
    const standing = standingOf(server, keyring)
    if (standing?.statement.kind === 'stop' && standing.statement.reason === input.reason) {
      return { statement: standing.signed, epoch: server.epoch }
    }
    refuseDeleted(server, keyring)
    const statement = stopStatement({
      serverId: input.serverId,
      orgId: server.orgId,
      epoch: server.epoch + 1,
      reason: input.reason,
      issuedAt: input.now,
    })
    return signNext(transaction, keyring, statement)
  })
}

/** Deletes the secrets of a server whose newest statement says that it is deleted. Throws `server_not_deleted`. */
export async function deleteServerSecrets(
  sql: Sql,
  keyring: Keyring,
  serverId: string,
): Promise<number> {
  const server = await store.findServer(sql, serverId)
  if (server === undefined) return 0
  if (!isDeleted(server, keyring)) {
    throw precondition('server_not_deleted', 'Only a deleted server loses its secrets.')
  }
  return store.deleteServerSecrets(sql, serverId)
}

async function signNext(
  transaction: Transaction,
  keyring: Keyring,
  statement: Statement,
): Promise<Signed> {
  const signed = signStatement(statement, keyring.signer.key, keyring.signer.keyId)
  await store.setStatement(transaction, statement.serverId, statement.epoch, signed)
  return { statement: signed, epoch: statement.epoch }
}
