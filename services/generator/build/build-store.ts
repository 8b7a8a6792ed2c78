/** All SQL of builds, their steps and events. Whoever works on a build writes only while holding its lease. */
import type { Querying, Transaction } from '@bmm/lib/sql'
import type { BuildState, BuildStep, StepState } from './build.ts'

export type BuildRow = {
  id: string
  serverId: string
  orgId: string
  version: number
  state: BuildState
  reason: string
  message: string
  deploying: boolean
  cancelRequested: boolean
  claims: number
  createdAt: Date
}

export type StepRow = { step: BuildStep; state: StepState; elapsedMs: number }

export type EventRow = {
  seq: number
  step: BuildStep | ''
  state: BuildState | ''
  elapsedMs: number
  line: string
  at: Date
}

const columns = (sql: Querying) => sql`
  id, server_id as "serverId", org_id as "orgId", version, state, reason, message, deploying,
  cancel_requested as "cancelRequested", claims, created_at as "createdAt"`

export async function insertBuild(
  sql: Querying,
  build: Pick<BuildRow, 'id' | 'serverId' | 'orgId' | 'version'> & { createdBy: string },
): Promise<void> {
  await sql`
    insert into builds (id, server_id, org_id, version, state, created_by)
    values (${build.id}, ${build.serverId}, ${build.orgId}, ${build.version}, 'queued',
      ${build.createdBy})`
}

/** Builds of an organisation that wait or run. */
export async function countUnfinished(sql: Querying, orgId: string): Promise<number> {
  const [row] = await sql<{ builds: number }[]>`
    select count(*)::int as builds from builds
    where org_id = ${orgId} and state in ('queued', 'running')`
  return row?.builds ?? 0
}

/** Builds of everybody that wait and that run. */
export async function countQueue(sql: Querying): Promise<{ queued: number; running: number }> {
  const [row] = await sql<{ queued: number; running: number }[]>`
    select count(*) filter (where state = 'queued')::int as queued,
      count(*) filter (where state = 'running')::int as running
    from builds where state in ('queued', 'running')`
  return row ?? { queued: 0, running: 0 }
}

export async function findBuild(
  sql: Querying,
  orgId: string,
  id: string,
): Promise<BuildRow | undefined> {
  const [row] = await sql<BuildRow[]>`
    select ${columns(sql)} from builds where id = ${id} and org_id = ${orgId}`
  return row
}

/** As findBuild, holding the row to the end of the transaction. */
export async function lockBuild(
  sql: Transaction,
  orgId: string,
  id: string,
): Promise<BuildRow | undefined> {
  const [row] = await sql<BuildRow[]>`
    select ${columns(sql)} from builds where id = ${id} and org_id = ${orgId} for update`
  return row
}

/** Whether this is the newest build of its server. */
export async function isLatestBuild(sql: Querying, build: BuildRow): Promise<boolean> {
  const rows = await sql`
    select 1 from servers where id = ${build.serverId} and latest_build_id = ${build.id} for update`
  return rows.length > 0
}

/** Steps begun so far, in the order of their beginning. */
export async function listSteps(sql: Querying, buildId: string): Promise<StepRow[]> {
  return sql<StepRow[]>`
    select step, state,
      greatest(0, extract(epoch from coalesce(finished_at, now()) - started_at) * 1000)::float8
        as "elapsedMs"
    from build_steps where build_id = ${buildId} order by started_at, step`
}

/** Gives an unfinished build to a worker, unless another one holds it; undefined then. */
export async function claimBuild(
  sql: Querying,
  id: string,
  owner: string,
  leaseMs: number,
): Promise<BuildRow | undefined> {
  const [row] = await sql<BuildRow[]>`
    update builds set state = 'running', lease_owner = ${owner}, claims = claims + 1,
      lease_until = now() + make_interval(secs => ${leaseMs / 1_000}),
      started_at = coalesce(started_at, now())
    where id = ${id} and state in ('queued', 'running')
      and (lease_until is null or lease_until < now())
    returning ${columns(sql)}`
  return row
}

/** Undefined when the lease is lost; else whether the build was asked to stop. */
export async function extendLease(
  sql: Querying,
  id: string,
  owner: string,
  leaseMs: number,
): Promise<{ cancelRequested: boolean } | undefined> {
  const [row] = await sql<{ cancelRequested: boolean }[]>`
    update builds set lease_until = now() + make_interval(secs => ${leaseMs / 1_000})
    where id = ${id} and lease_owner = ${owner} and state = 'running'
    returning cancel_requested as "cancelRequested"`
  return row
}

/** Lets another worker take the build at once. */
export async function releaseLease(sql: Querying, id: string, owner: string): Promise<void> {
  await sql`update builds set lease_until = now(), lease_owner = null where id = ${id} and lease_owner = ${owner}`
}

/** From here on the build cannot be cancelled; false when it was, or when the lease is lost. */
export async function beginDeploy(sql: Querying, id: string, owner: string): Promise<boolean> {
  const rows = await sql`
    update builds set deploying = true
    where id = ${id} and lease_owner = ${owner} and state = 'running'
      and (deploying or not cancel_requested)
    returning id`
  return rows.length > 0
}

export async function requestCancel(sql: Querying, id: string): Promise<void> {
  await sql`update builds set cancel_requested = true where id = ${id}`
}

/** Ends a build; false when `owner` does not hold it. A queued build is held by nobody: `owner` is null then. */
export async function finishBuild(
  sql: Querying,
  id: string,
  owner: string | null,
  end: { state: BuildState; reason: string; message: string },
): Promise<boolean> {
  const rows = await sql`
    update builds set state = ${end.state}, reason = ${end.reason}, message = ${end.message},
      finished_at = now(), lease_owner = null, lease_until = null
    where id = ${id} and state in ('queued', 'running')
      and lease_owner is not distinct from ${owner}
    returning id`
  return rows.length > 0
}

/** Begins a step, or begins it again after an interruption. */
export async function startStep(sql: Querying, buildId: string, step: BuildStep): Promise<void> {
  await sql`
    insert into build_steps (build_id, step, state) values (${buildId}, ${step}, 'running')
    on conflict (build_id, step) do update set state = 'running', finished_at = null`
}

/** Milliseconds that the step took. */
export async function finishStep(
  sql: Querying,
  buildId: string,
  step: BuildStep,
  state: StepState,
): Promise<number> {
  const [row] = await sql<{ elapsedMs: number }[]>`
    update build_steps set state = ${state}, finished_at = now()
    where build_id = ${buildId} and step = ${step}
    returning greatest(0, extract(epoch from now() - started_at) * 1000)::float8 as "elapsedMs"`
  return Math.round(row?.elapsedMs ?? 0)
}

/** The next event of a build; its number is taken in the same transaction, so there are no gaps. */
export async function appendEvent(
  transaction: Transaction,
  buildId: string,
  event: Partial<Pick<EventRow, 'step' | 'state' | 'line' | 'elapsedMs'>>,
): Promise<void> {
  await transaction`
    with numbered as (
      update builds set last_seq = last_seq + 1 where id = ${buildId}
      returning last_seq, coalesce(started_at, now()) as began)
    insert into build_events (build_id, seq, step, state, line, elapsed_ms)
    select ${buildId}, last_seq, ${event.step ?? ''}, ${event.state ?? ''}, ${event.line ?? ''},
      coalesce(${event.elapsedMs ?? null}::bigint, greatest(0, extract(epoch from now() - began) * 1000)::bigint)
    from numbered`
}

/**
 * Whether `owner` holds the build, kept true to the end of the transaction. What only tells of progress need not wait
 * for the disk: a machine that loses its power repeats the steps that were not written yet.
 */
export async function holdLease(
  sql: Transaction,
  id: string,
  owner: string,
  writes: 'progress' | 'outcome',
): Promise<boolean> {
  const waits =
    writes === 'progress' ? sql`set_config('synchronous_commit', 'off', true)` : sql`null`
  const rows = await sql`
    select ${waits}
    from builds where id = ${id} and lease_owner = ${owner} and state = 'running' for update`
  return rows.length > 0
}

export async function listEvents(
  sql: Querying,
  buildId: string,
  afterSeq: number,
  limit: number,
): Promise<EventRow[]> {
  return sql<EventRow[]>`
    select seq, step, state, elapsed_ms::float8 as "elapsedMs", line, at
    from build_events where build_id = ${buildId} and seq > ${afterSeq} order by seq limit ${limit}`
}

/** Builds that nobody works on and whose job was asked for longer ago; counts as asking for it now. */
export async function askForForsakenBuilds(
  sql: Querying,
  askedBeforeMs: number,
  limit: number,
): Promise<string[]> {
  const rows = await sql<{ id: string }[]>`
    update builds set asked_at = now() where id in (
      select id from builds
      where state in ('queued', 'running') and (lease_until is null or lease_until < now())
        and asked_at < now() - make_interval(secs => ${askedBeforeMs / 1_000})
      order by asked_at limit ${limit} for update skip locked)
    returning id`
  return rows.map(({ id }) => id)
}

/** Unfinished builds of a server are over when it is deleted; their workers find their leases gone. */
export async function cancelBuildsOfServer(sql: Querying, serverId: string): Promise<string[]> {
  const rows = await sql<{ id: string }[]>`
    update builds set state = 'cancelled', reason = 'server_deleted',
      message = 'The server was deleted.', finished_at = now(), lease_owner = null, lease_until = null
    where server_id = ${serverId} and state in ('queued', 'running') returning id`
  return rows.map(({ id }) => id)
}
