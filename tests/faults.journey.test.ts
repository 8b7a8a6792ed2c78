import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { until } from '@bmm/lib/testing-until'
import { z } from 'zod'
import {
  type Account,
  callTool,
  obtainTokens,
  refresh,
  type Served,
  serve,
  signUp,
  type Tokens,
  textOf,
  tokensFrom,
} from './account.ts'
import { auditProcesses } from './audit.ts'
import { replaced, runningChild, supervisorPid } from './children.ts'
import { hostileSpec } from './hostile-tool.ts'
import { isGoodCall } from './patient-clients.ts'
import { guestProcesses, processes } from './processes.ts'
import { bmm, type Stack, startStack } from './stack.ts'
import { openStackSql, postgresText } from './traces.ts'
import { startUpstream, type Upstream } from './upstream.ts'

const apiKey = 'faults-4be1c0'
/** Some seconds on a machine that has nothing else to do; nothing waits for a time-out of minutes. */
const UP_AGAIN_MS = 90_000
const serverSchema = z.object({ state: z.string(), version: z.number() })

let stack: Stack
let upstream: Upstream
let account: Account
let server: Served
let tokens: Tokens

beforeAll(async () => {
  upstream = startUpstream(apiKey)
  stack = await startStack()
  await stack.run('targets', 'allow', upstream.target, '--everyone')
  account = await signUp(stack, 'faults@example.com')
  server = await serve(account, wanted('faults'))
  tokens = await obtainTokens(stack, account, server.url)
}, 180_000)
afterAll(async () => {
  await stack?.[Symbol.asyncDispose]()
  await upstream?.[Symbol.asyncDispose]()
})

function wanted(slug: string) {
  const spec = hostileSpec(upstream.origin, 'https://example.com')
  return { source: { spec }, slug, credentials: [{ name: 'API_KEY', value: apiKey }] }
}

const serverState = async (slug: string) =>
  serverSchema.parse(await account.get(`/v1/servers/${slug}`))

function readQuietly(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

describe('a deletion', () => {
  test('that is killed midway ends with nothing left', async () => {
    const slug = 'deleted-midway'
    const doomed = await serve(account, wanted(slug))
    const own = await obtainTokens(stack, account, doomed.url)
    expect(isGoodCall(await callTool(doomed.url, own.accessToken, { name: 'honest' }))).toBe(true)
    // With the runner stopped, the deletion has to wait for it: there it is killed.
    const runner = runningChild(stack, 'runner')
    process.kill(runner, 'SIGSTOP')
    const deletion = account.ask('DELETE', `/v1/servers/${slug}`).catch(() => undefined)
    try {
      await until(async () => (await gone(own, doomed)) !== undefined, 'the deletion has begun')
      await replaced(stack, 'generator')
    } finally {
      process.kill(runner, 'SIGCONT')
    }
    await deletion
    await until(async () => {
      const answer = await account.ask('GET', `/v1/servers/${slug}`)
      return answer.status === 404
    }, 'the server is gone')
    expect([401, 404, 410]).toContain((await gone(own, doomed)) ?? 200)
    expect((await refresh(stack.gateway, own)).status).toBe(400)
    const rows = (await postgresText(stack)).split('\n')
    const left = sectionsNaming(rows, doomed.id)
    // The tombstone keeps the slug, the stop keeps the server stopped; nothing of it can run or be read.
    const mustBeGone = /^(secrets\.secrets|generator\.(versions|modules|drafts)|runner\.run_lines)$/
    expect(left.filter((table) => mustBeGone.test(table))).toEqual([])
    const sql = openStackSql(stack)
    const kept = await sql`
      select spec is null and module is null as empty from runner.deployments
      where server_id = ${doomed.id}`
    await sql.end({ timeout: 5 })
    expect(kept.map((row) => row.empty)).toEqual(kept.map(() => true))
    expect(isGoodCall(await callTool(server.url, tokens.accessToken, { name: 'honest' }))).toBe(
      true,
    )
  }, 120_000)
})

test('a slug whose first build failed is free again once its server is deleted', async () => {
  const broken = wanted('second-try')
  const [tool] = broken.source.spec.tools
  if (tool === undefined) throw new Error('the spec has no tool')
  const spec = {
    ...broken.source.spec,
    tools: [{ ...tool, implementation: 'return eval(input.code)' }],
  }
  const file = join(stack.data, 'broken.json')
  writeFileSync(file, JSON.stringify(spec))
  await stack.run('login', '--email', 'second-try@example.com')
  const create = ['servers', 'create', '--spec', file, '--slug', 'second-try', '--access', 'anyone']
  const failed = await stack.attempt(...create)
  expect(failed.code).toBe(1)
  expect(failed.stderr).toContain('free again after: ./bmm servers delete second-try --yes')
  expect((await stack.attempt(...create)).stderr).toContain('taken')
  await stack.run('servers', 'delete', 'second-try', '--yes')
  writeFileSync(file, JSON.stringify(broken.source.spec))
  expect(await stack.run(...create)).toContain('/s/second-try/mcp')
}, 120_000)

/** The status that a call to it is refused with; undefined while it is answered. */
async function gone(own: Tokens, doomed: Served): Promise<number | undefined> {
  const signal = AbortSignal.timeout(5_000)
  const answer = await callTool(doomed.url, own.accessToken, { name: 'none' }, signal)
  return answer.status === 200 ? undefined : answer.status
}

/** Tables of a dump with a row that names an id. */
function sectionsNaming(rows: readonly string[], id: string): string[] {
  const tables = new Set<string>()
  let table = ''
  for (const row of rows) {
    if (/^[a-z]+\.[a-z_]+$/.test(row)) table = row
    else if (row.includes(id)) tables.add(table)
  }
  return [...tables]
}

describe('kill -9 of the supervisor', () => {
  let oldMark: string

  test('leaves no process behind', async () => {
    oldMark = join(dirname(stack.mailbox), 'left-behind')
    writeFileSync(oldMark, '')
    const guests = new Set(await guestProcesses(stack))
    expect(guests.size).toBeGreaterThan(0)
    process.kill(supervisorPid(stack), 'SIGKILL')
    const run = dirname(stack.mailbox)
    await until(async () => {
      const ours = processes().filter(({ command }) => command.includes(run))
      return ours.length === 0 && (await guestProcesses(stack)).length === 0
    }, 'nothing of it runs')
  })

  test('the next up clears what was left, soon, and old tokens and sessions go on', async () => {
    const startedAt = performance.now()
    const again = await bmm(['up', '--data', stack.data, '--detach', '--json'])
    const tookMs = Math.round(performance.now() - startedAt)
    expect([again.code, again.stderr.includes('not')]).toEqual([0, false])
    process.stdout.write(`up again after ${tookMs} ms\n`)
    expect(tookMs).toBeLessThan(UP_AGAIN_MS)
    expect(existsSync(oldMark)).toBe(false)
    expect(JSON.parse(again.stdout)).toMatchObject({ gateway: stack.gateway })
    expect(readQuietly('/proc/self/mounts')).not.toContain(dirname(stack.mailbox))
    await until(async () => (await auditProcesses(stack)).length === 0, 'nothing is an orphan')

    expect((await serverState('faults')).state).toBe('live')
    const answer = await callTool(server.url, tokens.accessToken, { name: 'honest' })
    expect(JSON.parse(textOf(answer))).toMatchObject({ status: 200 })
    const { accessToken } = tokensFrom(await refresh(stack.gateway, tokens))
    expect(isGoodCall(await callTool(server.url, accessToken, { name: 'honest' }))).toBe(true)
  }, 120_000)
})
