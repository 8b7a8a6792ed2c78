/** Looking for a secret wherever it could have been left, in every form that somebody might have written it in. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { openSql, type Sql } from '@bmm/lib/sql'
import Redis from 'ioredis'
import type { Stack } from './stack.ts'

export type Forms = { name: string; bytes: Buffer }[]

/** A secret as it is, and as encoders, editors and people would write it. */
export function formsOf(secret: string): Forms {
  const plain = Buffer.from(secret)
  const hex = plain.toString('hex')
  const percent = hex.replaceAll(/../g, '%$&')
  return [
    { name: 'clear', bytes: plain },
    { name: 'reversed', bytes: Buffer.from([...secret].reverse().join('')) },
    { name: 'hex', bytes: Buffer.from(hex) },
    { name: 'upper hex', bytes: Buffer.from(hex.toUpperCase()) },
    { name: 'percent', bytes: Buffer.from(percent) },
    { name: 'upper percent', bytes: Buffer.from(percent.toUpperCase()) },
    { name: 'utf-16', bytes: Buffer.from(secret, 'utf16le') },
    ...[0, 1, 2].flatMap((at) => base64At(plain, at)),
  ]
}

/** Base64 of a secret that starts at this byte of a group of three, without what its neighbours decide. */
function base64At(plain: Buffer, at: number): Forms {
  const text = Buffer.concat([Buffer.alloc(at), plain])
    .toString('base64')
    .replaceAll('=', '')
  const own = text.slice(Math.ceil((at * 4) / 3), text.length - 1)
  const url = own.replaceAll('+', '-').replaceAll('/', '_')
  return [
    { name: `base64 at ${at}`, bytes: Buffer.from(own) },
    ...(url === own ? [] : [{ name: `base64url at ${at}`, bytes: Buffer.from(url) }]),
  ]
}

/** Secrets by what they are called in a failed test: their values would stand in its log. */
export type Secrets = ReadonlyMap<string, string>

/** Which secrets stand in it, and in which form; empty when none does. */
export function tracesIn(found: string | Buffer, secrets: Secrets): string[] {
  const bytes = typeof found === 'string' ? Buffer.from(found) : found
  return [...secrets].flatMap(([label, secret]) =>
    formsOf(secret)
      .filter((form) => bytes.includes(form.bytes))
      .map((form) => `${label} (${form.name})`),
  )
}

/** The stack's database as its superuser, whom no service is. */
export function openStackSql(stack: Stack): Sql {
  const password = readFileSync(join(stack.data, 'keys', 'postgres.password'), 'utf8')
  const socket = join(stack.mailbox, '..', 'postgres')
  const url = `postgres://postgres:${password}@localhost/bmm?host=${socket}`
  return openSql(url, { schema: 'public', max: 1 })
}

/** Every row of every table of every schema as text, bytes as hexadecimal. */
export async function postgresText(stack: Stack): Promise<string> {
  const sql = openStackSql(stack)
  try {
    const tables = await sql<{ schema: string; name: string }[]>`
      select schemaname as schema, tablename as name from pg_tables
      where schemaname not in ('pg_catalog', 'information_schema')
      order by 1, 2`
    const texts: string[] = []
    for (const { schema, name } of tables) {
      const rows = await sql<{ line: string }[]>`
        select each::text as line from ${sql(`${schema}.${name}`)} as each`
      texts.push(`${schema}.${name}`, ...rows.map((row) => row.line))
    }
    return texts.join('\n')
  } finally {
    await sql.end({ timeout: 5 })
  }
}

/** Every key and value of every database of the stack's Redis. */
export async function redisText(stack: Stack): Promise<string> {
  const password = readFileSync(join(stack.data, 'keys', 'redis.password'), 'utf8')
  const redis = new Redis(join(stack.mailbox, '..', 'redis', 'redis.sock'), { password })
  try {
    const texts: string[] = []
    const [, databases = '0'] = (await redis.config('GET', 'databases')) as string[]
    for (let database = 0; database < Number(databases); database++) {
      await redis.select(database)
      for (const key of await redis.keys('*')) texts.push(key, await valueText(redis, key))
    }
    return texts.join('\n')
  } finally {
    redis.disconnect()
  }
}

async function valueText(redis: Redis, key: string): Promise<string> {
  switch (await redis.type(key)) {
    case 'string':
      return String(await redis.get(key))
    case 'hash':
      return JSON.stringify(await redis.hgetall(key))
    case 'list':
      return JSON.stringify(await redis.lrange(key, 0, -1))
    case 'set':
      return JSON.stringify(await redis.smembers(key))
    case 'zset':
      return JSON.stringify(await redis.zrange(key, '0', '-1', 'WITHSCORES'))
    case 'stream':
      return JSON.stringify(await redis.xrange(key, '-', '+'))
    default:
      return ''
  }
}

/** Every file below a folder, without those that vanish meanwhile. Links and sockets are left out. */
export function* filesUnder(folder: string): Generator<{ path: string; bytes: Buffer }> {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) yield* filesUnder(path)
    if (!entry.isFile()) continue
    try {
      yield { path, bytes: readFileSync(path) }
    } catch {
      // Postgres and the stack remove files while they are listed.
    }
  }
}
