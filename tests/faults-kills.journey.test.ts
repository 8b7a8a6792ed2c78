import { afterAll, beforeAll, expect, test } from 'bun:test'
import { until } from '@bmm/lib/testing-until'
import {
  type Account,
  callTool,
  obtainTokens,
  type Served,
  serve,
  signUp,
  type Tokens,
} from './account.ts'
import { auditLogs, auditProcesses, auditTables } from './audit.ts'
import { childPid, children, isReady } from './children.ts'
import { seen, undocumented } from './outage-answers.ts'
import { isGoodCall, startClients } from './patient-clients.ts'
import { guestProcesses, parentOf, processes } from './processes.ts'
import { bmm, type Stack, startStack } from './stack.ts'
import { type Promised, startStorm, startWitness, type Witness, witnessSpec } from './storm.ts'

const KILLS = 100
/** Killed together. */
const atOnce = [1, 2, 3, 4, 5]
const SHORTEST_PAUSE_MS = 200
const LONGEST_PAUSE_MS = 1_500
/** Every second time the next kills wait for the platform to come back, but no longer than this. */
const REST_MS = 8_000
const CHILD_PATIENCE_MS = 1_000
const AGAIN_MS = 60_000
/** Asked for their tokens and called one by one. */
const CALLED_LATER = 12
/** Made before, to be changed and deleted meanwhile. */
const STOCK = 8
const victims = [...children, 'a database backend', 'a child that reads documents', 'a sandbox']

const seed = Number(Bun.env.FAULTS_SEED ?? Math.floor(Math.random() * 2 ** 31))
const random = seededRandom(seed)
let stack: Stack
let witness: Witness
let account: Account
let server: Served
let tokens: Tokens
const stock: Promised[] = []

beforeAll(async () => {
  process.stdout.write(`FAULTS_SEED=${seed} repeats these kills\n`)
  witness = startWitness()
  stack = await startStack()
  await stack.run('targets', 'allow', witness.target, '--everyone')
  account = await signUp(stack, 'kills@example.com')
  server = await serve(account, {
    source: { spec: witnessSpec(witness.origin) },
    slug: 'steady',
    credentials: [{ name: 'API_KEY', value: 'steady' }],
  })
  tokens = await obtainTokens(stack, account, server.url)
  for (let index = 0; index < STOCK; index++) {
    const key = `stock-${index}`
    const served = await serve(account, {
      source: { spec: witnessSpec(witness.origin) },
      slug: key,
      credentials: [{ name: 'API_KEY', value: key }],
    })
    stock.push({ ...served, state: 'live', key })
  }
}, 240_000)
afterAll(async () => {
  await stack?.[Symbol.asyncDispose]()
  witness?.[Symbol.dispose]()
})

/** Mulberry32: good enough to choose, and the same everywhere. */
function seededRandom(from: number): () => number {
  let state = from
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

function pick<Item>(from: readonly Item[]): Item {
  const item = from[Math.floor(random() * from.length)]
  if (item === undefined) throw new Error('there is nothing to choose from')
  return item
}

/** A pid of the victim; undefined while there is none. */
async function pidOf(victim: string): Promise<number | undefined> {
  switch (victim) {
    case 'a sandbox': {
      const guests = await guestProcesses(stack)
      return guests.length === 0 ? undefined : pick(guests)
    }
    case 'a database backend':
      return childOf('postgres', ({ command }) => /bmm_\w+/.test(command))
    case 'a child that reads documents': {
      const deadline = Date.now() + CHILD_PATIENCE_MS
      for (let pid: number | undefined; Date.now() < deadline; await Bun.sleep(5)) {
        pid = childOf('generator', () => true)
        if (pid !== undefined) return pid
      }
      return undefined
    }
    default:
      return childPid(stack, victim)
  }
}

function childOf(name: string, fits: (process: { command: string }) => boolean) {
  const parent = childPid(stack, name)
  const found = processes().filter(({ pid, command }) => {
    return parentOf(pid) === parent && fits({ command })
  })
  return found.length === 0 ? undefined : pick(found).pid
}

/** Kills until the number is reached; what is down already cannot be hit and another is chosen. */
async function killMany(): Promise<Map<string, number>> {
  const killed = new Map<string, number>()
  const spared = () => victims.filter((victim) => !killed.has(victim))
  // The last kills are for those whom chance has spared.
  const isOver = () => kills >= KILLS && spared().length === 0
  let kills = 0
  while (!isOver()) {
    const together = pick(atOnce)
    for (let which = 0; which < together && !isOver(); which++) {
      const victim = pick(kills < KILLS ? victims : spared())
      const pid = await pidOf(victim)
      if (pid === undefined) continue
      try {
        process.kill(pid, 'SIGKILL')
      } catch {
        continue
      }
      kills++
      killed.set(victim, (killed.get(victim) ?? 0) + 1)
    }
    await Bun.sleep(SHORTEST_PAUSE_MS + random() * (LONGEST_PAUSE_MS - SHORTEST_PAUSE_MS))
    if (random() < 0.5) await until(() => isReady(stack), 'it is back', REST_MS).catch(() => {})
  }
  return killed
}

test(`${KILLS} kills -9 over all processes during builds, calls, token exchanges and deletions`, async () => {
  const clients = startClients(stack, { account, server, tokens })
  const own = await obtainTokens(stack, account, server.url)
  const storm = startStorm({
    stack,
    account,
    server,
    tokens: own,
    witness,
    random: Math.random,
    stock,
  })
  await until(() => clients.goodCalls() > 0, 'calls work before')
  const killed = await killMany()
  const done = () => ({ ...storm.counts(), goodRefreshes: clients.goodRefreshes() })
  process.stdout.write(`${JSON.stringify(Object.fromEntries(killed))}\n${JSON.stringify(done())}\n`)

  await until(() => isReady(stack), 'all is ready', AGAIN_MS)
  const calls = clients.goodCalls()
  await until(() => clients.goodCalls() > calls + 3, 'calls work again', AGAIN_MS)
  // What the kills held up comes to its end now: each kind of work was begun under them.
  const everyKind = () => Object.values(done()).every((count) => count > 0)
  await until(everyKind, 'work of every kind is done', AGAIN_MS)
  await storm.stop()
  await clients.stop()

  const outcomes = [...clients.outcomes, ...storm.outcomes]
  process.stdout.write(`${JSON.stringify(seen(outcomes), undefined, 1)}\n`)
  const faults = outcomes.flatMap((outcome) => undocumented(outcome, true) ?? [])
  expect(auditLogs(stack)).toEqual([])
  expect([...new Set(faults), ...clients.wronglySignedOut()]).toEqual([])
  // Nobody ended this sign-in, so whoever cannot look it up must not say that it is over.
  expect(Object.keys(seen(storm.outcomes)).filter((key) => key.includes('401'))).toEqual([])
  expect(killed.size).toBe(victims.length)

  await until(
    async () => (await auditTables(stack)).length === 0,
    'nothing is half done',
    AGAIN_MS,
  ).catch(() => {})
  expect(await auditTables(stack)).toEqual([])
  await until(async () => (await auditProcesses(stack)).length === 0, 'nothing is left').catch(
    () => {},
  )
  expect(await auditProcesses(stack)).toEqual([])

  // At most once, and exactly once for who was told so; a code is redeemed once at most.
  const wrong = [...storm.calls].filter(([id, good]) => {
    const arrived = witness.arrivals.get(id) ?? 0
    return arrived > 1 || (good && arrived !== 1)
  })
  expect(wrong).toEqual([])
  expect(storm.redemptions.filter((count) => count > 1)).toEqual([])

  const called = storm.servers.filter(({ state }) => state !== 'deleted').slice(-CALLED_LATER)
  const deleted = storm.servers.filter(({ state }) => state === 'deleted')
  expect([...(await Promise.all(deleted.map(isGone))), ...(await keptPromises(called))]).toEqual(
    storm.servers
      .filter((each) => called.includes(each) || deleted.includes(each))
      .map(() => 'as promised'),
  )
}, 300_000)

/** What became of servers that were not deleted, one word when it is what their owner was told. */
async function keptPromises(servers: readonly Promised[]): Promise<string[]> {
  const found: string[] = []
  for (const promised of servers) found.push(await keptPromise(promised))
  return found
}

async function keptPromise({ slug, url, state, key }: Promised): Promise<string> {
  const shown = await account.ask('GET', `/v1/servers/${slug}`)
  if (!shown.text.includes(`"state":"${state}"`)) return `${slug} is not ${state}: ${shown.text}`
  if (state !== 'live') return 'as promised'
  const { accessToken } = await obtainTokens(stack, account, url)
  const answer = await callTool(url, accessToken, { name: 'honest', args: { id: slug } })
  if (key === '') {
    return answer.text.includes('API_KEY') ? 'as promised' : `${slug} has a key: ${answer.text}`
  }
  if (witness.keys.get(slug) === key) return 'as promised'
  return `${slug} sent ${witness.keys.get(slug)} instead of ${key}: ${answer.text}`
}

async function isGone({ slug, url }: Promised): Promise<string> {
  const shown = await account.ask('GET', `/v1/servers/${slug}`)
  const answer = await callTool(url, tokens.accessToken, { name: 'honest', args: { id: slug } })
  if (shown.status === 404 && answer.status === 410) return 'as promised'
  return `${slug} is still there: ${shown.status} and ${answer.status}`
}

test('a stack that went through it stops and leaves nothing', async () => {
  const answer = await callTool(server.url, tokens.accessToken, {
    name: 'honest',
    args: { id: 'last' },
  })
  expect(isGoodCall(answer) || answer.status === 401).toBe(true)
  expect((await bmm(['down', '--data', stack.data])).code).toBe(0)
  expect(processes().filter(({ command }) => command.includes(stack.data))).toEqual([])
}, 60_000)
