/** Stopping servers: a signed stop is written first, then everything that follows from it is done, repeated until it is. */

import { asUser } from '@bmm/lib/client'
import { errorFrom, notFound, precondition } from '@bmm/lib/errors'
import type { UserClaims } from '@bmm/lib/identity'
import type { Log } from '@bmm/lib/log'
import { inTransaction, type Sql, type Transaction } from '@bmm/lib/sql'
import { StopReason } from '@bmm/proto/secrets/v1/secrets_service'
import { appendEvent, cancelBuildsOfServer } from '../build/build-store.ts'
import { type Downstream, refusalReason, signedOf } from '../downstream.ts'
import type { Hints } from '../hints.ts'
import * as servers from './server-store.ts'
import * as servings from './serving-store.ts'

/** What one attempt waits for each of the services that have to act. */
const STEP_TIMEOUT_MS = 15_000
const FIRST_DELAY_SECONDS = 1
const LONGEST_DELAY_SECONDS = 60

export type Stopping = {
  /** Throws `server_not_found`, `server_not_live`. Resolves when the server is paused; the rest goes on by itself. */
  pause(user: UserClaims, serverId: string): Promise<void>
  /** Resolves to whether nothing is left of the server; else the rest goes on by itself. Throws `server_not_found`. */
  remove(user: UserClaims, serverId: string): Promise<boolean>
  /** Tries once to finish what a server's newest stop began; true when nothing is open. */
  finishOpen(serverId: string): Promise<boolean>
  /** Tries once to finish every stop that is due. */
  sweep(): Promise<void>
}

export type StoppingOptions = { sql: Sql; downstream: Downstream; hints: Hints; log: Log }

const STOPS_A_SWEEP = 50

export function stopping({ sql, downstream, hints, log }: StoppingOptions): Stopping {
  const { statements, deployments, grants, secrets } = downstream

  async function signed(user: UserClaims, serverId: string, reason: StopReason) {
    const answer = await statements.signStop({ serverId, reason }, asUser(user.token))
    return { ...signedOf(answer.statement), serverId, orgId: user.orgId, epoch: answer.epoch }
  }

  /** The state changes together with the feed and the list of what is to be done. */
  async function write(
    stop: Parameters<typeof servings.insertStop>[1],
    from: readonly servers.ServerState[],
    to: servers.ServerState,
    beside: (transaction: Transaction) => Promise<void>,
  ): Promise<boolean> {
    const moved = await inTransaction(sql, async (transaction) => {
      if (!(await servers.moveServer(transaction, stop.serverId, from, to))) return false
      await beside(transaction)
      await servings.putServing(transaction, stop.serverId, stop.epoch, stop)
      await servings.insertStop(transaction, stop)
      return true
    })
    hints.serverUpdated(stop.serverId)
    return moved
  }

  async function carryOut(stop: servings.StopRow): Promise<boolean> {
    const { serverId, bytes, signature, keyId } = stop
    const options = { timeoutMs: STEP_TIMEOUT_MS }
    try {
      if (!stop.grantsEnded) {
        await grants.endServerGrants({ serverId }, options)
        await servings.markStop(sql, stop, 'grants_ended_at')
      }
      if (!stop.runnerStopped) {
        await runnerStop({ bytes, signature, keyId }, options)
        await servings.markStop(sql, stop, 'runner_stopped_at')
      }
      if (stop.reason === 'deleted' && !stop.secretsDeleted) {
        await secrets.deleteServerSecrets({ serverId }, options)
        await servings.markStop(sql, stop, 'secrets_deleted_at')
      }
      await inTransaction(sql, async (transaction) => {
        if (stop.reason === 'deleted') await servers.buryServer(transaction, serverId)
        await servings.markStop(transaction, stop, 'finished_at')
        await servings.finishOlderStops(transaction, stop)
      })
      return true
    } catch (error) {
      const delay = FIRST_DELAY_SECONDS * 2 ** Math.min(stop.attempts, 10)
      log.warn({ err: errorFrom(error), serverId, reason: stop.reason }, 'a stop goes on later')
      await servings.postponeStop(sql, stop, Math.min(delay, LONGEST_DELAY_SECONDS))
      return false
    } finally {
      hints.serverUpdated(serverId)
    }
  }

  /** A runner that knows a newer statement has nothing of this one left. */
  async function runnerStop(
    statement: Pick<servings.StopRow, 'bytes' | 'signature' | 'keyId'>,
    options: { timeoutMs: number },
  ): Promise<void> {
    try {
      await deployments.stop({ statement }, options)
    } catch (error) {
      if (refusalReason(error) !== 'stale_epoch') throw error
    }
  }

  async function finishOpen(serverId: string): Promise<boolean> {
    const stop = await servings.findOpenStop(sql, serverId)
    return stop === undefined || carryOut(stop)
  }

  async function getServer(user: UserClaims, serverId: string): Promise<servers.ServerRow> {
    const server = await servers.findServer(sql, user.orgId, serverId)
    if (server === undefined) throw serverNotFound()
    return server
  }

  return {
    async pause(user, serverId) {
      const server = await getServer(user, serverId)
      if (server.state !== 'live') throw notLive()
      const stop = {
        ...(await signed(user, serverId, StopReason.PAUSED)),
        reason: 'paused' as const,
      }
      if (!(await write(stop, ['live'], 'paused', async () => {}))) throw notLive()
      await finishOpen(serverId)
    },
    async remove(user, serverId) {
      const server = await getServer(user, serverId)
      if (server.state !== 'deleting') {
        const stop = {
          ...(await signed(user, serverId, StopReason.DELETED)),
          reason: 'deleted' as const,
        }
        await write(stop, ['building', 'live', 'paused', 'failed'], 'deleting', (transaction) =>
          cancelBuilds(transaction, serverId, hints),
        )
      }
      return finishOpen(serverId)
    },
    finishOpen,
    async sweep() {
      for (const stop of await servings.listDueStops(sql, STOPS_A_SWEEP)) await carryOut(stop)
    },
  }
}

async function cancelBuilds(
  transaction: Transaction,
  serverId: string,
  hints: Hints,
): Promise<void> {
  for (const buildId of await cancelBuildsOfServer(transaction, serverId)) {
    const line = 'The server was deleted.'
    await appendEvent(transaction, buildId, { state: 'cancelled', line })
    hints.buildStep(buildId)
  }
}

/** The same for a server that is not there and one of another organisation. */
export function serverNotFound() {
  return notFound('server_not_found', 'There is no such server.')
}

function notLive() {
  return precondition(
    'server_not_live',
    'The server is not live: what is paused already, or not built yet, cannot be paused.',
  )
}
