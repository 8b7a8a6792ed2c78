/** All SQL of the runner: deployments and run lines. */
import type { Querying } from '@bmm/lib/sql'
import type { SignedStatement } from '@bmm/spec/statement'
import type { Artefacts } from './deployment/deployment.ts'
import type { RunLine } from './run-log/run-log.ts'

export type DeploymentRow = {
  serverId: string
  orgId: string
  epoch: number
  signed: SignedStatement
  /** Undefined once stopped. */
  artefacts: Artefacts | undefined
}

/** Stores the statement unless a newer or a different one of the same epoch is there; false then. */
export async function saveDeployment(sql: Querying, row: DeploymentRow): Promise<boolean> {
  const { signed, artefacts } = row
  const saved = await sql`
    insert into deployments
      (server_id, org_id, epoch, statement, signature, key_id, spec, module)
    values (
      ${row.serverId}, ${row.orgId}, ${row.epoch}, ${bytea(signed.bytes)}, ${bytea(signed.signature)},
      ${signed.keyId}, ${bytea(artefacts?.spec)}, ${bytea(artefacts?.module)}
    )
    on conflict (server_id) do update set
      epoch = excluded.epoch, statement = excluded.statement, signature = excluded.signature,
      key_id = excluded.key_id, spec = excluded.spec, module = excluded.module, updated_at = now()
    where deployments.org_id = excluded.org_id and (
      deployments.epoch < excluded.epoch
      or (deployments.epoch = excluded.epoch and deployments.statement = excluded.statement))
    returning server_id`
  return saved.length === 1
}

/** Deployments after a server id in order of ids: a page of the whole table, for the start of the process. */
export async function listDeployments(
  sql: Querying,
  afterServerId: string,
  limit: number,
): Promise<DeploymentRow[]> {
  const rows = await sql<
    {
      server_id: string
      org_id: string
      epoch: string
      statement: Buffer
      signature: Buffer
      key_id: string
      spec: Buffer | null
      module: Buffer | null
    }[]
  >`
    select server_id, org_id, epoch, statement, signature, key_id, spec, module
    from deployments where server_id > ${afterServerId} order by server_id limit ${limit}`
  return rows.map((row) => ({
    serverId: row.server_id,
    orgId: row.org_id,
    epoch: Number(row.epoch),
    signed: { bytes: row.statement, signature: row.signature, keyId: row.key_id },
    artefacts:
      row.spec === null || row.module === null ? undefined : { spec: row.spec, module: row.module },
  }))
}

/** What the statement of this epoch names; undefined when the row is of another, or of a stop. */
export async function findArtefacts(
  sql: Querying,
  serverId: string,
  epoch: number,
): Promise<Artefacts | undefined> {
  const [row] = await sql<{ spec: Buffer; module: Buffer }[]>`
    select spec, module from deployments
    where server_id = ${serverId} and epoch = ${epoch} and spec is not null and module is not null`
  return row
}

/** Removes a row that failed its verification, unless it has changed since. */
export async function deleteDeployment(sql: Querying, row: DeploymentRow): Promise<void> {
  await sql`
    delete from deployments
    where server_id = ${row.serverId} and org_id = ${row.orgId} and epoch = ${row.epoch}
      and statement = ${bytea(row.signed.bytes)}`
}

export type StoredRunLine = RunLine & {
  seq: bigint
}

/** Appends lines in order. */
export async function appendRunLines(sql: Querying, lines: RunLine[]): Promise<void> {
  const rows = lines.map((line) => ({
    server_id: line.serverId,
    org_id: line.orgId,
    at: line.at,
    level: line.level,
    tool: line.tool,
    message: line.message,
    request_id: line.requestId,
  }))
  await sql`insert into run_lines ${sql(rows)}`
}

/** Lines after a cursor, oldest first. */
export async function listRunLinesAfter(
  sql: Querying,
  place: { serverId: string; orgId: string; afterSeq: bigint; limit: number },
): Promise<StoredRunLine[]> {
  const rows = await sql<RunLineRow[]>`
    select seq, server_id, org_id, at, level, tool, message, request_id from run_lines
    where server_id = ${place.serverId} and org_id = ${place.orgId}
      and seq > ${place.afterSeq.toString()}
    order by seq limit ${place.limit}`
  return rows.map(lineFromRow)
}

/** The newest lines, oldest of them first. */
export async function listNewestRunLines(
  sql: Querying,
  place: { serverId: string; orgId: string; limit: number },
): Promise<StoredRunLine[]> {
  const rows = await sql<RunLineRow[]>`
    select seq, server_id, org_id, at, level, tool, message, request_id from run_lines
    where server_id = ${place.serverId} and org_id = ${place.orgId}
    order by seq desc limit ${place.limit}`
  return rows.map(lineFromRow).reverse()
}

/** Keeps only the newest lines of a server. */
export async function trimRunLines(sql: Querying, serverId: string, keep: number): Promise<void> {
  await sql`
    delete from run_lines where server_id = ${serverId} and seq <= (
      select seq from run_lines where server_id = ${serverId} order by seq desc offset ${keep} limit 1)`
}

/** Forgets everything that a deleted server logged. */
export async function deleteRunLines(
  sql: Querying,
  serverId: string,
  orgId: string,
): Promise<void> {
  await sql`delete from run_lines where server_id = ${serverId} and org_id = ${orgId}`
}

type RunLineRow = {
  seq: string
  server_id: string
  org_id: string
  at: Date
  level: string
  tool: string
  message: string
  request_id: string
}

function lineFromRow(row: RunLineRow): StoredRunLine {
  return {
    seq: BigInt(row.seq),
    serverId: row.server_id,
    orgId: row.org_id,
    at: row.at,
    level: row.level,
    tool: row.tool,
    message: row.message,
    requestId: row.request_id,
  }
}

function bytea(bytes: Uint8Array): Buffer
function bytea(bytes: Uint8Array | undefined): Buffer | null
function bytea(bytes: Uint8Array | undefined): Buffer | null {
  return bytes === undefined ? null : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
