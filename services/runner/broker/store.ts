/** All SQL of the broker. */
import type { Querying } from '@bmm/lib/sql'

export const MAX_TARGETS = 1_000
const MAX_LISTED_REFUSALS = 200

export type TargetRow = { host: string; port: number; orgId: string; createdAt: Date }
export type RefusalRow = {
  serverId: string
  orgId: string
  userId: string
  at: Date
  reason: string
  host: string
  method: string
  message: string
}

/** Repeatable; answers the row that is there. */
export async function putTarget(
  sql: Querying,
  { host, port, orgId }: Omit<TargetRow, 'createdAt'>,
): Promise<TargetRow | undefined> {
  const [row] = await sql<TargetRow[]>`
    insert into targets (host, port, org_id) values (${host}, ${port}, ${orgId})
    on conflict (host, port, org_id) do update set host = excluded.host
    returning host, port, org_id as "orgId", created_at as "createdAt"`
  return row
}

export async function listTargets(sql: Querying): Promise<TargetRow[]> {
  return sql<TargetRow[]>`
    select host, port, org_id as "orgId", created_at as "createdAt"
    from targets order by host, port, org_id limit ${MAX_TARGETS}`
}

export async function countTargets(sql: Querying): Promise<number> {
  const [row] = await sql<{ count: number }[]>`select count(*)::int as count from targets`
  return row?.count ?? 0
}

/** How many rows went: 0 or 1. */
export async function deleteTarget(
  sql: Querying,
  { host, port, orgId }: Omit<TargetRow, 'createdAt'>,
): Promise<number> {
  const rows = await sql`
    delete from targets where host = ${host} and port = ${port} and org_id = ${orgId}`
  return rows.count
}

export async function insertRefusals(sql: Querying, rows: readonly RefusalRow[]): Promise<void> {
  const values = rows.map((row) => ({
    server_id: row.serverId,
    org_id: row.orgId,
    user_id: row.userId,
    at: row.at,
    reason: row.reason,
    host: row.host,
    method: row.method,
    message: row.message,
  }))
  await sql`insert into refusals ${sql(values)}`
}

/** Newest first. */
export async function listRefusals(
  sql: Querying,
  orgId: string,
  serverId: string,
): Promise<RefusalRow[]> {
  return sql<RefusalRow[]>`
    select server_id as "serverId", org_id as "orgId", user_id as "userId", at, reason, host,
      method, message
    from refusals where server_id = ${serverId} and org_id = ${orgId}
    order by id desc limit ${MAX_LISTED_REFUSALS}`
}

/** Keeps the newest rows of each of these servers, and nothing older than the day. */
export async function trimRefusals(
  sql: Querying,
  serverIds: readonly string[],
  keep: number,
  before: Date,
): Promise<void> {
  await sql`delete from refusals where at < ${before}`
  for (const serverId of serverIds) {
    await sql`
      delete from refusals where server_id = ${serverId} and id < (
        select min(id) from (
          select id from refusals where server_id = ${serverId} order by id desc limit ${keep}
        ) newest)`
  }
}

export async function listEpochs(sql: Querying): Promise<Map<string, number>> {
  const rows = await sql<{ serverId: string; epoch: number }[]>`
    select server_id as "serverId", epoch::float8 as epoch from epochs`
  return new Map(rows.map(({ serverId, epoch }) => [serverId, epoch]))
}

/** Never lowers an epoch. */
export async function raiseEpoch(sql: Querying, serverId: string, epoch: number): Promise<void> {
  await sql`
    insert into epochs (server_id, epoch) values (${serverId}, ${epoch})
    on conflict (server_id) do update set epoch = greatest(epochs.epoch, excluded.epoch)`
}
