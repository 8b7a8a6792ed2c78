import { afterAll, afterEach, beforeAll, describe, expect, test } from 'bun:test'
import { until } from '@bmm/lib/testing-until'
import {
  type Account,
  callTool,
  confirm,
  finishedBuild,
  obtainTokens,
  type Served,
  serve,
  signUp,
  type Tokens,
} from './account.ts'
import { auditLogs, auditProcesses, auditTables } from './audit.ts'
import { isReady, replaced, runningChild, supervisorPid } from './children.ts'
import { seen, undocumented } from './outage-answers.ts'
import { isGoodCall, startClients } from './patient-clients.ts'
import { parentOf, processes } from './processes.ts'
import { type Stack, startStack } from './stack.ts'
import { startWitness, type Witness, witnessSpec } from './storm.ts'

const OUTAGE_MS = 15_000
/** Revocations that are older than this are not good enough to call by. */
const FRESH_MS = 10_000
const AGAIN_MS = 30_000
const STEP_MS = 50
/** Into the outage. */
const STEADY_MS = 2_000
const SLACK_MS = 3_000

let stack: Stack
let witness: Witness
let account: Account
let server: Served
let tokens: Tokens

beforeAll(async () => {
  witness = startWitness()
  stack = await startStack()
  await stack.run('targets', 'allow', witness.target, '--everyone')
  account = await signUp(stack, 'stores@example.com')
  server = await serve(account, wanted('steady'))
  tokens = await obtainTokens(stack, account, server.url)
}, 180_000)
afterAll(async () => {
  await stack?.[Symbol.asyncDispose]()
  witness?.[Symbol.dispose]()
})

function wanted(slug: string) {
  const spec = witnessSpec(witness.origin)
  return { source: { spec }, slug, credentials: [{ name: 'API_KEY', value: slug }] }
}

type Store = 'postgres' | 'redis'

/** SIGSTOP: connections stay, and nobody answers on them. */
function hang(...stores: Store[]): () => void {
  const mains = stores.map((store) => runningChild(stack, store))
  const children = processes().filter(({ pid }) => mains.includes(parentOf(pid) ?? 0))
  const all = [...mains, ...children.map(({ pid }) => pid)]
  for (const pid of all) signal(pid, 'SIGSTOP')
  return () => {
    for (const pid of all) signal(pid, 'SIGCONT')
  }
}

/** SIGKILL while nobody starts it again: connections break, new ones are refused. */
function remove(...stores: Store[]): () => void {
  const supervisor = supervisorPid(stack)
  process.kill(supervisor, 'SIGSTOP')
  for (const store of stores) process.kill(runningChild(stack, store), 'SIGKILL')
  return () => process.kill(supervisor, 'SIGCONT')
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name)
  } catch {
    // It ended by itself.
  }
}

/** What is said to clients during an outage and after it, and whether all is well again by itself. */
async function during(outage: () => () => void, lastsMs = OUTAGE_MS) {
  const clients = startClients(stack, { account, server, tokens })
  await until(() => clients.goodCalls() > 3, 'calls work before')
  const { length: before } = clients.outcomes
  const startedAt = performance.now()
  const end = outage()
  let bare: { at: number; status: number; good: boolean }[] = []
  try {
    while (performance.now() - startedAt < lastsMs) {
      const at = performance.now() - startedAt
      const answer = await callTool(server.url, tokens.accessToken, { name: 'bare' })
      bare = [...bare, { at, status: answer.status, good: isGoodCall(answer) }]
      await Bun.sleep(STEP_MS)
    }
  } finally {
    end()
  }
  const endedAt = performance.now()
  await until(() => isReady(stack), 'all is ready', AGAIN_MS)
  const [calls, refreshes] = [clients.goodCalls(), clients.goodRefreshes()]
  const enough = () => clients.goodCalls() > calls + 3 && clients.goodRefreshes() > refreshes
  await until(enough, 'calls and refreshes work again', AGAIN_MS)
  const againMs = Math.round(performance.now() - endedAt)
  await clients.stop()
  tokens = clients.tokens()
  const outcomes = clients.outcomes.slice(before)
  process.stdout.write(`again after ${againMs} ms ${JSON.stringify(seen(outcomes))}\n`)
  const faults = outcomes.flatMap((outcome) => undocumented(outcome, false) ?? [])
  expect([...new Set(faults), ...clients.wronglySignedOut()]).toEqual([])
  expect(auditLogs(stack)).toEqual([])
  return bare
}

/** Sentences about calls that were not answered well. */
function bad(calls: Awaited<ReturnType<typeof during>>): string[] {
  return calls
    .filter(({ good }) => !good)
    .map(({ at, status }) => `${status} after ${Math.round(at)} ms`)
}

afterEach(async () => {
  await until(async () => (await auditTables(stack)).length === 0, 'nothing is half done', AGAIN_MS)
  await until(async () => (await auditProcesses(stack)).length === 0, 'nothing is left')
})

describe('Postgres away for 15 s', () => {
  test('refusing: calls go on; the rest says so; a build that had begun ends', async () => {
    const begun = await confirm(account, wanted('begun'))
    expect(bad(await during(() => remove('postgres')))).toEqual([])
    expect((await finishedBuild(account, begun.buildId)).state).toBe('succeeded')
  }, 120_000)

  test('hanging: the same', async () => {
    const begun = await confirm(account, wanted('begun-again'))
    expect(bad(await during(() => hang('postgres')))).toEqual([])
    expect((await finishedBuild(account, begun.buildId)).state).toBe('succeeded')
  }, 120_000)
})

describe('Redis away for 15 s', () => {
  test.each([
    ['refusing', () => remove('redis')],
    ['hanging', () => hang('redis')],
  ])(
    '%s: calls go on, and a server is created and deleted',
    async (how, outage) => {
      const changed = (async () => {
        await Bun.sleep(STEADY_MS)
        const made = await serve(account, wanted(`redis-${how}`))
        return account.ask('DELETE', `/v1/servers/${made.slug}`)
      })()
      expect(bad(await during(outage))).toEqual([])
      expect((await changed).status).toBe(200)
    },
    120_000,
  )

  test('hanging: a gateway that starts meanwhile serves', async () => {
    const end = hang('redis')
    try {
      await replaced(stack, 'gateway')
      const call = () => callTool(server.url, tokens.accessToken, { name: 'bare' })
      await until(
        async () => isGoodCall(await call().catch(() => undefined)),
        'a call is answered',
        AGAIN_MS / 2,
      )
    } finally {
      end()
    }
    await until(() => isReady(stack), 'all is ready', AGAIN_MS)
    expect(auditLogs(stack)).toEqual([])
  }, 120_000)
})

describe('both away for 15 s', () => {
  test.each([
    ['refusing', () => remove('postgres', 'redis')],
    ['hanging', () => hang('postgres', 'redis')],
  ])(
    '%s: calls go on until nobody knows what was revoked, then none does; soon after all do',
    async (_, outage) => {
      const calls = await during(outage)
      const early = calls.filter(({ at }) => at < FRESH_MS - SLACK_MS)
      const late = calls.filter(({ at }) => at > FRESH_MS + SLACK_MS)
      expect(bad(early)).toEqual([])
      expect([late.length > 0, new Set(late.map(({ status }) => status))]).toEqual([
        true,
        new Set([503]),
      ])
    },
    120_000,
  )
})
