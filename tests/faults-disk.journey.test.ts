import { afterAll, beforeAll, expect, test } from 'bun:test'
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { until } from '@bmm/lib/testing-until'
import { type Account, obtainTokens, type Served, serve, signUp, type Tokens } from './account.ts'
import { auditLogs, auditProcesses, auditTables } from './audit.ts'
import { isReady } from './children.ts'
import { seen, undocumented } from './outage-answers.ts'
import { startClients } from './patient-clients.ts'
import { type Stack, startStack } from './stack.ts'
import { startStorm, startWitness, type Witness, witnessSpec } from './storm.ts'
import { openStackSql } from './traces.ts'

const DISK_MB = 256
const FULL_MS = 12_000
/** Of one demand: Postgres stops while the first one waits. */
const DEMAND_MS = 2_000
const AGAIN_MS = 45_000
const BLOCK = Buffer.alloc(64 * 1024, 1)

let stack: Stack
let data: string
let witness: Witness
let account: Account
let server: Served
let tokens: Tokens

beforeAll(async () => {
  witness = startWitness()
  data = mkdtempSync(join(tmpdir(), 'bmm-disk-'))
  run('mount', '-t', 'tmpfs', '-o', `size=${DISK_MB}m,mode=700`, 'bmm-small-disk', data)
  stack = await startStack('bwrap', {}, data)
  await stack.run('targets', 'allow', witness.target, '--everyone')
  account = await signUp(stack, 'disk@example.com')
  server = await serve(account, {
    source: { spec: witnessSpec(witness.origin) },
    slug: 'steady',
    credentials: [{ name: 'API_KEY', value: 'steady' }],
  })
  tokens = await obtainTokens(stack, account, server.url)
}, 180_000)
afterAll(async () => {
  await stack?.run('down')
  if (data !== undefined) run('umount', data)
  await stack?.[Symbol.asyncDispose]()
  witness?.[Symbol.dispose]()
})

function run(...command: string[]): void {
  const { exitCode, stderr } = Bun.spawnSync(command)
  if (exitCode !== 0) throw new Error(`${command.join(' ')}: ${stderr}`)
}

const filler = () => join(data, 'filler')

/** Takes what room there is, again and again, since others free some meanwhile. */
function fill(): void {
  const file = openSync(filler(), 'a')
  try {
    for (;;) writeSync(file, BLOCK)
  } catch {
    // Full.
  } finally {
    closeSync(file)
  }
}

/** The log that must be written before anything is true needs a new file: Postgres cannot but stop itself. */
async function demandLogFile(): Promise<void> {
  const sql = openStackSql(stack)
  try {
    await sql`select pg_switch_wal()`
    await sql`select pg_logical_emit_message(true, 'full', 'disk')`
  } catch {
    // It stops, or is down already.
  } finally {
    await sql.end({ timeout: 1 })
  }
}

test('a full disk: clear errors, then everything goes on with nothing lost', async () => {
  const clients = startClients(stack, { account, server, tokens })
  const own = await obtainTokens(stack, account, server.url)
  const storm = startStorm({ stack, account, server, tokens: own, witness, random: Math.random })
  await until(() => storm.servers.length > 1, 'servers are made before')
  const startedAt = performance.now()
  let goodBefore = 0
  try {
    while (performance.now() - startedAt < FULL_MS) {
      fill()
      await Promise.race([demandLogFile(), Bun.sleep(DEMAND_MS)])
      if (goodBefore === 0) goodBefore = clients.goodCalls()
      await Bun.sleep(250)
    }
    expect(clients.goodCalls()).toBeGreaterThan(goodBefore)
    expect(await isReady(stack)).toBe(false)
  } finally {
    rmSync(filler(), { force: true })
  }
  const freedAt = performance.now()
  await until(() => isReady(stack), 'all is ready', AGAIN_MS)
  const refreshes = clients.goodRefreshes()
  await until(() => clients.goodRefreshes() > refreshes, 'refreshes work again', AGAIN_MS)
  process.stdout.write(`again after ${Math.round(performance.now() - freedAt)} ms\n`)
  await storm.stop()
  await clients.stop()

  const outcomes = [...clients.outcomes, ...storm.outcomes]
  process.stdout.write(`${JSON.stringify(seen(outcomes))}\n`)
  const faults = outcomes.flatMap((outcome) => undocumented(outcome, false) ?? [])
  expect([...new Set(faults), ...clients.wronglySignedOut()]).toEqual([])
  expect(auditLogs(stack)).toEqual([])
  await until(async () => (await auditTables(stack)).length === 0, 'nothing is half done', AGAIN_MS)
  await until(async () => (await auditProcesses(stack)).length === 0, 'nothing is left')
  for (const { slug, state } of storm.servers) {
    const shown = await account.ask('GET', `/v1/servers/${slug}`)
    const is = /"state":"(\w+)"/.exec(shown.text)?.[1] ?? 'deleted'
    expect([slug, is]).toEqual([slug, state])
  }
}, 180_000)
