/** All SQL about counts of calls: adding, summing and forgetting them. */
import type { Querying } from '@bmm/lib/sql'
import type { CallSums } from './call-sums.ts'
import { emptyLatency } from './latency.ts'
import type { RollupFlush } from './rollups.ts'

/** Rollups are kept this long; what an organisation used in a month is kept for good. */
const KEEP_DAYS = 400
/** A process repeats a flush within seconds. */
const KEEP_FLUSHES_DAYS = 7
const PURGE_ROWS = 5_000

/** Adds the counts and the organisations' months in one statement, unless this flush was added before. */
export async function addRollups(sql: Querying, batch: RollupFlush): Promise<void> {
  const rows = batch.rollups
    .map((rollup) => ({ ...rollup, hour: new Date(rollup.hour).toISOString() }))
    // Runners that add at the same time lock the same rows in the same order.
    .sort((a, b) => (orderOf(a) < orderOf(b) ? -1 : 1))
  await sql`
    with flush as (
      insert into rollup_flushes as known (process_id, flush) values (${batch.processId}, ${batch.flush})
      on conflict (process_id) do update set flush = excluded.flush, at = now()
        where known.flush < excluded.flush
      returning 1
    ), batch as (
      select * from jsonb_to_recordset(${sql.json(rows)}) as one (
        "serverId" text, "orgId" text, hour timestamptz, tool text, version integer, calls bigint,
        "toolErrors" bigint, refused bigint, overdue bigint, cancelled bigint, failed bigint,
        "bytesIn" bigint, "bytesOut" bigint, latency bigint[], "isServerDeleted" boolean)
      where exists (select from flush)
    ), hours as (
      insert into call_rollups as known (
        server_id, org_id, hour, tool, version, calls, tool_errors, refused, overdue, cancelled, failed,
        bytes_in, bytes_out, latency)
      select "serverId", "orgId", hour, tool, version, calls, "toolErrors", refused, overdue, cancelled, failed,
        "bytesIn", "bytesOut", latency
      from batch where not "isServerDeleted"
      on conflict (server_id, hour, tool, version) do update set
        calls = known.calls + excluded.calls,
        tool_errors = known.tool_errors + excluded.tool_errors,
        refused = known.refused + excluded.refused,
        overdue = known.overdue + excluded.overdue,
        cancelled = known.cancelled + excluded.cancelled,
        failed = known.failed + excluded.failed,
        bytes_in = known.bytes_in + excluded.bytes_in,
        bytes_out = known.bytes_out + excluded.bytes_out,
        latency = (select array_agg(old + new order by at)
          from unnest(known.latency, excluded.latency) with ordinality as both_of (old, new, at))
    )
    insert into org_months as known (org_id, month, calls, refused, bytes_in, bytes_out)
    select "orgId", date_trunc('month', hour at time zone 'UTC'), sum(calls - refused), sum(refused),
      sum("bytesIn"), sum("bytesOut")
    from batch group by 1, 2 order by 1, 2
    on conflict (org_id, month) do update set
      calls = known.calls + excluded.calls,
      refused = known.refused + excluded.refused,
      bytes_in = known.bytes_in + excluded.bytes_in,
      bytes_out = known.bytes_out + excluded.bytes_out`
}

function orderOf(row: { serverId: string; hour: string; tool: string; version: number }): string {
  return `${row.serverId} ${row.hour} ${row.tool} ${row.version}`
}

/** What one question asks for; the organisation is part of it. */
export type RollupSpan = {
  serverId: string
  orgId: string
  from: Date
  to: Date
  /** Of UTC. */
  interval: 'hour' | 'day'
  /** Empty for all. */
  tool: string
}

export type RollupSums = {
  /** By tool. */
  tools: Map<string, CallSums>
  /** By start of the interval, in milliseconds since 1970, oldest first. */
  points: Map<number, CallSums>
}

/** Both ways of summing in one pass over the rows; a row of the answer has a tool or a point. */
export async function sumRollups(sql: Querying, span: RollupSpan): Promise<RollupSums> {
  const { serverId, orgId, from, to, interval, tool } = span
  const rows = await sql<SumRow[]>`
    with chosen as (
      select *, date_trunc(${interval}, hour, 'UTC') as point from call_rollups
      where server_id = ${serverId} and org_id = ${orgId} and hour >= ${from} and hour < ${to}
        and (${tool} = '' or tool = ${tool})
    )
    select tool, point, sum(calls) as calls, sum(tool_errors) as tool_errors, sum(refused) as refused,
      sum(overdue) as overdue, sum(cancelled) as cancelled, sum(failed) as failed,
      sum(bytes_in) as bytes_in, sum(bytes_out) as bytes_out, null as bucket
    from chosen group by grouping sets ((tool), (point))
    union all
    select tool, point, sum(count), 0, 0, 0, 0, 0, 0, 0, bucket
    from chosen, unnest(latency) with ordinality as one (count, bucket)
    where count > 0 group by grouping sets ((tool, bucket), (point, bucket))
    order by bucket nulls first, point`
  const sums: RollupSums = { tools: new Map(), points: new Map() }
  for (const row of rows) {
    if (row.bucket === null) {
      if (row.point === null) sums.tools.set(row.tool ?? '', sumsFromRow(row))
      else sums.points.set(row.point.getTime(), sumsFromRow(row))
      continue
    }
    const known =
      row.point === null ? sums.tools.get(row.tool ?? '') : sums.points.get(row.point.getTime())
    if (known !== undefined) known.latency[Number(row.bucket) - 1] = Number(row.calls)
  }
  return sums
}

export type OrgMonth = {
  calls: number
  refused: number
  bytesIn: number
  bytesOut: number
}

/** What an organisation used in a month (its first day): one row, whatever number of servers it has. */
export async function findOrgMonth(
  sql: Querying,
  orgId: string,
  month: string,
): Promise<OrgMonth | undefined> {
  const [row] = await sql<
    { calls: string; refused: string; bytes_in: string; bytes_out: string }[]
  >`
    select calls, refused, bytes_in, bytes_out from org_months
    where org_id = ${orgId} and month = ${month}`
  if (row === undefined) return undefined
  const { calls, refused, bytes_in, bytes_out } = row
  return {
    ...{ calls: Number(calls), refused: Number(refused) },
    ...{ bytesIn: Number(bytes_in), bytesOut: Number(bytes_out) },
  }
}

/** Forgets the counts of a deleted server; its organisation's months keep theirs. */
export async function deleteRollups(sql: Querying, serverId: string, orgId: string): Promise<void> {
  await sql`delete from call_rollups where server_id = ${serverId} and org_id = ${orgId}`
}

/** Deletes a batch of what is too old; true when there may be more. */
export async function purgeRollups(sql: Querying): Promise<boolean> {
  await sql`
    delete from rollup_flushes where at < now() - make_interval(days => ${KEEP_FLUSHES_DAYS})`
  const deleted = await sql`
    delete from call_rollups where ctid = any (array(
      select ctid from call_rollups where hour < now() - make_interval(days => ${KEEP_DAYS})
      limit ${PURGE_ROWS}))`
  return deleted.count === PURGE_ROWS
}

type SumRow = {
  tool: string | null
  point: Date | null
  calls: string
  tool_errors: string
  refused: string
  overdue: string
  cancelled: string
  failed: string
  bytes_in: string
  bytes_out: string
  /** From 1; null in a row of sums. */
  bucket: string | null
}

function sumsFromRow(row: SumRow): CallSums {
  return {
    calls: Number(row.calls),
    toolErrors: Number(row.tool_errors),
    refused: Number(row.refused),
    overdue: Number(row.overdue),
    cancelled: Number(row.cancelled),
    failed: Number(row.failed),
    bytesIn: Number(row.bytes_in),
    bytesOut: Number(row.bytes_out),
    latency: emptyLatency(),
  }
}
