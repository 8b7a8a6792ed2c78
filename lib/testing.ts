/** What every service's tests start from: a cloned database, a Redis of their own, identities, served RPCs. */
import { createHash, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { DescService } from '@bufbuild/protobuf'
import type { Client, ConnectRouter } from '@connectrpc/connect'
import { SignJWT } from 'jose'
import { rpcClient } from './client.ts'
import { readTestEnv } from './env.ts'
import { type Identity, openIdentity, type ServiceName, serviceNames } from './identity.ts'
import { newId } from './ids.ts'
import { createLog } from './log.ts'
import { openRedis, type Redis } from './redis.ts'
import { serveRpc } from './server.ts'
import { migrate, openSql, readMigrations, type Sql } from './sql.ts'

const USER_TOKEN_SECONDS = 300
const TEST_REDIS_DATABASES = 255

export const testLog = createLog('test', 'silent')

export type TestDatabase = AsyncDisposable & { sql: Sql; url: string }

/**
 * A database of the test file's own, cloned from a template that holds the migrated schema (about 50 ms).
 * Needs the Postgres that `./bmm test` starts.
 */
export async function testDatabase(
  schema: string,
  migrationsFolder: string,
): Promise<TestDatabase> {
  const admin = openSql(readTestEnv('BMM_TEST_DATABASE_URL'), { schema: 'public', max: 1 })
  const migrations = readMigrations(migrationsFolder)
  const digest = createHash('sha256').update(JSON.stringify(migrations)).digest('hex').slice(0, 12)
  const template = `bmm_template_${schema}_${digest}`
  await makeTemplate(admin, template, schema, migrations)
  const name = `bmm_test_${schema}_${crypto.randomUUID().replaceAll('-', '').slice(0, 16)}`
  await admin`create database ${admin(name)} template ${admin(template)}`
  const url = databaseUrl(name)
  const sql = openSql(url, { schema })
  return {
    sql,
    url,
    async [Symbol.asyncDispose]() {
      await sql.end({ timeout: 1 })
      await admin`drop database if exists ${admin(name)} with (force)`
      await admin.end({ timeout: 1 })
    },
  }
}

export type TestRedis = AsyncDisposable & { url: string; redis: Redis }

/** An empty Redis database of the test file's own. */
export async function testRedis(): Promise<TestRedis> {
  const base = readTestEnv('BMM_TEST_REDIS_URL')
  const counter = openRedis(base, { log: testLog })
  const index = 1 + ((await counter.incr('bmm:test:database')) % TEST_REDIS_DATABASES)
  counter.disconnect()
  const url = new URL(base)
  if (url.protocol === 'unix:') url.searchParams.set('db', String(index))
  else url.pathname = `/${index}`
  const redis = openRedis(url.href, { log: testLog })
  await redis.flushdb()
  return {
    url: url.href,
    redis,
    async [Symbol.asyncDispose]() {
      redis.disconnect()
    },
  }
}

export type TestUser = { userId: string; orgId: string; role: string; sessionId: string }

export type TestIdentities = {
  of(name: ServiceName): Identity
  /** Text of a public-keys file. */
  publicKeys: string
  privateKeyPem(name: ServiceName | 'auth-user'): string
  /** A user token as `auth` mints it: for all services unless told otherwise. */
  mintUser(
    user?: Partial<TestUser>,
    options?: {
      confirmDigest?: string
      audiences?: ServiceName[]
      expiresInSeconds?: number
      /** As for a service token. */
      scopes?: string[]
    },
  ): Promise<string>
}

/** Fresh keys for every service and for user tokens. */
export async function testIdentities(now: () => number = Date.now): Promise<TestIdentities> {
  const owners = [...serviceNames, 'auth-user'] as const
  const pairs = new Map(owners.map((owner) => [owner, generateKeyPairSync('ed25519')]))
  const publicKeys = JSON.stringify(
    Object.fromEntries(
      [...pairs].map(([owner, pair]) => [
        owner,
        pair.publicKey.export({ format: 'der', type: 'spki' }).toString('base64'),
      ]),
    ),
  )
  const pem = (owner: ServiceName | 'auth-user') =>
    keyOf(pairs, owner).export({ format: 'pem', type: 'pkcs8' }).toString()
  const identities = new Map<ServiceName, Identity>()
  for (const name of serviceNames) {
    identities.set(name, await openIdentity({ name, privateKeyPem: pem(name), publicKeys, now }))
  }
  return {
    publicKeys,
    privateKeyPem: pem,
    of(name) {
      const identity = identities.get(name)
      if (identity === undefined) throw new Error(`no identity of ${name}`)
      return identity
    },
    async mintUser(user = {}, options = {}) {
      const claims = testUser(user)
      const seconds = Math.floor(now() / 1000)
      return new SignJWT({
        org: claims.orgId,
        role: claims.role,
        sid: claims.sessionId,
        ...(options.confirmDigest === undefined ? {} : { cnf: options.confirmDigest }),
        ...(options.scopes === undefined ? {} : { scp: options.scopes }),
      })
        .setProtectedHeader({ alg: 'EdDSA', typ: 'bmm-user+jwt' })
        .setIssuer('auth')
        .setSubject(claims.userId)
        .setAudience(options.audiences ?? [...serviceNames])
        .setIssuedAt(seconds)
        .setExpirationTime(seconds + (options.expiresInSeconds ?? USER_TOKEN_SECONDS))
        .sign(keyOf(pairs, 'auth-user'))
    },
  }
}

/** A person with an organisation of their own, role owner, unless told otherwise. */
export function testUser(user: Partial<TestUser> = {}): TestUser {
  return {
    userId: user.userId ?? newId('usr'),
    orgId: user.orgId ?? newId('org'),
    role: user.role ?? 'owner',
    sessionId: user.sessionId ?? newId('ses'),
  }
}

export type TestRpc = AsyncDisposable & {
  rpcDir: string
  /** Serves routes as one service, with the real interceptors, on `{rpcDir}/{name}/rpc.sock`. */
  serve(name: ServiceName, routes: (router: ConnectRouter) => void): AsyncDisposable
  /** A client that calls `to` as the service `from`. */
  client<Desc extends DescService>(service: Desc, to: ServiceName, from: ServiceName): Client<Desc>
}

/** A folder of sockets for the services of one test file. */
export function testRpc(identities: TestIdentities): TestRpc {
  const rpcDir = mkdtempSync(join(tmpdir(), 'bmm-rpc-'))
  const served: AsyncDisposable[] = []
  return {
    rpcDir,
    serve(name, routes) {
      mkdirSync(join(rpcDir, name), { recursive: true })
      const socket = join(rpcDir, name, 'rpc.sock')
      const server = serveRpc({ identity: identities.of(name), socket, routes, log: testLog })
      served.push(server)
      return server
    },
    client(service, to, from) {
      return rpcClient(service, { identity: identities.of(from), rpcDir, to })
    },
    async [Symbol.asyncDispose]() {
      for (const server of served) await server[Symbol.asyncDispose]()
      rmSync(rpcDir, { recursive: true, force: true })
    },
  }
}

async function makeTemplate(
  admin: Sql,
  template: string,
  schema: string,
  migrations: ReturnType<typeof readMigrations>,
): Promise<void> {
  const connection = await admin.reserve()
  try {
    await connection`select pg_advisory_lock(hashtext(${template}))`
    const made = await connection`
      select 1 from pg_database where datname = ${template} and datistemplate`
    if (made.length > 0) return
    await connection`drop database if exists ${connection(template)} with (force)`
    await connection`create database ${connection(template)}`
    const sql = openSql(databaseUrl(template), { schema, max: 1 })
    try {
      await migrate(sql, schema, migrations)
    } finally {
      await sql.end({ timeout: 1 })
    }
    await connection`alter database ${connection(template)} is_template true`
  } finally {
    await connection`select pg_advisory_unlock(hashtext(${template}))`
    connection.release()
  }
}

function databaseUrl(name: string): string {
  const url = new URL(readTestEnv('BMM_TEST_DATABASE_URL'))
  url.pathname = `/${name}`
  return url.href
}

function keyOf<Owner>(
  pairs: Map<Owner, { privateKey: KeyObject }>,
  owner: NoInfer<Owner>,
): KeyObject {
  const pair = pairs.get(owner)
  if (pair === undefined) throw new Error('no such key')
  return pair.privateKey
}

/** The command that runs a Redis server; Debian's `redis-tools` holds the same multi-call program as `redis-server`. */
export function findRedisServer(): [string] {
  const found = ['redis-server', 'valkey-server', 'redis-check-rdb'].map((name) => Bun.which(name))
  const path = found.find((candidate) => candidate !== null)
  if (path === undefined || path === null) throw new Error('there is no redis-server on PATH')
  return [path]
}
