/** The operator's own Postgres: whether the stack may and can live in it, said in sentences before anything is changed. */
import { errorFrom } from '@bmm/lib/errors'
import { openSql, type Sql } from '@bmm/lib/sql'
import { parseSqlAddress, type SqlAddress } from '@bmm/lib/sql-address'
import { CommandFault, failed } from '../fault.ts'
import { roleOf } from './postgres.ts'

const OLDEST_VERSION = 150_000
/** NAMEDATALEN - 1 of Postgres, which cuts longer names off. */
const NAME_BYTES = 63
/** Where everybody connects first, or what new databases are copied from. */
const sharedDatabases = ['postgres', 'template0', 'template1']
/** Of the operator's account; no service reaches it. */
const MARK = 'bmm'
const NAMES_SHOWN = 3
/** Class and number; codes of the system have letters only. */
const sqlState = /^(?=.*\d)[0-9A-Z]{5}$/

export type Claim = {
  url: string
  /** Names of the schemas to be. */
  services: readonly string[]
  /** Of this data directory: the same for ever. */
  stack: string
  /** Whether the data directory has used a database before. */
  used: boolean
}

/** Makes the database this stack's. Throws CommandFault with what to do when it cannot be; then nothing was changed. */
export async function claimPostgres(claim: Claim): Promise<void> {
  const address = parseSqlAddress(claim.url)
  requireOwnDatabase(address, claim.services)
  const sql = openSql(claim.url, { schema: 'public', max: 1 })
  try {
    await requireUsable(sql, address)
    await requireUnclaimed(sql, address, claim)
    await sql.begin(async (transaction) => {
      await transaction`create schema if not exists ${transaction(MARK)}`
      await transaction`create table if not exists ${transaction(MARK)}.stack (
        one boolean primary key default true check (one), id text not null)`
      await transaction`
        insert into ${transaction(MARK)}.stack (id) values (${claim.stack}) on conflict do nothing`
    })
    // Two that start together: one of them was first.
    await requireUnclaimed(sql, address, claim)
  } catch (thrown) {
    throw postgresFault(thrown, address)
  } finally {
    await sql.end({ timeout: 1 })
  }
}

function requireOwnDatabase(address: SqlAddress, services: readonly string[]): void {
  const { database, user } = address
  if (sharedDatabases.includes(database)) {
    throw refused(
      address,
      'database_shared',
      `this database is everybody's, and the stack takes one of its own. ${makeDatabase('bmm', user)}`,
    )
  }
  const role = services.map((service) => roleOf(database, service)).find(isTooLong)
  if (role === undefined) return
  throw refused(
    address,
    'database_name',
    `the name of this database is too long, since roles such as ${role} are named after it: give it a shorter one.`,
  )
}

function isTooLong(name: string): boolean {
  return Buffer.byteLength(name) > NAME_BYTES
}

async function requireUsable(sql: Sql, address: SqlAddress): Promise<void> {
  const [facts] = await sql<
    {
      version: number
      shown: string
      encoding: string
      readOnly: boolean
      mayMakeRoles: boolean
      owns: boolean
    }[]
  >`
    select current_setting('server_version_num')::int as version,
      current_setting('server_version') as shown, current_setting('server_encoding') as encoding,
      pg_is_in_recovery() or current_setting('transaction_read_only')::boolean as "readOnly",
      rolsuper or rolcreaterole as "mayMakeRoles",
      pg_has_role((select datdba from pg_database where datname = current_database()), 'member') as owns
    from pg_roles where rolname = current_user`
  if (facts === undefined) throw new Error('Postgres says nothing of the account')
  if (facts.version < OLDEST_VERSION) {
    throw refused(
      address,
      'database_old',
      `this is PostgreSQL ${facts.shown}, and 15 or later is needed. Upgrade it, or leave DATABASE_URL out.`,
    )
  }
  if (facts.readOnly) {
    throw refused(
      address,
      'database_read_only',
      'this server can only be read, as the standby of another: give the address of the primary.',
    )
  }
  if (facts.encoding !== 'UTF8') {
    throw refused(
      address,
      'database_encoding',
      `this database has the encoding ${facts.encoding}: make one with ENCODING 'UTF8' TEMPLATE template0.`,
    )
  }
  if (facts.mayMakeRoles && facts.owns) return
  const role = quoted(address.user)
  throw refused(
    address,
    'database_rights',
    `the account ${address.user} must own the database and be allowed to make roles, since each service gets a schema and a role of its own. As an administrator: ALTER DATABASE ${quoted(address.database)} OWNER TO ${role}; ALTER ROLE ${role} CREATEROLE;`,
  )
}

/** What is there is this stack's, or nothing is there. */
async function requireUnclaimed(sql: Sql, address: SqlAddress, claim: Claim): Promise<void> {
  const marked =
    await sql`select 1 from pg_tables where schemaname = ${MARK} and tablename = 'stack'`
  if (marked.length > 0) {
    const [row] = await sql<{ id: string }[]>`select id from ${sql(MARK)}.stack`
    if (row === undefined || row.id === claim.stack) return
    throw refused(
      address,
      'database_taken',
      `this database belongs to the stack of another data directory, whose keys alone open what it holds. Start that one, or give this one a database of its own. ${makeDatabase('bmm2', address.user)}`,
    )
  }
  const foreign = await foreignNames(sql, claim.services, address.database)
  if (foreign.length > 0) {
    throw refused(
      address,
      'database_not_empty',
      `this database holds something else (${foreign.join(', ')}), and the stack shares its database with nobody. ${makeDatabase('bmm', address.user)}`,
    )
  }
  if (!claim.used) return
  throw refused(
    address,
    'database_empty',
    'this database is empty, and the data directory has used one before: give the address of that one, or restore its backup there first. For a stack without the old data give another --data.',
  )
}

/** Some tables and schemas that no stack has made; what belongs to an extension does not count. */
async function foreignNames(
  sql: Sql,
  services: readonly string[],
  database: string,
): Promise<string[]> {
  const roles = services.map((service) => roleOf(database, service))
  const rows = await sql<{ name: string }[]>`
    select schemaname || '.' || tablename as name from pg_tables as each
    where schemaname not in ('pg_catalog', 'information_schema') and not tableowner = any(${roles})
      and not exists (select 1 from pg_depend
        where classid = 'pg_class'::regclass and deptype = 'e'
          and objid = format('%I.%I', each.schemaname, each.tablename)::regclass)
    union all
    select nspname from pg_namespace
    where nspname = any(${[...services, MARK]}) and not pg_get_userbyid(nspowner) = any(${roles})
    order by 1 limit ${NAMES_SHOWN}`
  return rows.map(({ name }) => name)
}

/** What Postgres or the way to it said, as a sentence that says what to do; what is neither comes back as it is. */
export function postgresFault(thrown: unknown, address: SqlAddress): Error {
  const error = errorFrom(thrown)
  if (error instanceof CommandFault || !('code' in error)) return error
  return refused(address, ...told(String(error.code), error.message, address))
}

function told(code: string, message: string, address: SqlAddress): [string, string] {
  const { user, database } = address
  switch (code) {
    case '28P01':
      return ['database_refused', `the password is wrong, or there is no account ${user}.`]
    case '28000':
      return ['database_refused', `Postgres does not let ${user} in: ${message}.`]
    case '3D000':
      return ['database_missing', `there is no such database. ${makeDatabase(database, user)}`]
    case '42501':
      return ['database_rights', `the account ${user} lacks a right: ${message}.`]
    case '57P03':
      return ['database_down', `${message}: try again in a moment.`]
    case 'ERR_TLS_CERT_ALTNAME_INVALID':
      return ['database_tls', `the server's certificate is for another name: ${message}`]
  }
  // It says no and hears the client go on in TLS.
  if (code === 'ERR_SSL_WRONG_VERSION_NUMBER' || message.includes('before secure TLS')) {
    return [
      'database_tls',
      'this server speaks no TLS: turn it on there (ssl = on), or say sslmode=disable.',
    ]
  }
  if (/CERT|SIGNATURE|ISSUER/.test(code)) {
    return [
      'database_tls',
      `no known authority vouches for the server's certificate (${message}): add &sslrootcert=FILE with the certificate of the one that does.`,
    ]
  }
  if (sqlState.test(code)) return ['database_failed', `Postgres says: ${message} (${code}).`]
  return [
    'database_down',
    `Postgres does not answer (${message}): does it run, and may this machine reach it?`,
  ]
}

/** Never with the password. */
function refused(address: SqlAddress, code: string, sentence: string): CommandFault {
  const { database, path, host, port } = address
  const shown = host.includes(':') ? `[${host}]` : host
  return failed(code, `DATABASE_URL (${database} at ${path ?? `${shown}:${port}`}): ${sentence}`)
}

function makeDatabase(name: string, user: string): string {
  return `As an administrator: CREATE DATABASE ${quoted(name)} OWNER ${quoted(user)};`
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}
