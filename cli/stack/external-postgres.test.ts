import { afterAll, beforeAll, expect, test } from 'bun:test'
import { readTestEnv } from '@bmm/lib/env'
import { openSql, type Sql } from '@bmm/lib/sql'
import { outcomeOf } from '@bmm/lib/testing-outcome'
import { claimPostgres } from './external-postgres.ts'
import { makeDatabase, prepareSchemas } from './postgres.ts'

const services = ['auth', 'generator']
const run = crypto.randomUUID().replaceAll('-', '').slice(0, 8)
const account = `claimer_${run}`
const password = 'p@ss:/%?#w'
const admin = readTestEnv('BMM_TEST_DATABASE_URL')
const made: string[] = []
let sql: Sql

beforeAll(async () => {
  sql = openSql(admin, { schema: 'public', max: 1 })
  await sql.unsafe(`create role ${account} login createrole password '${password}'`)
})
afterAll(async () => {
  const roles = await sql<{ name: string }[]>`
    select rolname as name from pg_roles where rolname like ${`%${run}%`}
    order by rolname = ${account}`
  for (const name of made) await sql`drop database if exists ${sql(name)} with (force)`
  for (const { name } of roles) await sql`drop role ${sql(name)}`
  await sql.end()
})

function addressOf(database: string, user = account, secret = password): string {
  const url = new URL(admin)
  url.pathname = `/${database}`
  url.username = user
  url.password = encodeURIComponent(secret)
  return url.href
}

/** An empty database that belongs to the account. */
async function ownDatabase(name: string): Promise<string> {
  const database = `${name}_${run}`
  made.push(database)
  await sql`create database ${sql(database)} owner ${sql(account)}`
  return database
}

/** By the superuser. */
async function inDatabase(database: string, statement: string): Promise<void> {
  const own = openSql(await makeDatabase(admin, database), { schema: 'public', max: 1 })
  await own.unsafe(statement)
  await own.end()
}

const claim = (url: string, stack = 'one', used = false) =>
  outcomeOf(claimPostgres({ url, services, stack, used }))

const passwordsOf = (value: string) => services.map((service) => ({ service, password: value }))

test('an owner who may make roles is enough; each service then sees its own schema, and a new password acts', async () => {
  const url = addressOf(await ownDatabase('good'))
  expect(await claim(url)).not.toThrow()
  await prepareSchemas(url, passwordsOf('0a'))
  expect(await claim(url, 'one', true)).not.toThrow()
  const urls = await prepareSchemas(url, passwordsOf('0b'))
  const auth = openSql(urls.get('auth') ?? '', { schema: 'auth', max: 1 })
  await auth`create table things (id integer)`
  expect(await outcomeOf(auth`create table generator.things (id integer)`.execute())).toThrow(
    /permission denied for schema generator/,
  )
  expect(await outcomeOf(auth`select * from bmm.stack`.execute())).toThrow(/permission denied/)
  await auth.end()
  const [stored] = await sql<{ secret: string }[]>`
    select rolpassword as secret from pg_authid where rolname = ${`good_${run}_auth`}`
  expect(stored?.secret).toStartWith('SCRAM-SHA-256$4096:')
  expect(await claim(url, 'two')).toThrow(/belongs to the stack of another data directory/)
})

test('of two that start together one gets the database', async () => {
  const url = addressOf(await ownDatabase('race'))
  const outcomes = await Promise.all(['one', 'two'].map((stack) => claim(url, stack)))
  expect(outcomes.filter(isThrowing)).toHaveLength(1)
})

function isThrowing(outcome: () => unknown): boolean {
  try {
    outcome()
    return false
  } catch {
    return true
  }
}

const weak = async (database: string) => {
  await inDatabase(database, `create role weak_${run} login password 'weak'`)
  return addressOf(database, `weak_${run}`, 'weak')
}
const holding = (statement: string) => async (database: string) => {
  await inDatabase(database, statement)
  return addressOf(database)
}

test.each<[string, (database: string) => Promise<string> | string, RegExp]>([
  ['wrong', (database) => addressOf(database, account, 'canary'), /the password is wrong, or/],
  ['nowhere', (database) => addressOf(`${database}_no`), /no such database.*CREATE DATABASE "nowh/],
  ['common', () => addressOf('postgres'), /everybody's.*CREATE DATABASE "bmm" OWNER/],
  ['long', (database) => addressOf(database.padEnd(55, 'x')), /too long, since roles such as/],
  ['rights', weak, /the account weak_.* must own.*CREATEROLE;$/],
  [
    'tables',
    holding('create table people (id integer)'),
    /else \(public\.people\), and.*with nobody/,
  ],
  ['schemas', holding('create schema auth'), /something else \(auth\)/],
  ['silent', () => 'postgres://a:canary@127.0.0.1:1/b', /\(b at 127.0.0.1:1\): .*does not answer/],
])(
  'what cannot be is refused in words and changes nothing: %s',
  async (name, prepare, sentence) => {
    const database = await ownDatabase(name)
    const outcome = await claim(await prepare(database))
    expect(outcome).toThrow(sentence)
    expect(outcome).not.toThrow(/canary/)
    const own = openSql(await makeDatabase(admin, database), { schema: 'public', max: 1 })
    expect(await own`select 1 from pg_namespace where nspname = 'bmm'`).toHaveLength(0)
    await own.end()
  },
)

test.each(['require', 'verify-full'])('a server without TLS gets no password: %s', async (mode) => {
  const heard: number[] = []
  using server = Bun.listen({
    hostname: '127.0.0.1',
    port: 0,
    socket: {
      data(socket, bytes) {
        heard.push(bytes.length)
        if (heard.length === 1) socket.write('N')
        else socket.end()
      },
    },
  })
  const url = `postgres://a:canary@127.0.0.1:${server.port}/b?sslmode=${mode}`
  expect(await claim(url)).toThrow(/speaks no TLS: turn it on/)
  expect(heard[0]).toBe(8)
})

test('a database that can only be read or has another encoding is refused', async () => {
  const url = addressOf(await ownDatabase('reading'))
  await sql`alter database ${sql(`reading_${run}`)} set default_transaction_read_only = on`
  expect(await claim(url)).toThrow(/can only be read/)
  const old = `ascii_${run}`
  made.push(old)
  await sql.unsafe(
    `create database ${old} owner ${account} encoding 'SQL_ASCII' template template0 locale 'C'`,
  )
  expect(await claim(addressOf(old))).toThrow(/encoding SQL_ASCII: make one with ENCODING 'UTF8'/)
})

test('an empty database is refused where the data directory has used one before', async () => {
  const url = addressOf(await ownDatabase('fresh'))
  expect(await claim(url, 'one', true)).toThrow(/is empty, and the data directory has used one/)
  expect(await claim(url, 'one')).not.toThrow()
})
