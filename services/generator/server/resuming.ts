/** Serving a paused server again: the same version, confirmed anew, under a new epoch. */
import { asUser } from '@bmm/lib/client'
import { denied, precondition, unavailable } from '@bmm/lib/errors'
import type { UserClaims } from '@bmm/lib/identity'
import { newId } from '@bmm/lib/ids'
import { inTransaction, type Sql } from '@bmm/lib/sql'
import { confirmationDigest } from '@bmm/spec/confirmation'
import { digestOf } from '@bmm/spec/digest'
import { accessSchema } from '@bmm/spec/statement'
import { says } from '../build/build-pipeline.ts'
import { compileSpecBytes } from '../code/code.ts'
import type { StartChild } from '../disposable.ts'
import { type Downstream, refusalReason, type StatementCheck, signedOf } from '../downstream.ts'
import type { Hints } from '../hints.ts'
import { findServer, findVersion, putModule, type ServerRow, setLive } from './server-store.ts'
import { putServing } from './serving-store.ts'
import { type Stopping, serverNotFound } from './stopping.ts'

const DEPLOY_TIMEOUT_MS = 60_000

export type ResumingOptions = {
  sql: Sql
  downstream: Downstream
  check: StatementCheck
  stopping: Stopping
  hints: Hints
  startCodeChild: StartChild
}

/** Throws `server_not_found`, `server_not_paused`, `not_confirmed`, `stop_unfinished`, `version_tampered`. */
export async function resumeServer(
  { sql, downstream, check, stopping, hints, startCodeChild }: ResumingOptions,
  user: UserClaims,
  serverId: string,
  signal: AbortSignal,
): Promise<void> {
  const server = await pausedServer(sql, user, serverId)
  if (!(await stopping.finishOpen(serverId))) {
    throw unavailable('stop_unfinished', 'The pause is still being carried out. Try again.')
  }
  const version = await findVersion(sql, serverId, server.liveVersion)
  if (version === undefined) throw serverNotFound()
  if (digestOf(version.spec) !== version.specDigest) throw tampered()
  // Compiled again: a stored module was never confirmed by anybody.
  const module = await compileSpecBytes(version.spec, { signal, start: startCodeChild })
  const moduleDigest = digestOf(module)
  await putModule(sql, serverId, moduleDigest, module)
  const confirmationId = newId('cnf')
  const { resourceUrl, access } = server
  const { spec, specDigest } = version
  await downstream.statements.recordConfirmation(
    { confirmationId, serverId, specDigest, spec, resourceUrl, access },
    asUser(user.token),
  )
  const answer = await downstream.statements.signServe({
    confirmationId,
    version: version.version,
    moduleDigest,
  })
  const statement = signedOf(answer.statement)
  const opened = await check.open(statement)
  if (
    opened === undefined ||
    !says(opened, user.orgId, { ...version, moduleDigest, resourceUrl })
  ) {
    throw tampered()
  }
  try {
    await downstream.deployments.deploy(
      { statement, spec, module },
      { timeoutMs: DEPLOY_TIMEOUT_MS },
    )
  } catch (error) {
    // Another resume or a deletion was faster: its statement is the newer one.
    if (refusalReason(error) === 'stale_epoch') throw notPaused()
    throw error
  }
  const isLive = await inTransaction(sql, async (transaction) => {
    const { version: number, name } = version
    if (!(await setLive(transaction, serverId, ['paused', 'live'], number, name))) return false
    await putServing(transaction, serverId, answer.epoch, statement)
    return true
  })
  hints.serverUpdated(serverId)
  if (!isLive) throw notPaused()
}

async function pausedServer(sql: Sql, user: UserClaims, serverId: string): Promise<ServerRow> {
  const server = await findServer(sql, user.orgId, serverId)
  if (server === undefined) throw serverNotFound()
  if (server.state !== 'paused') throw notPaused()
  const { specDigest, resourceUrl } = server
  const access = accessSchema.parse(JSON.parse(server.access))
  if (user.confirmDigest !== confirmationDigest({ specDigest, resourceUrl, access })) {
    throw denied('not_confirmed', 'The person did not confirm what would be served.')
  }
  return server
}

function notPaused() {
  return precondition(
    'server_not_paused',
    'The server is not paused, so there is nothing to resume.',
  )
}

function tampered() {
  return precondition('version_tampered', 'The stored version is not the one that was confirmed.')
}
