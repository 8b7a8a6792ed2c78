/** Postgres: pools, transactions and forward-only migrations; `lib/patches` mends what the client did with lost connections. */
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import postgres from 'postgres'
import { isOutage } from './outage.ts'
import { parseSqlAddress, type SqlAddress } from './sql-address.ts'

const DEFAULT_CONNECTIONS = 8
const CONNECT_TIMEOUT_SECONDS = 10
const IDLE_TIMEOUT_SECONDS = 60
const STATEMENT_TIMEOUT_MS = 15_000
/** A client that vanished from the network must not keep its locks until the kernel notices. */
const IDLE_TRANSACTION_TIMEOUT_MS = 60_000
/** Before a lost connection is made again; the client's own would grow to 20 s. */
const FIRST_BACKOFF_SECONDS = 0.05
const LONGEST_BACKOFF_SECONDS = 1
const START_PATIENCE_MS = 60_000
const START_PAUSE_MS = 250
const migrationFile = /^(\d{4})-[a-z0-9-]+\.sql$/

export type Sql = postgres.Sql
export type Transaction = postgres.TransactionSql
/** What a store's functions take first: a pool or, unchanged, a transaction. */
export type Querying = Sql | Transaction

export type OpenSqlOptions = {
  /** The service's own schema: the only one that its queries see. */
  schema: string
  /** Connections at most. */
  max?: number
  /** Shorter in tests. A connection that is silent for a third more is given up: the way to the server is broken. */
  statementTimeoutMs?: number
}

/** A pool on an address as `sql-address.ts` reads it. 64-bit integers come back as strings. */
export function openSql(url: string, options: OpenSqlOptions): Sql {
  const address = parseSqlAddress(url)
  return postgres({
    ...address,
    ...inLists(address),
    max: options.max ?? DEFAULT_CONNECTIONS,
    connect_timeout: CONNECT_TIMEOUT_SECONDS,
    idle_timeout: IDLE_TIMEOUT_SECONDS,
    backoff: (tries) => Math.min(FIRST_BACKOFF_SECONDS * 2 ** tries, LONGEST_BACKOFF_SECONDS),
    onnotice: () => {},
    connection: {
      application_name: `bmm-${options.schema}`,
      search_path: options.schema,
      statement_timeout: options.statementTimeoutMs ?? STATEMENT_TIMEOUT_MS,
      idle_in_transaction_session_timeout: IDLE_TRANSACTION_TIMEOUT_MS,
    },
  })
}

/** The client takes lists, though its types do not say so; of a string it would take what follows a colon for a port. */
function inLists({ host, port }: SqlAddress): { host: string; port: number } {
  return { host: [host], port: [port] } as unknown as { host: string; port: number }
}

/** Runs the work in one transaction; it is rolled back when the work throws. */
export async function inTransaction<Result>(
  sql: Sql,
  work: (transaction: Transaction) => Promise<Result>,
): Promise<Result> {
  let result: { value: Result } | undefined
  await sql.begin(async (transaction) => {
    result = { value: await work(transaction) }
  })
  if (result === undefined) throw new Error('the transaction ended without a result')
  return result.value
}

export type Migration = {
  name: string
  text: string
  checksum: string
  /** What SQL cannot do, in the same transaction. */
  after?: (transaction: Transaction) => Promise<void>
}

/** The migrations of a folder in order: files `NNNN-name.sql`. Throws on any other file. */
export function readMigrations(directory: string): Migration[] {
  return readdirSync(directory)
    .sort()
    .map((name) => {
      if (!migrationFile.test(name)) throw new Error(`${name} in ${directory} is not NNNN-name.sql`)
      const text = readFileSync(join(directory, name), 'utf8')
      return { name, text, checksum: createHash('sha256').update(text).digest('hex') }
    })
}

/**
 * Brings the schema up to date, under an advisory lock, so that several starting processes do it once.
 * Throws when an applied migration has changed or is gone: they are history. Waits a minute for a database that is
 * away: a process that starts beside it need not end for it.
 */
export async function migrate(sql: Sql, schema: string, migrations: Migration[]): Promise<void> {
  const deadline = performance.now() + START_PATIENCE_MS
  for (;;) {
    try {
      return await migrateOnce(sql, schema, migrations)
    } catch (error) {
      if (!isOutage(error) || performance.now() > deadline) throw error
      await Bun.sleep(START_PAUSE_MS)
    }
  }
}

async function migrateOnce(sql: Sql, schema: string, migrations: Migration[]): Promise<void> {
  await inTransaction(sql, async (transaction) => {
    await transaction`select pg_advisory_xact_lock(hashtext(${`bmm-migrate-${schema}`}))`
    const exists = await transaction`select 1 from pg_namespace where nspname = ${schema}`
    if (exists.length === 0) await transaction`create schema ${transaction(schema)}`
    await transaction`create table if not exists schema_migrations (
      name text primary key, checksum text not null, applied_at timestamptz not null default now())`
    const applied = await transaction<{ name: string; checksum: string }[]>`
      select name, checksum from schema_migrations order by name`
    for (const row of applied) {
      const known = migrations.find((migration) => migration.name === row.name)
      if (known?.checksum !== row.checksum) {
        throw new Error(`migration ${row.name} of ${schema} was applied and has changed since`)
      }
    }
    // By name, not by count: two that were written side by side may arrive in either order.
    const old = new Set(applied.map(({ name }) => name))
    for (const migration of migrations.filter(({ name }) => !old.has(name))) {
      await transaction.unsafe(migration.text)
      await migration.after?.(transaction)
      await transaction`
        insert into schema_migrations (name, checksum) values (${migration.name}, ${migration.checksum})`
    }
  })
}

/** A query that fails when Postgres cannot be reached: for readiness checks. */
export async function ping(sql: Sql): Promise<void> {
  await sql`select 1`
}
