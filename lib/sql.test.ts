import { afterAll, beforeAll, expect, test } from 'bun:test'
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { inTransaction, migrate, openSql, readMigrations, type Sql } from './sql.ts'
import { type TestDatabase, testDatabase } from './testing.ts'
import { outcomeOf } from './testing-outcome.ts'
import { startWay } from './testing-way.ts'

let database: TestDatabase
let folder: string

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'bmm-migrations-'))
  writeFileSync(join(folder, '0001-first.sql'), 'create table things (id integer primary key);')
  database = await testDatabase('sqltest', folder)
})
afterAll(async () => {
  await database[Symbol.asyncDispose]()
  rmSync(folder, { recursive: true, force: true })
})

const migration = (name: string, text: string) => {
  writeFileSync(join(folder, name), text)
  return readMigrations(folder)
}

test('migrations run once, also when ten processes start together', async () => {
  const migrations = migration('0002-second.sql', 'insert into things values (1);')
  const pools = Array.from({ length: 10 }, () =>
    openSql(database.url, { schema: 'sqltest', max: 1 }),
  )
  await Promise.all(pools.map((pool) => migrate(pool, 'sqltest', migrations)))
  expect(await count(database.sql)).toBe(1)
  await Promise.all(pools.map((pool) => pool.end()))
})

test('migrations wait for a database that comes a little later', async () => {
  const url = new URL(database.url)
  const socketFolder = url.searchParams.get('host') ?? ''
  const later = join(mkdtempSync(join(tmpdir(), 'bmm-later-')), 'socket')
  url.searchParams.set('host', later)
  const sql = openSql(url.href, { schema: 'sqltest', max: 1 })
  const done = migrate(sql, 'sqltest', readMigrations(folder))
  expect(await Promise.race([done, Bun.sleep(400).then(() => 'waiting')])).toBe('waiting')
  symlinkSync(socketFolder, later)
  await done
  await sql.end()
  rmSync(dirname(later), { recursive: true })
})

test('connections that lead nowhere any more are given up, queries say so, and new ones serve', async () => {
  const url = new URL(database.url)
  await using way = await startWay(join(url.searchParams.get('host') ?? '', '.s.PGSQL.5432'))
  url.searchParams.set('host', dirname(way.socket))
  const options = { schema: 'sqltest', max: 2, statementTimeoutMs: 600 }
  const sql = openSql(url.href, options)
  await Promise.all([sql`select pg_sleep(0.1)`, sql`select pg_sleep(0.1)`])
  way.break()
  const held = inTransaction(sql, (transaction) => transaction`select 1`)
  const lost = await Promise.all([outcomeOf(held), outcomeOf(sql`select 2`.execute())])
  for (const outcome of lost) expect(outcome).toThrow(/CONNECTION_CLOSED/)
  expect([...(await sql`select 3 as answer`)]).toEqual([{ answer: 3 }])
  // A server that answers late is waited for.
  expect(await outcomeOf(sql`select pg_sleep(5)`.execute())).toThrow(/statement timeout/)
  await sql.end({ timeout: 1 })
})

test('a changed or vanished migration stops the start and applies nothing', async () => {
  const migrations = migration('0003-third.sql', 'insert into things values (2);')
  const changed = migrations.map((m, index) => (index === 0 ? { ...m, checksum: 'x' } : m))
  expect(await outcomeOf(migrate(database.sql, 'sqltest', changed))).toThrow(/0001-first.sql/)
  expect(await outcomeOf(migrate(database.sql, 'sqltest', migrations.slice(1)))).toThrow(/changed/)
  expect(await count(database.sql)).toBe(1)
})

test('a failing migration leaves nothing behind', async () => {
  const migrations = migration('0004-broken.sql', 'insert into things values (3); select 1/0;')
  expect(await outcomeOf(migrate(database.sql, 'sqltest', migrations))).toThrow(/division/)
  expect(await count(database.sql)).toBe(1)
})

test('a file that is no migration is refused', () => {
  writeFileSync(join(folder, 'notes.txt'), 'x')
  expect(() => readMigrations(folder)).toThrow(/notes.txt/)
})

test('a transaction whose work throws is rolled back', async () => {
  const work = inTransaction(database.sql, async (transaction) => {
    await transaction`insert into things values (9)`
    throw new Error('changed my mind')
  })
  expect(await outcomeOf(work)).toThrow('changed my mind')
  expect(await count(database.sql)).toBe(1)
})

test('a connection that breaks under a transaction fails it, not the process, and the pool goes on', async () => {
  const sql = openSql(database.url, { schema: 'sqltest', max: 1 })
  for (let round = 0; round < 20; round++) {
    const work = inTransaction(sql, async (transaction) => {
      const [row] = await transaction<{ pid: number }[]>`select pg_backend_pid() as pid`
      await database.sql`select pg_terminate_backend(${row?.pid ?? 0})`
      await Bun.sleep(round / 4)
      // The first may find the connection broken, the second finds it gone.
      await transaction`select ${'a'.repeat(round * 100)}::text`.catch(() => {})
      await transaction`select 2`
    })
    expect(await outcomeOf(work)).toThrow()
    // The pool may hand the broken one out once more before it hears of its end.
    const again = () => sql`select 1 as one`
    expect(await again().catch(again)).toHaveLength(1)
  }
  await sql.end()
})

async function count(sql: Sql): Promise<number> {
  const [row] = await sql<{ n: number }[]>`select count(*)::int as n from things`
  return row?.n ?? -1
}

test('a migration that arrives after a later one is applied, and none is applied twice', async () => {
  const pool = openSql(database.url, { schema: 'between', max: 1 })
  const made = (name: string, text: string) => ({ name, text, checksum: name })
  const first = made('0001-first.sql', 'create table things (id int);')
  const second = made('0002-second.sql', 'insert into things values (2);')
  const third = made('0003-third.sql', 'insert into things values (3);')
  for (const present of [
    [first, third],
    [first, second, third],
    [first, second, third],
  ]) {
    await migrate(pool, 'between', present)
  }
  const rows = await pool<{ id: number }[]>`select id from things order by id`
  expect(rows.map((row) => row.id)).toEqual([2, 3])
  await pool.end()
})
