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
import {
  type Contract,
  contractFrom,
  contractOf,
  serveStatement,
  stopStatement,
} from './confirmation.ts'
import type { Keyring } from './keyring.ts'
import type { Ledger } from './ledger.ts'
import { isDeleted, refuseDeleted, standingOf } from './standing.ts'
import * as store from './store.ts'
import { getOwnServer } from './vault.ts'

export type SigningOptions = { sql: Sql; keyring: Keyring; ledger: Ledger }

export type Signed = { statement: SignedStatement; epoch: number }

/** Records what the person of the user token confirmed. Throws `not_confirmed`, `spec_invalid`, `server_not_found`, `confirmation_exists`. */
export async function recordConfirmation(
  { sql, ledger }: SigningOptions,
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
    await ledger.ensureServer(transaction, serverId, user.orgId)
    await getOwnServer(ledger.findServer, transaction, user, serverId)
    const row = { id, serverId, userId: user.userId, specDigest, contract: made.contract }
    await ledger.insertConfirmation(transaction, { ...row, ...unused })
    const stored = await ledger.findConfirmation(transaction, id)
    const same =
      stored?.serverId === serverId &&
      stored.userId === user.userId &&
      stored.specDigest === specDigest &&
      stored.contract === made.contract
    if (!same) throw conflict('confirmation_exists', 'Another confirmation has this id.')
  })
}

const unused = { version: null, moduleDigest: null, epoch: null }

/** What the newest serve statement was signed for, from what the person confirmed then. Throws `nothing_confirmed`. */
export async function getConfirmed(
  { sql, ledger }: SigningOptions,
  user: UserClaims,
  serverId: string,
): Promise<Contract & { specDigest: string }> {
  await getOwnServer(ledger.findServer, sql, user, serverId)
  const last = await ledger.findLastConfirmed(sql, serverId)
  if (last === undefined) {
    throw notFound('nothing_confirmed', 'Nothing was ever signed for this server.')
  }
  return { ...contractOf(last.contract), specDigest: last.specDigest }
}

/** Signs the statement of a confirmation at the server's next epoch, or returns the one it signed before. */
export async function signServe(
  options: SigningOptions,
  input: { confirmationId: string; version: number; moduleDigest: string; now: Date },
): Promise<Signed> {
  const { sql, keyring, ledger } = options
  return inTransaction(sql, async (transaction) => {
    const found = await ledger.findConfirmation(transaction, input.confirmationId)
    if (found === undefined) throw confirmationNotFound()
    const server = await ledger.lockServer(transaction, found.serverId)
    // Read again behind the lock: another process may have used it meanwhile, or taken it away.
    const confirmation = await ledger.findConfirmation(transaction, input.confirmationId)
    if (server === undefined || confirmation === undefined) throw confirmationNotFound()
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
    const signed = await signNext(transaction, options, statement)
    const { version, moduleDigest } = input
    const used = { ...confirmation, version, moduleDigest, epoch: signed.epoch }
    await ledger.useConfirmation(transaction, used)
    return signed
  })
}

function confirmationNotFound() {
  return notFound(
    'confirmation_not_found',
    'Nothing was confirmed so, or longer than 7 days ago. Delete the server and create it again.',
  )
}

/** Signs a stop. Repeating the reason that stands returns the same statement. Throws `server_not_found`, `server_deleted`. */
export async function signStop(
  options: SigningOptions,
  user: UserClaims,
  input: { serverId: string; reason: StopStatement['reason']; now: Date },
): Promise<Signed> {
  const { sql, keyring, ledger } = options
  return inTransaction(sql, async (transaction) => {
    // A server that was never served may be forgotten here by now: it is to stay deleted all the same.
    if (input.reason === 'deleted') {
      await ledger.ensureServer(transaction, input.serverId, user.orgId)
    }
    const server = await getOwnServer(ledger.lockServer, transaction, user, input.serverId)
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
    return signNext(transaction, options, statement)
  })
}

/** Deletes the secrets of a server whose newest statement says that it is deleted. Throws `server_not_deleted`. */
export async function deleteServerSecrets(
  { sql, keyring, ledger }: SigningOptions,
  serverId: string,
): Promise<number> {
  const server = await ledger.findServer(sql, serverId)
  if (server === undefined) return 0
  if (!isDeleted(server, keyring)) {
    throw precondition('server_not_deleted', 'Only a deleted server loses its secrets.')
  }
  return store.deleteServerSecrets(sql, serverId)
}

async function signNext(
  transaction: Transaction,
  { keyring, ledger }: SigningOptions,
  statement: Statement,
): Promise<Signed> {
  const { serverId, orgId, epoch } = statement
  const signed = signStatement(statement, keyring.signer.key, keyring.signer.keyId)
  const { bytes, signature, keyId } = signed
  await ledger.setStatement(transaction, serverId, {
    ...{ orgId, epoch, statement: bytes, signature, keyId },
  })
  return { statement: signed, epoch }
}
