/** All SQL of the secrets service. */
import type { Querying } from '@bmm/lib/sql'

const MAX_LISTED_KEYS = 1_000

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
    from statement_keys order by created_at desc, key_id limit 100`
}

export async function insertStatementKey(sql: Querying, key: NewStatementKey): Promise<void> {
  await sql`
    insert into statement_keys (key_id, public_key, wrapped)
    values (${key.keyId}, ${Buffer.from(key.publicKey)}, ${Buffer.from(key.wrapped)})`
}

export type ServerRow = {
  orgId: string
  epoch: number
  statement: Uint8Array | null
  signature: Uint8Array | null
  keyId: string | null
}

/** Makes the server known as this organisation's, unless it is known already. */
export async function ensureServer(sql: Querying, serverId: string, orgId: string): Promise<void> {
  await sql`
    insert into servers (server_id, org_id) values (${serverId}, ${orgId})
    on conflict (server_id) do nothing`
}

export async function findServer(sql: Querying, serverId: string): Promise<ServerRow | undefined> {
  const [row] = await sql<ServerRow[]>`
    select org_id as "orgId", epoch::float8 as epoch, statement, signature, key_id as "keyId"
    from servers where server_id = ${serverId}`
  return row
}

/** As findServer, locking the row so that epochs are given out one after another. */
export async function lockServer(sql: Querying, serverId: string): Promise<ServerRow | undefined> {
  const [row] = await sql<ServerRow[]>`
    select org_id as "orgId", epoch::float8 as epoch, statement, signature, key_id as "keyId"
    from servers where server_id = ${serverId} for update`
  return row
}

export async function setStatement(
  sql: Querying,
  serverId: string,
  epoch: number,
  signed: { bytes: Uint8Array; signature: Uint8Array; keyId: string },
): Promise<void> {
  await sql`
    update servers set epoch = ${epoch}, statement = ${Buffer.from(signed.bytes)},
      signature = ${Buffer.from(signed.signature)}, key_id = ${signed.keyId}
    where server_id = ${serverId} and epoch < ${epoch}`
}

export type ConfirmationRow = {
  serverId: string
  userId: string
  specDigest: string
  contract: string
  version: number | null
  moduleDigest: string | null
  epoch: number | null
}

/** Inserts unless the id exists; the caller compares what is there. */
export async function insertConfirmation(
  sql: Querying,
  row: { id: string } & Pick<ConfirmationRow, 'serverId' | 'userId' | 'specDigest' | 'contract'>,
): Promise<void> {
  await sql`
    insert into confirmations (id, server_id, user_id, spec_digest, contract)
    values (${row.id}, ${row.serverId}, ${row.userId}, ${row.specDigest}, ${row.contract})
    on conflict (id) do nothing`
}

export async function findConfirmation(
  sql: Querying,
  id: string,
): Promise<ConfirmationRow | undefined> {
  const [row] = await sql<ConfirmationRow[]>`
    select server_id as "serverId", user_id as "userId", spec_digest as "specDigest", contract,
      version, module_digest as "moduleDigest", epoch::float8 as epoch
    from confirmations where id = ${id}`
  return row
}

export async function useConfirmation(
  sql: Querying,
  id: string,
  used: { version: number; moduleDigest: string; epoch: number },
): Promise<void> {
  await sql`
    update confirmations
    set version = ${used.version}, module_digest = ${used.moduleDigest}, epoch = ${used.epoch}
    where id = ${id} and epoch is null`
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
  const result = await sql`
    delete from secrets using servers
    where secrets.server_id = ${serverId} and name = ${name}
      and servers.server_id = secrets.server_id and org_id = ${orgId}`
  return result.count
}

export async function deleteServerSecrets(sql: Querying, serverId: string): Promise<number> {
  const result = await sql`delete from secrets where server_id = ${serverId}`
  return result.count
}
