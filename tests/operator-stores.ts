/** Stores as an operator brings them: a Postgres and a Redis on TCP of loopback, with passwords, that no stack starts or stops. */
import { randomBytes } from 'node:crypto'
import { chmodSync, chownSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Child, type ChildSpec, keepRunning } from '@bmm/cli/stack/child'
import { embeddedPostgres } from '@bmm/cli/stack/postgres'
import { redisStore } from '@bmm/cli/stack/redis'
import { testUserIds } from '@bmm/cli/stack/user-ids'
import { findFreePort } from '@bmm/lib/free-port'
import { openSql, ping, type Sql } from '@bmm/lib/sql'
import { makeCertificates } from '@bmm/lib/testing-upstream'

const REDIS_DATABASES = 16
const OWNER = 'operator'
/** Characters that an address must hold encoded. */
const AWKWARD = '/@:%#?'

export type OperatorStores = AsyncDisposable & {
  /** As the superuser, whom no stack knows. */
  sql: Sql
  /** For the account that owns the databases; encrypted, and only with the server that the certificate is for. */
  databaseUrl(database: string): string
  redisUrl: string
  passwords: { database: string; redis: string }
  /** What Postgres wrote, each statement that it was given included. */
  statements(): string
}

/** Starts both. The databases' owner may make roles and nothing else; the account of Redis has the rights that README names. */
export async function startOperatorStores(databases: readonly string[]): Promise<OperatorStores> {
  const folder = mkdtempSync(join(tmpdir(), 'bmm-operator-'))
  chmodSync(folder, 0o711)
  const logs = join(folder, 'logs')
  const children: Child[] = []
  const run = (spec: ChildSpec) => {
    const child = keepRunning(spec, logs, () => {})
    children.push(child)
    return child.firstReady
  }
  const passwords = { database: secret() + AWKWARD, redis: secret() + AWKWARD }
  const ports = { postgres: findFreePort() ?? 0, redis: findFreePort() ?? 0 }
  const close = async () => {
    for (const child of children) await child.stop()
    rmSync(folder, { recursive: true, force: true })
  }
  try {
    const [superuser] = await Promise.all([
      startPostgres(folder, ports.postgres, run),
      startRedis(folder, ports.redis, passwords.redis, run),
    ])
    const sql = openSql(superuser, { schema: 'public', max: 1 })
    await sql.unsafe(`create role ${OWNER} login createrole password '${passwords.database}'`)
    for (const name of databases) await sql.unsafe(`create database ${name} owner ${OWNER}`)
    const [database, redis] = [passwords.database, passwords.redis].map(encodeURIComponent)
    const tls = `sslmode=verify-full&sslrootcert=${join(folder, 'ca.pem')}`
    return {
      ...{ sql, passwords },
      databaseUrl: (name) =>
        `postgres://${OWNER}:${database}@127.0.0.1:${ports.postgres}/${name}?${tls}`,
      redisUrl: `redis://stack:${redis}@127.0.0.1:${ports.redis}/3`,
      statements: () => readFileSync(join(logs, 'postgres.log'), 'utf8'),
      async [Symbol.asyncDispose]() {
        await sql.end({ timeout: 1 })
        await close()
      },
    }
  } catch (error) {
    await close()
    throw error
  }
}

type Run = (spec: ChildSpec) => Promise<void>

/** Resolves to the superuser's address. */
async function startPostgres(folder: string, port: number, run: Run): Promise<string> {
  const users = testUserIds
  const { spec, url } = await embeddedPostgres({
    ...{ users, password: secret(), durable: false },
    run: join(folder, 'postgres'),
    data: join(folder, 'postgres-data'),
  })
  makeCertificates(folder)
  // Whoever the stack's services are, this file is closed to them.
  chmodSync(join(folder, 'ca.pem'), 0o600)
  const key = join(folder, 'server.key')
  chownSync(key, users.of('postgres'), users.of('postgres'))
  chmodSync(key, 0o600)
  const settings = {
    ...{ listen_addresses: '127.0.0.1', port: String(port), log_statement: 'all' },
    ...{ ssl: 'on', ssl_cert_file: join(folder, 'server.pem'), ssl_key_file: key },
  }
  const more = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
  const superuser = new URL(url)
  superuser.port = String(port)
  await run({
    ...spec,
    command: [...spec.command, ...more],
    fault: () => faultOf(superuser.href),
  })
  return superuser.href
}

async function faultOf(url: string): Promise<string | undefined> {
  const sql = openSql(url, { schema: 'public', max: 1 })
  try {
    await ping(sql)
    return undefined
  } catch {
    return 'it does not answer'
  } finally {
    await sql.end({ timeout: 1 })
  }
}

async function startRedis(folder: string, port: number, password: string, run: Run): Promise<void> {
  const { spec } = redisStore({
    ...{ users: testUserIds, password: secret(), durable: false, databases: REDIS_DATABASES },
    run: join(folder, 'redis'),
    data: join(folder, 'redis-data'),
  })
  const rights = '~bmm:* ~bull:* &bmm:* +@all -@admin -@dangerous +info'
  const more = ['bind 127.0.0.1', `port ${port}`, `user stack on ">${password}" ${rights}`, '']
  await run({ ...spec, input: `${spec.input ?? ''}${more.join('\n')}` })
}

function secret(): string {
  return randomBytes(16).toString('hex')
}
