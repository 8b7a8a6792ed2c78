import { afterAll, beforeAll, expect, test } from 'bun:test'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import {
  type Account,
  callTool,
  obtainTokens,
  type Served,
  serve,
  signUp,
  type Tokens,
  textOf,
} from './account.ts'
import { supervisorPid } from './children.ts'
import { type OperatorStores, startOperatorStores } from './operator-stores.ts'
import { descendants, guestProcesses } from './processes.ts'
import { bmm, driverEnv, type Stack, startStack } from './stack.ts'
import { filesUnder, type Secrets, tracesIn } from './traces.ts'
import { startUpstream, type Upstream } from './upstream.ts'

const apiKey = 'stores-canary-77b0c2d7e9a41'
/** Those that own a schema. */
const owners = ['auth', 'broker', 'generator', 'runner', 'secrets']

let stores: OperatorStores
let upstream: Upstream
let stack: Stack
let account: Account
let server: Served
let tokens: Tokens

beforeAll(async () => {
  upstream = startUpstream(apiKey)
  stores = await startOperatorStores(['platform', 'spare', 'empty'])
  stack = await startStack('bwrap', addresses('platform'))
  await stack.run('targets', 'allow', upstream.target, '--everyone')
}, 120_000)
afterAll(async () => {
  await stack?.[Symbol.asyncDispose]()
  await stores?.[Symbol.asyncDispose]()
  await upstream?.[Symbol.asyncDispose]()
})

function addresses(database: string): Record<string, string> {
  return { DATABASE_URL: stores.databaseUrl(database), REDIS_URL: stores.redisUrl }
}

const up = (data: string, database: string) =>
  bmm(['up', '--data', data, '--port', '0', '--detach', '--json'], {
    env: { ...driverEnv('bwrap'), ...addresses(database) },
  })
const call = async () =>
  textOf(await callTool(server.url, tokens.accessToken, { name: 'getItem', args: { id: '7' } }))

test('a server is created and called, by services that each came encrypted and as themselves', async () => {
  account = await signUp(stack, 'operator@example.com')
  server = await serve(account, {
    source: { document: upstream.document },
    slug: 'operated',
    credentials: [{ name: 'KEY', value: apiKey }],
  })
  tokens = await obtainTokens(stack, account, server.url)
  expect(await call()).toContain('Item 7')
  const rows = await stores.sql<{ name: string; role: string; encrypted: boolean }[]>`
    select distinct application_name as name, usename as role, ssl as encrypted
    from pg_stat_activity join pg_stat_ssl using (pid) where datname = 'platform' order by 1`
  expect([...rows]).toEqual(
    owners.map((name) => ({ name: `bmm-${name}`, role: `platform_${name}`, encrypted: true })),
  )
})

test('its passwords are in no log, file or command, and in the environment of whom they are for only', async () => {
  const operators: Secrets = new Map([
    ['the password of DATABASE_URL', stores.passwords.database],
    ['the password of REDIS_URL', stores.passwords.redis],
  ])
  const roles = owners.map((name) => {
    const file = join(stack.data, 'keys', `postgres-${name}.password`)
    return [`the role of ${name}`, readFileSync(file, 'utf8')] as const
  })
  const supervisor = supervisorPid(stack)
  const pids = [...descendants(supervisor), ...(await guestProcesses(stack))]
  const holders: [string, string[]][] = []
  for (const pid of pids) {
    const command = readOf(`/proc/${pid}/cmdline`)
    expect(tracesIn(command, new Map([...operators, ...roles]))).toEqual([])
    const traces = tracesIn(decodedOf(`/proc/${pid}/environ`), new Map([...operators, ...roles]))
    const main = /services\/(\S+)\/main\.ts/.exec(command.toString().replaceAll('\0', ' '))?.[1]
    if (traces.length > 0) holders.push([basename(main ?? command.toString()), traces])
  }
  const redis = 'the password of REDIS_URL (clear)'
  expect(Object.fromEntries(holders)).toEqual({
    auth: [redis, 'the role of auth (clear)'],
    broker: ['the role of broker (clear)'],
    gateway: [redis],
    generator: [redis, 'the role of generator (clear)'],
    runner: ['the role of runner (clear)'],
    secrets: ['the role of secrets (clear)'],
  })
  for (const folder of [stack.data, dirname(stack.mailbox)]) {
    for (const { path, bytes } of filesUnder(folder)) {
      expect([path, tracesIn(bytes, operators)]).toEqual([path, []])
    }
  }
  // A server that logs its statements learns of roles, but of none of their passwords.
  const statements = stores.statements()
  expect(statements).toContain('alter role platform_secrets')
  expect(tracesIn(statements, new Map(roles))).toEqual([])
})

test('other stacks are kept off its stores, and it off others’', async () => {
  const second = mkdtempSync(join(tmpdir(), 'bmm-journey-'))
  try {
    const taken = await up(second, 'platform')
    expect([taken.code, taken.stdout]).toEqual([1, expect.stringContaining('"database_taken"')])
    const shared = await up(second, 'spare')
    expect([shared.code, shared.stdout]).toEqual([1, expect.stringContaining('"redis_taken"')])
  } finally {
    await bmm(['down', '--data', second])
    rmSync(second, { recursive: true, force: true })
  }
})

test('the data directory does not start on an empty database, and finds everything on its own', async () => {
  await stack.run('down')
  const elsewhere = await up(stack.data, 'empty')
  expect([elsewhere.code, elsewhere.stdout]).toEqual([
    1,
    expect.stringContaining('"database_empty"'),
  ])
  await stack.restart()
  expect(await call()).toContain('Item 7')
  expect(readdirSync(stack.data)).not.toContainAnyValues(['postgres', 'redis'])
})

function readOf(path: string): Buffer {
  try {
    return readFileSync(path)
  } catch {
    // The process has ended.
    return Buffer.alloc(0)
  }
}

/** An address holds a password with its special characters encoded. */
function decodedOf(path: string): string {
  return readOf(path)
    .toString()
    .replaceAll(/%[0-9A-F]{2}/g, decodeURIComponent)
}
