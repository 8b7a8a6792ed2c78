import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { z } from 'zod'
import {
  type Account,
  callTool,
  confirm,
  finishedBuild,
  obtainCode,
  obtainTokens,
  redeem,
  refresh,
  registerClient,
  type Served,
  serve,
  signUp,
  type Tokens,
  textOf,
  tokensFrom,
} from './account.ts'
import { children, isReady, replaced, runningChild, supervisorPid, until } from './children.ts'
import { hostileSpec } from './hostile-tool.ts'
import { isGoodCall, startClients, unclear } from './patient-clients.ts'
import { guestProcesses, processes, stackGroup } from './processes.ts'
import { bmm, type Stack, startStack } from './stack.ts'
import { openStackSql, postgresText } from './traces.ts'
import { startUpstream, type Upstream } from './upstream.ts'

const apiKey = 'faults-4be1c0'
/** Generous: two cores may be shared with other tests. */
const AGAIN_MS = 45_000
const serverSchema = z.object({ state: z.string(), version: z.number() })

let stack: Stack
let upstream: Upstream
let account: Account
let server: Served
let tokens: Tokens
let clientId: string

beforeAll(async () => {
  upstream = startUpstream(apiKey)
  stack = await startStack()
  await stack.run('targets', 'allow', upstream.target)
  account = await signUp(stack, 'faults@example.com')
  server = await serve(account, wanted('faults'))
  tokens = await obtainTokens(stack, account, server.url)
  clientId = await registerClient(stack.gateway)
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

/** Sandboxes that no living runner, broker and keeper can know. */
async function orphans(): Promise<string[]> {
  const known = ['runner', 'broker', 'keeper'].map(
    (name) => startTicks(runningChild(stack, name)) ?? 0,
  )
  const youngest = Math.max(...known)
  const guests = await guestProcesses(stack)
  return guests
    .map((pid) => ({ pid, ticks: startTicks(pid) }))
    .filter(({ ticks }) => ticks !== undefined && ticks < youngest)
    .map(({ pid }) => `process ${pid} is older than who should know it`)
    .concat(emptyGroups(new Set(guests)))
}

/** Control groups of slots in which nothing runs. */
function emptyGroups(guests: ReadonlySet<number>): string[] {
  const group = ['/sys/fs/cgroup/pids', '/sys/fs/cgroup']
    .map((root) => join(root, stackGroup(stack)))
    .find((path) => existsSync(path))
  if (group === undefined) throw new Error('the stack has no control group')
  return readdirSync(group, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .filter(({ name }) => {
      const members = readQuietly(join(group, name, 'cgroup.procs'))
        .trim()
        .split('\n')
      return !members.some((pid) => guests.has(Number(pid)))
    })
    .map(({ name }) => `control group ${name} has nothing in it`)
}

/** When a process started, in the kernel's ticks; undefined when it is gone. */
function startTicks(pid: number): number | undefined {
  const stat = readQuietly(`/proc/${pid}/stat`)
  if (stat === '') return undefined
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19])
}

function readQuietly(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

describe('kill -9 during builds, calls and token exchanges', () => {
  test.each([...children])(
    'of %s: clear errors meanwhile, nothing half done, and all goes on',
    async (victim) => {
      const slug = `while-${victim}`
      const resource = server.url
      const code = await obtainCode(stack, account, { clientId, resource })
      const clients = startClients(stack, { account, server, tokens })
      await until('calls work before', () => clients.goodCalls() > 0)
      const built = await confirm(account, wanted(slug))
      const redeemed = redeem(stack.gateway, { clientId, resource, ...code }).catch(() => undefined)
      await replaced(stack, victim)

      const [calls, refreshes] = [clients.goodCalls(), clients.goodRefreshes()]
      const enough = () => clients.goodCalls() > calls + 3 && clients.goodRefreshes() > refreshes
      await until('calls and refreshes work again', enough, AGAIN_MS)
      await until('all is ready', () => isReady(stack), AGAIN_MS)
      await clients.stop()
      tokens = clients.tokens()

      const faults = clients.outcomes.map((outcome) => unclear(outcome, victim === 'gateway'))
      expect(faults.filter((fault) => fault !== undefined)).toEqual([])
      const answer = await redeemed
      if (answer !== undefined) expect([200, 400, 503]).toContain(answer.status)

      const build = await finishedBuild(account, built.buildId, AGAIN_MS)
      expect(['succeeded', 'failed']).toContain(build.state)
      const { state, version } = await serverState(slug)
      if (build.state === 'succeeded') {
        expect([state, version]).toEqual(['live', 1])
        const own = await obtainTokens(stack, account, built.url)
        expect(isGoodCall(await callTool(built.url, own.accessToken, { name: 'honest' }))).toBe(
          true,
        )
      } else {
        expect([state, version, build.message]).toEqual(['failed', 0, expect.stringMatching(/\.$/)])
      }
      await until('no sandbox is an orphan', async () => (await orphans()).length === 0)
    },
    180_000,
  )
})

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
      await until('the deletion has begun', async () => (await gone(own, doomed)) !== undefined)
      await replaced(stack, 'generator')
    } finally {
      process.kill(runner, 'SIGCONT')
    }
    await deletion
    await until('the server is gone', async () => {
      const answer = await account.ask('GET', `/v1/servers/${slug}`)
      return answer.status === 404
    })
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
    await until('nothing of it runs', async () => {
      const ours = processes().filter(({ command }) => command.includes(run))
      return ours.length === 0 && (await guestProcesses(stack)).length === 0
    })
  })

  test('the next up clears what was left, soon, and old tokens and sessions go on', async () => {
    const startedAt = performance.now()
    const again = await bmm(['up', '--data', stack.data, '--detach', '--json'])
    const tookMs = Math.round(performance.now() - startedAt)
    expect([again.code, again.stderr.includes('not')]).toEqual([0, false])
    process.stdout.write(`up again after ${tookMs} ms\n`)
    expect(tookMs).toBeLessThan(30_000)
    expect(existsSync(oldMark)).toBe(false)
    expect(JSON.parse(again.stdout)).toMatchObject({ gateway: stack.gateway })
    expect(readQuietly('/proc/self/mounts')).not.toContain(dirname(stack.mailbox))
    await until('no sandbox is an orphan', async () => (await orphans()).length === 0)

    expect((await serverState('faults')).state).toBe('live')
    const answer = await callTool(server.url, tokens.accessToken, { name: 'honest' })
    expect(JSON.parse(textOf(answer))).toMatchObject({ status: 200 })
    const { accessToken } = tokensFrom(await refresh(stack.gateway, tokens))
    expect(isGoodCall(await callTool(server.url, accessToken, { name: 'honest' }))).toBe(true)
  }, 120_000)
})
