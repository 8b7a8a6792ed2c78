/** All SQL of servings (the feed of statements) and of stops that are under way. */
import type { Querying, Transaction } from '@bmm/lib/sql'
import type { SignedStatement } from '@bmm/spec/statement'

export type ServingRow = SignedStatement & {
  serverId: string
  slug: string
  epoch: bigint
  seq: bigint
}

type RawServing = Omit<ServingRow, 'epoch' | 'seq'> & { epoch: string; seq: string }

const columns = (sql: Querying) => sql`
  server_id as "serverId", slug, statement as bytes, signature, key_id as "keyId", epoch, seq`

/**
 * Makes this the server's newest statement, at the end of the feed; false when a newer one stands already, or when
 * the server was never live: nobody has heard of it then.
 * The feed's row stays locked to the end of the transaction, so that positions become visible in their order.
 */
export async function putServing(
  transaction: Transaction,
  serverId: string,
  epoch: bigint,
  statement: SignedStatement,
): Promise<boolean> {
  const [feed] = await transaction<{ seq: string }[]>`
    update serving_feed set last_seq = last_seq + 1 returning last_seq as seq`
  if (feed === undefined) throw new Error('the row of the serving feed is gone')
  const rows = await transaction`
    insert into servings (server_id, slug, statement, signature, key_id, epoch, seq)
    select id, slug, ${Buffer.from(statement.bytes)}, ${Buffer.from(statement.signature)},
      ${statement.keyId}, ${String(epoch)}, ${feed.seq}
    from servers where id = ${serverId} and live_version > 0
    on conflict (server_id) do update set statement = excluded.statement,
      signature = excluded.signature, key_id = excluded.key_id, epoch = excluded.epoch,
      seq = excluded.seq
    where servings.epoch < excluded.epoch
    returning server_id`
  return rows.length > 0
}

/** Oldest change first. */
export async function listServings(
  sql: Querying,
  afterSeq: bigint,
  limit: number,
): Promise<ServingRow[]> {
  const rows = await sql<RawServing[]>`
    select ${columns(sql)} from servings where seq > ${String(afterSeq)} order by seq limit ${limit}`
  return rows.map(servingFrom)
}

export async function findServing(sql: Querying, slug: string): Promise<ServingRow | undefined> {
  const [row] = await sql<RawServing[]>`select ${columns(sql)} from servings where slug = ${slug}`
  return row === undefined ? undefined : servingFrom(row)
}

function servingFrom(row: RawServing): ServingRow {
  return { ...row, epoch: BigInt(row.epoch), seq: BigInt(row.seq) }
}

export type StopRow = SignedStatement & {
  serverId: string
  epoch: bigint
  orgId: string
  reason: 'paused' | 'deleted'
  grantsEnded: boolean
  runnerStopped: boolean
  secretsDeleted: boolean
  finished: boolean
  attempts: number
}

type RawStop = Omit<StopRow, 'epoch'> & { epoch: string }

const stopColumns = (sql: Querying) => sql`
  server_id as "serverId", epoch, org_id as "orgId", reason, statement as bytes, signature,
  key_id as "keyId", grants_ended_at is not null as "grantsEnded",
  runner_stopped_at is not null as "runnerStopped",
  secrets_deleted_at is not null as "secretsDeleted", finished_at is not null as finished, attempts`

export async function insertStop(
  sql: Querying,
  stop: Pick<StopRow, 'serverId' | 'epoch' | 'orgId' | 'reason'> & SignedStatement,
): Promise<void> {
  await sql`
    insert into stops (server_id, epoch, org_id, reason, statement, signature, key_id)
    values (${stop.serverId}, ${String(stop.epoch)}, ${stop.orgId}, ${stop.reason},
      ${Buffer.from(stop.bytes)}, ${Buffer.from(stop.signature)}, ${stop.keyId})
    on conflict (server_id, epoch) do nothing`
}

/** The newest stop of a server that is not finished. */
export async function findOpenStop(sql: Querying, serverId: string): Promise<StopRow | undefined> {
  const [row] = await sql<RawStop[]>`
    select ${stopColumns(sql)} from stops where server_id = ${serverId} and finished_at is null
    order by epoch desc limit 1`
  return row === undefined ? undefined : stopFrom(row)
}

/** Stops that are due for another attempt, oldest first. */
export async function listDueStops(sql: Querying, limit: number): Promise<StopRow[]> {
  const rows = await sql<RawStop[]>`
    select ${stopColumns(sql)} from stops
    where finished_at is null and next_attempt_at <= now() order by next_attempt_at limit ${limit}`
  return rows.map(stopFrom)
}

type StopMark = 'grants_ended_at' | 'runner_stopped_at' | 'secrets_deleted_at' | 'finished_at'

export async function markStop(sql: Querying, stop: StopRow, mark: StopMark): Promise<void> {
  await sql`
    update stops set ${sql(mark)} = now()
    where server_id = ${stop.serverId} and epoch = ${String(stop.epoch)} and ${sql(mark)} is null`
}

export async function postponeStop(
  sql: Querying,
  stop: StopRow,
  delaySeconds: number,
): Promise<void> {
  await sql`
    update stops set attempts = attempts + 1,
      next_attempt_at = now() + make_interval(secs => ${delaySeconds})
    where server_id = ${stop.serverId} and epoch = ${String(stop.epoch)} and finished_at is null`
}

/** Older stops of a server are void once a newer one is done. */
export async function finishOlderStops(sql: Querying, stop: StopRow): Promise<void> {
  await sql`
    update stops set finished_at = now()
    where server_id = ${stop.serverId} and epoch < ${String(stop.epoch)} and finished_at is null`
}

function stopFrom(row: RawStop): StopRow {
  return { ...row, epoch: BigInt(row.epoch) }
}
