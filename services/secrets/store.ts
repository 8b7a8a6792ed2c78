/** All SQL of the secrets service. */
import type { Querying } from '@bmm/lib/sql'
import type { KeyName } from './key-seal.ts'

const MAX_LISTED_KEYS = 1_000
const MAX_LISTED_STATEMENT_KEYS = 100

export type DataKeyRow = {
  version: number
  wrapped: Uint8Array
  active: boolean
  createdBy: string
  createdAt: Date
}
export type NewDataKey = Pick<DataKeyRow, 'version' | 'wrapped' | 'createdBy'>
export type StatementKeyRow = { keyId: string; publicKey: Uint8Array; wrapped: Uint8Array }
export type NewStatementKey = StatementKeyRow

/** Held to the end of the transaction by whoever makes or switches keys. */
export async function lockKeys(sql: Querying): Promise<void> {
  await sql`select pg_advisory_xact_lock(hashtext('bmm-secrets-keys'))`
}

export async function listDataKeys(sql: Querying): Promise<DataKeyRow[]> {
  return sql<DataKeyRow[]>`
    select version, wrapped, active, created_by as "createdBy", created_at as "createdAt"
    from data_keys order by version desc limit ${MAX_LISTED_KEYS}`
}

export async function insertDataKey(sql: Querying, key: NewDataKey): Promise<void> {
  await sql`
    insert into data_keys (version, wrapped, active, created_by)
    values (${key.version}, ${Buffer.from(key.wrapped)}, true, ${key.createdBy})`
}

export async function deactivateDataKeys(sql: Querying): Promise<void> {
  await sql`update data_keys set active = false where active`
}

/** How many secrets each data key seals. */
export async function countSecretsByKey(sql: Querying): Promise<Map<number, bigint>> {
  const rows = await sql<{ version: number; secrets: string }[]>`
    select key_version as version, count(*) as secrets from secrets group by key_version`
  return new Map(rows.map((row) => [row.version, BigInt(row.secrets)]))
}

export async function listStatementKeys(sql: Querying): Promise<StatementKeyRow[]> {
  return sql<StatementKeyRow[]>`
    select key_id as "keyId", public_key as "publicKey", wrapped
    from statement_keys order by created_at desc, key_id limit ${MAX_LISTED_STATEMENT_KEYS}`
}

export async function insertStatementKey(sql: Querying, key: NewStatementKey): Promise<void> {
  await sql`
    insert into statement_keys (key_id, public_key, wrapped)
    values (${key.keyId}, ${Buffer.from(key.publicKey)}, ${Buffer.from(key.wrapped)})`
}

/** Replaces the seal of one key: `name` says which kind it is, and its id. */
export async function resealKey(
  sql: Querying,
  [kind, id]: KeyName,
  wrapped: Uint8Array,
): Promise<void> {
  const sealed = Buffer.from(wrapped)
  if (kind === 'data-key') {
    await sql`update data_keys set wrapped = ${sealed} where version = ${id}`
  } else await sql`update statement_keys set wrapped = ${sealed} where key_id = ${id}`
}

export type ServerRow = {
  orgId: string
  epoch: number
  statement: Uint8Array | null
  signature: Uint8Array | null
  keyId: string | null
}

/** As stored: with the mark that says that this service wrote it. */
export type MarkedServerRow = ServerRow & { mac: Uint8Array }

/** Inserts unless the server is known. */
export async function ensureServer(
  sql: Querying,
  serverId: string,
  orgId: string,
  mac: Uint8Array,
): Promise<void> {
  await sql`
    insert into servers (server_id, org_id, mac) values (${serverId}, ${orgId}, ${Buffer.from(mac)})
    on conflict (server_id) do nothing`
}

const serverColumns = (sql: Querying) => sql`
  org_id as "orgId", epoch::float8 as epoch, statement, signature, key_id as "keyId"`

export async function findServer(
  sql: Querying,
  serverId: string,
): Promise<MarkedServerRow | undefined> {
  const [row] = await sql<MarkedServerRow[]>`
    select ${serverColumns(sql)}, mac from servers where server_id = ${serverId}`
  return row
}

export async function lockServer(
  sql: Querying,
  serverId: string,
): Promise<MarkedServerRow | undefined> {
  const [row] = await sql<MarkedServerRow[]>`
    select ${serverColumns(sql)}, mac from servers where server_id = ${serverId} for update`
  return row
}

export async function setStatement(
  sql: Querying,
  serverId: string,
  row: MarkedServerRow,
): Promise<void> {
  await sql`
    update servers set epoch = ${row.epoch}, statement = ${bytesOrNull(row.statement)},
      signature = ${bytesOrNull(row.signature)}, key_id = ${row.keyId}, mac = ${Buffer.from(row.mac)}
    where server_id = ${serverId} and epoch < ${row.epoch}`
}

export async function listUnmarkedServers(
  sql: Querying,
  limit: number,
): Promise<(ServerRow & { serverId: string })[]> {
  return sql<(ServerRow & { serverId: string })[]>`
    select server_id as "serverId", ${serverColumns(sql)} from servers where mac = '' limit ${limit}`
}

export async function markServer(sql: Querying, serverId: string, mac: Uint8Array): Promise<void> {
  await sql`update servers set mac = ${Buffer.from(mac)} where server_id = ${serverId}`
}

export type ConfirmationRow = {
  id: string
  serverId: string
  userId: string
  specDigest: string
  contract: string
  version: number | null
  moduleDigest: string | null
  epoch: number | null
}
export type MarkedConfirmationRow = ConfirmationRow & { mac: Uint8Array }

/** Inserts unless the id exists; the caller compares what is there. */
export async function insertConfirmation(sql: Querying, row: MarkedConfirmationRow): Promise<void> {
  await sql`
    insert into confirmations (id, server_id, user_id, spec_digest, contract, mac)
    values (${row.id}, ${row.serverId}, ${row.userId}, ${row.specDigest}, ${row.contract},
      ${Buffer.from(row.mac)})
    on conflict (id) do nothing`
}

const confirmationColumns = (sql: Querying) => sql`
  id, server_id as "serverId", user_id as "userId", spec_digest as "specDigest", contract,
  version, module_digest as "moduleDigest", epoch::float8 as epoch`

export async function findConfirmation(
  sql: Querying,
  id: string,
): Promise<MarkedConfirmationRow | undefined> {
  const [row] = await sql<MarkedConfirmationRow[]>`
    select ${confirmationColumns(sql)}, mac from confirmations where id = ${id}`
  return row
}

/** The one that was signed at the highest epoch. */
export async function findLastConfirmed(
  sql: Querying,
  serverId: string,
): Promise<MarkedConfirmationRow | undefined> {
  const [row] = await sql<MarkedConfirmationRow[]>`
    select ${confirmationColumns(sql)}, mac from confirmations
    where server_id = ${serverId} and epoch is not null order by epoch desc limit 1`
  return row
}

export async function useConfirmation(sql: Querying, used: MarkedConfirmationRow): Promise<void> {
  await sql`
    update confirmations set version = ${used.version}, module_digest = ${used.moduleDigest},
      epoch = ${used.epoch}, mac = ${Buffer.from(used.mac)}
    where id = ${used.id} and epoch is null`
}

export async function listUnmarkedConfirmations(
  sql: Querying,
  limit: number,
): Promise<ConfirmationRow[]> {
  return sql<ConfirmationRow[]>`
    select ${confirmationColumns(sql)} from confirmations where mac = '' limit ${limit}`
}

export async function markConfirmation(sql: Querying, id: string, mac: Uint8Array): Promise<void> {
  await sql`update confirmations set mac = ${Buffer.from(mac)} where id = ${id}`
}

/**
 * Takes away up to `limit` servers for which nothing was ever signed or stored, if all that was confirmed of them is
 * older than `before`; how many went. The caller's transaction holds them until it ends.
 */
export async function deleteUnusedServers(
  sql: Querying,
  before: Date,
  limit: number,
): Promise<number> {
  const unused = await sql<{ id: string }[]>`
    select server_id as id from servers where epoch = 0
      and not exists (select 1 from secrets where server_id = servers.server_id)
      and not exists (
        select 1 from confirmations where server_id = servers.server_id and created_at >= ${before})
    limit ${limit} for update skip locked`
  const ids = unused.map(({ id }) => id)
  await sql`delete from confirmations where server_id = any(${ids})`
  await sql`delete from servers where server_id = any(${ids})`
  return ids.length
}

export type SecretRow = {
  serverId: string
  name: string
  destination: string
  sealed: Uint8Array
  keyVersion: number
  valueVersion: number
  lastFour: string
  updatedAt: Date
  updatedBy: string
}

const secretColumns = (sql: Querying) => sql`
  secrets.server_id as "serverId", name, destination, sealed, key_version as "keyVersion",
  value_version as "valueVersion", last_four as "lastFour", updated_at as "updatedAt",
  updated_by as "updatedBy"`

/** Secrets of one server of one organisation, by name. */
export async function listSecrets(
  sql: Querying,
  orgId: string,
  serverId: string,
): Promise<SecretRow[]> {
  return sql<SecretRow[]>`
    select ${secretColumns(sql)} from secrets join servers using (server_id)
    where secrets.server_id = ${serverId} and org_id = ${orgId} order by name`
}

export async function putSecret(sql: Querying, row: Omit<SecretRow, 'updatedAt'>): Promise<Date> {
  const [stored] = await sql<{ updatedAt: Date }[]>`
    insert into secrets (server_id, name, destination, sealed, key_version, value_version, last_four, updated_by)
    values (${row.serverId}, ${row.name}, ${row.destination}, ${Buffer.from(row.sealed)},
      ${row.keyVersion}, ${row.valueVersion}, ${row.lastFour}, ${row.updatedBy})
    on conflict (server_id, name) do update set destination = excluded.destination,
      sealed = excluded.sealed, key_version = excluded.key_version,
      value_version = excluded.value_version, last_four = excluded.last_four,
      updated_by = excluded.updated_by, updated_at = now()
    returning updated_at as "updatedAt"`
  if (stored === undefined) throw new Error('the secret was not stored')
  return stored.updatedAt
}

/** How many rows went: 0 when there was none. */
export async function deleteSecret(
  sql: Querying,
  orgId: string,
  serverId: string,
  name: string,
): Promise<number> {
  // The server is locked first, as by putSecret: the two never wait for each other crosswise.
  const result = await sql`
    with owner as (
      select server_id from servers where server_id = ${serverId} and org_id = ${orgId} for update
    ), gone as (
      delete from secrets using owner
      where secrets.server_id = owner.server_id and name = ${name} returning value_version
    )
    update servers set forgotten_version = greatest(forgotten_version, gone.value_version)
    from gone where server_id = ${serverId}`
  return result.count
}

/** The highest version of a deleted value of the server; 0 when none was deleted. */
export async function findForgottenVersion(sql: Querying, serverId: string): Promise<number> {
  const [row] = await sql<{ version: number }[]>`
    select forgotten_version as version from servers where server_id = ${serverId}`
  return row?.version ?? 0
}

export async function deleteServerSecrets(sql: Querying, serverId: string): Promise<number> {
  const result = await sql`delete from secrets where server_id = ${serverId}`
  return result.count
}

function bytesOrNull(bytes: Uint8Array | null): Buffer | null {
  return bytes === null ? null : Buffer.from(bytes)
}
