/** Ending grants and service tokens: in Postgres and in Redis before anybody is answered, so that access tokens die at once. */
import { errorFrom } from '@bmm/lib/errors'
import { channels, revokedKey } from '@bmm/lib/hints'
import type { Log } from '@bmm/lib/log'
import type { Redis } from '@bmm/lib/redis'
import { inTransaction, type Sql } from '@bmm/lib/sql'
import { ACCESS_TOKEN_TTL_MS } from './oauth/grant.ts'
import { deleteClient, lockOperatorClient } from './oauth/oauth-store.ts'
import {
  createRevocations,
  endGrants,
  type GrantChoice,
  lastRevocationPosition,
  listRevocations,
  type RevocationRow,
} from './revocation-store.ts'
import { revokeServiceToken } from './service-token/service-token-store.ts'

/** Three lives of an access token: clocks differ, and a gateway may have been away. */
const REVOKED_TTL_SECONDS = (3 * ACCESS_TOKEN_TTL_MS) / 1000
const PAGE = 1_000
const BATCH = 500
/** In one transaction with the client's end; far more than the people of one platform. */
const MAX_CLIENT_GRANTS = 1_000_000

/** Why a grant ended. */
export type EndReason =
  | 'revoked by client'
  | 'code replayed'
  | 'refresh token replayed'
  | 'access withdrawn'
  | 'server stopped'
  | 'client deleted'

export type Revoker = {
  /** Ends the grants; how many were live. Returns when Postgres has it and Redis was told. */
  end(choice: GrantChoice, because: EndReason): Promise<number>
  /** Ends all grants of a client of the operator's and forgets it; undefined when there is no such client. */
  endClient(id: string): Promise<number | undefined>
  /** Ends a service token in the same way; false when there is no such live one. */
  endServiceToken(of: { id: string; orgId: string; userId?: string }): Promise<boolean>
}

export function openRevoker(options: {
  sql: Sql
  redis: Redis
  log: Log
  now: () => number
}): Revoker {
  const { sql, redis, log, now } = options
  const endBatch = (choice: GrantChoice, because: EndReason) =>
    inTransaction(sql, async (transaction) => {
      const at = new Date(now())
      const ids = await endGrants(transaction, choice, because, at, BATCH)
      if (ids.length > 0) await createRevocations(transaction, ids, at)
      return ids
    })
  return {
    async end(choice, because) {
      let ended = 0
      for (;;) {
        const ids = await endBatch(choice, because)
        await announce(redis, log, ids)
        for (const grant of ids) log.info({ grant, because }, 'a grant ended')
        ended += ids.length
        if (ids.length < BATCH) return ended
      }
    },
    async endClient(id) {
      const ended = await inTransaction(sql, async (transaction) => {
        if (!(await lockOperatorClient(transaction, id))) return undefined
        const at = new Date(now())
        const choice = { clientId: id }
        const ids = await endGrants(transaction, choice, 'client deleted', at, MAX_CLIENT_GRANTS)
        if (ids.length > 0) await createRevocations(transaction, ids, at)
        await deleteClient(transaction, id)
        return ids
      })
      await announce(redis, log, ended ?? [])
      if (ended !== undefined) log.info({ client: id, grants: ended.length }, 'a client ended')
      return ended?.length
    },
    async endServiceToken(of) {
      const ended = await inTransaction(sql, async (transaction) => {
        const at = new Date(now())
        const revoked = await revokeServiceToken(transaction, of, at)
        if (revoked) await createRevocations(transaction, [of.id], at)
        return revoked
      })
      if (ended) await announce(redis, log, [of.id])
      return ended
    },
  }
}

export type RevocationPage = { revocations: RevocationRow[]; cursor: bigint }

/**
 * A page after the cursor. 0 asks for all that can still matter; so does a cursor from the future, which means
 * that the database was set back.
 */
export async function revocationsAfter(
  sql: Sql,
  cursor: bigint,
  now: number,
): Promise<RevocationPage> {
  const last = await lastRevocationPosition(sql)
  const position = cursor > last ? 0n : cursor
  const time = new Date(position === 0n ? now - REVOKED_TTL_SECONDS * 1000 : 0)
  const revocations = await listRevocations(sql, { position, time }, PAGE)
  const newest = revocations.at(-1)
  // An empty page must not move the cursor to `last`: a writer may have drawn it and not yet committed.
  return { revocations, cursor: newest === undefined ? position : BigInt(newest.position) }
}

/** Redis makes it fast; without Redis the gateways' pull from Postgres still brings it within seconds. */
async function announce(redis: Redis, log: Log, grantIds: readonly string[]): Promise<void> {
  if (grantIds.length === 0) return
  try {
    const pipeline = redis.pipeline()
    for (const id of grantIds) {
      pipeline.set(revokedKey(id), '1', 'EX', REVOKED_TTL_SECONDS)
      pipeline.publish(channels.tokenRevoked, id)
    }
    const replies = await pipeline.exec()
    const failed = replies?.find(([error]) => error !== null)?.[0]
    if (failed) throw failed
  } catch (thrown) {
    log.warn({ fault: errorFrom(thrown).message }, 'Redis was not told of what ended')
  }
}
