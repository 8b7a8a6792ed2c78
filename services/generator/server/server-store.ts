/** All SQL of servers, their versions and modules, and of repeated requests. */
import type { Querying } from '@bmm/lib/sql'

export type ServerState = 'building' | 'live' | 'paused' | 'failed' | 'deleting' | 'deleted'

export type ServerRow = {
  id: string
  orgId: string
  slug: string
  name: string
  state: ServerState
  access: string
  resourceUrl: string
  liveVersion: number
  latestBuildId: string
  createdBy: string
  createdAt: Date
  /** Of the live version; of none: 0 and empty. */
  tools: number
  specDigest: string
}

export type NewServer = Pick<
  ServerRow,
  'id' | 'orgId' | 'slug' | 'name' | 'access' | 'resourceUrl' | 'latestBuildId' | 'createdBy'
>

const columns = (sql: Querying) => sql`
  servers.id, servers.org_id as "orgId", slug, servers.name, state, access,
  resource_url as "resourceUrl", live_version as "liveVersion",
  latest_build_id as "latestBuildId", servers.created_by as "createdBy",
  servers.created_at as "createdAt", coalesce(versions.tools, 0) as tools,
  coalesce(versions.spec_digest, '') as "specDigest"`

const withLiveVersion = (sql: Querying) => sql`
  servers left join versions on versions.server_id = servers.id and versions.version = live_version`

/** False when the slug is or was another server's. */
export async function insertServer(sql: Querying, server: NewServer): Promise<boolean> {
  const rows = await sql`
    insert into servers (id, org_id, slug, name, state, access, resource_url, latest_build_id, created_by)
    values (${server.id}, ${server.orgId}, ${server.slug}, ${server.name}, 'building',
      ${server.access}, ${server.resourceUrl}, ${server.latestBuildId}, ${server.createdBy})
    on conflict (slug) do nothing returning id`
  return rows.length > 0
}

/** Servers of an organisation: those that are there, and the tombstones whose slugs it has used up. */
export async function countServers(
  sql: Querying,
  orgId: string,
): Promise<{ present: number; deleted: number }> {
  const [row] = await sql<{ present: number; deleted: number }[]>`
    select count(*) filter (where state <> 'deleted')::int as present,
      count(*) filter (where state = 'deleted')::int as deleted
    from servers where org_id = ${orgId}`
  return row ?? { present: 0, deleted: 0 }
}

export async function isSlugTaken(sql: Querying, slug: string): Promise<boolean> {
  return (await sql`select 1 from servers where slug = ${slug}`).length > 0
}

/** A server of that organisation by id or slug; tombstones are not there. */
export async function findServer(
  sql: Querying,
  orgId: string,
  idOrSlug: string,
): Promise<ServerRow | undefined> {
  const [row] = await sql<ServerRow[]>`
    select ${columns(sql)} from ${withLiveVersion(sql)}
    where servers.org_id = ${orgId} and (servers.id = ${idOrSlug} or slug = ${idOrSlug})
      and state <> 'deleted'`
  return row
}

/** Newest first, those before the id `before` when it is not empty. */
export async function listServers(
  sql: Querying,
  orgId: string,
  before: string,
  limit: number,
): Promise<ServerRow[]> {
  return sql<ServerRow[]>`
    select ${columns(sql)} from ${withLiveVersion(sql)}
    where servers.org_id = ${orgId} and state <> 'deleted'
      and (${before} = '' or servers.id < ${before})
    order by servers.id desc limit ${limit}`
}

/** Moves a server on; false when it is in none of the states `from`. */
export async function moveServer(
  sql: Querying,
  id: string,
  from: readonly ServerState[],
  to: ServerState,
): Promise<boolean> {
  const rows = await sql`
    update servers set state = ${to} where id = ${id} and state in ${sql(from)} returning id`
  return rows.length > 0
}

/** Makes a version the live one; false when the server is in none of the states `from`. */
export async function setLive(
  sql: Querying,
  id: string,
  from: readonly ServerState[],
  version: number,
  name: string,
): Promise<boolean> {
  const rows = await sql`
    update servers set state = 'live', live_version = ${version}, name = ${name}
    where id = ${id} and state in ${sql(from)} returning id`
  return rows.length > 0
}

/** Names the build that a server waits for; one that failed is building again. False when it is on its way out. */
export async function setLatestBuild(sql: Querying, id: string, buildId: string): Promise<boolean> {
  const rows = await sql`
    update servers set latest_build_id = ${buildId},
      state = case when state = 'failed' then 'building' else state end
    where id = ${id} and state in ('failed', 'building', 'live') returning id`
  return rows.length > 0
}

/** What stays of a deleted server: id, organisation, dates, and the slug if it was ever live. */
export async function buryServer(sql: Querying, id: string): Promise<void> {
  await sql`
    update servers set state = 'deleted', name = '', access = '', live_version = 0, deleted_at = now(),
      slug = case when live_version = 0 then id else slug end
    where id = ${id} and state = 'deleting'`
  await sql`delete from versions where server_id = ${id}`
  await sql`delete from modules where server_id = ${id}`
  await sql`delete from idempotency_keys where server_id = ${id}`
}

export type VersionRow = {
  serverId: string
  version: number
  name: string
  tools: number
  spec: Uint8Array
  specDigest: string
  confirmationId: string
  createdBy: string
}

export async function insertVersion(sql: Querying, row: VersionRow): Promise<void> {
  await sql`
    insert into versions (server_id, version, name, tools, spec, spec_digest, confirmation_id, created_by)
    values (${row.serverId}, ${row.version}, ${row.name}, ${row.tools}, ${Buffer.from(row.spec)},
      ${row.specDigest}, ${row.confirmationId}, ${row.createdBy})`
}

export async function findVersion(
  sql: Querying,
  serverId: string,
  version: number,
): Promise<VersionRow | undefined> {
  const [row] = await sql<VersionRow[]>`
    select server_id as "serverId", version, name, tools, spec, spec_digest as "specDigest",
      confirmation_id as "confirmationId", created_by as "createdBy"
    from versions where server_id = ${serverId} and version = ${version}`
  return row
}

/** The live version's bytes, or the newest ones when none is live. */
export async function findShownSpec(
  sql: Querying,
  serverId: string,
): Promise<{ spec: Uint8Array; specDigest: string } | undefined> {
  const [row] = await sql<{ spec: Uint8Array; specDigest: string }[]>`
    select versions.spec, versions.spec_digest as "specDigest"
    from versions join servers on servers.id = versions.server_id
    where versions.server_id = ${serverId}
    order by (versions.version = live_version) desc, versions.version desc limit 1`
  return row
}

export async function findSpec(
  sql: Querying,
  serverId: string,
  digest: string,
): Promise<Uint8Array | undefined> {
  const [row] = await sql<{ spec: Uint8Array }[]>`
    select spec from versions where server_id = ${serverId} and spec_digest = ${digest} limit 1`
  return row?.spec
}

export async function putModule(
  sql: Querying,
  serverId: string,
  digest: string,
  module: Uint8Array,
): Promise<void> {
  await sql`
    insert into modules (server_id, digest, module)
    values (${serverId}, ${digest}, ${Buffer.from(module)})
    on conflict (server_id, digest) do update set module = excluded.module`
}

export async function findModule(
  sql: Querying,
  serverId: string,
  digest: string,
): Promise<Uint8Array | undefined> {
  const [row] = await sql<{ module: Uint8Array }[]>`
    select module from modules where server_id = ${serverId} and digest = ${digest}`
  return row?.module
}

export type RepeatedRow = { requestDigest: string; serverId: string; buildId: string }

/** Takes the key for this request; undefined when it is taken now, else what it was taken for. */
export async function takeIdempotencyKey(
  sql: Querying,
  orgId: string,
  key: string,
  row: RepeatedRow,
): Promise<RepeatedRow | undefined> {
  const taken = await sql`
    insert into idempotency_keys (org_id, key, request_digest, server_id, build_id)
    values (${orgId}, ${key}, ${row.requestDigest}, ${row.serverId}, ${row.buildId})
    on conflict (org_id, key) do nothing returning key`
  return taken.length > 0 ? undefined : findIdempotencyKey(sql, orgId, key)
}

export async function findIdempotencyKey(
  sql: Querying,
  orgId: string,
  key: string,
): Promise<RepeatedRow | undefined> {
  const [row] = await sql<RepeatedRow[]>`
    select request_digest as "requestDigest", server_id as "serverId", build_id as "buildId"
    from idempotency_keys where org_id = ${orgId} and key = ${key}`
  return row
}

export async function deleteOldIdempotencyKeys(
  sql: Querying,
  before: Date,
  limit: number,
): Promise<void> {
  await sql`
    delete from idempotency_keys where (org_id, key) in (
      select org_id, key from idempotency_keys where created_at < ${before} limit ${limit})`
}
