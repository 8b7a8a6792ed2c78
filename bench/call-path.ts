/** The call path: an authenticated echo through everything, in turns with the official SDK's server called bare. */

import type { Platform } from '@bmm/tests/platform'
import { echoSpec } from './echo.ts'
import { type Figure, median } from './figure.ts'
import { echoRequest, type LoadPlan, runLoad } from './load-plan.ts'
import { type Part, usedBetween, usedByStack, usedMs } from './processor-time.ts'

const ROUNDS = 5
const ROUND_MS = 2_500
/** Long enough for the engine to have compiled what is called all the time. */
const WARM_UP_MS = 4_000
const CONNECTIONS = 32
const USERS = [1, 8] as const
const TEXT = 'The quick brown fox jumps over the lazy dog.'

const targets: Record<(typeof USERS)[number], { rate: string; processor: string }> = {
  1: { rate: '≥ 3 ×', processor: '≤ 0.4 ×' },
  8: { rate: '≥ 2 ×', processor: '≤ 0.6 ×' },
}

type Round = { perSecond: number; usPerCall: number; p50Ms: number; parts?: Record<Part, number> }

/** Takes about a minute. */
export async function measureCallPath(platform: Platform): Promise<Figure[]> {
  const url = new URL(await platform.serve(await platform.draft({ spec: echoSpec }), 'bench-echo'))
  const tokens: string[] = []
  for (let user = 0; user < Math.max(...USERS); user++) {
    tokens.push(await platform.token(url.href, platform.person(`caller-${user}@example.com`)))
  }
  await using bare = await startBareServer()
  const planOf = (at: URL, requests: string[]): LoadPlan => ({
    hostname: '127.0.0.1',
    port: Number(at.port),
    requests,
    connections: CONNECTIONS,
    durationMs: ROUND_MS,
    expected: TEXT,
  })
  const barePlan = planOf(bare.url, [echoRequest(bare.url, TEXT)])
  const runs = USERS.map((users) => ({
    users,
    plan: planOf(
      url,
      tokens.slice(0, users).map((token) => echoRequest(url, TEXT, token)),
    ),
    ours: [] as Round[],
    theirs: [] as Round[],
  }))
  for (const plan of [barePlan, ...runs.map((run) => run.plan)]) {
    await runLoad({ ...plan, durationMs: WARM_UP_MS })
  }
  for (let round = 0; round < ROUNDS; round++) {
    for (const { plan, ours, theirs } of runs) {
      theirs.push(await bareRound(barePlan, bare.pid))
      ours.push(await ourRound(plan, platform))
    }
  }
  return runs.flatMap(({ users, ours, theirs }) => figuresOf(users, ours, theirs))
}

async function bareRound(plan: LoadPlan, pid: number): Promise<Round> {
  const before = usedMs(pid)
  const { calls, elapsedMs, p50Ms } = await runLoad(plan)
  const spentMs = usedMs(pid) - before
  return { perSecond: (calls / elapsedMs) * 1_000, usPerCall: (spentMs / calls) * 1_000, p50Ms }
}

async function ourRound(plan: LoadPlan, { stack }: Platform): Promise<Round> {
  const before = usedByStack(stack)
  const { calls, elapsedMs, p50Ms } = await runLoad(plan)
  const { total, ...parts } = usedBetween(before, usedByStack(stack))
  const perCall = (spentMs: number) => (spentMs / calls) * 1_000
  return {
    perSecond: (calls / elapsedMs) * 1_000,
    usPerCall: perCall(total),
    p50Ms,
    parts: {
      gateway: perCall(parts.gateway),
      runner: perCall(parts.runner),
      broker: perCall(parts.broker),
      sandboxes: perCall(parts.sandboxes),
      rest: perCall(parts.rest),
    },
  }
}

function figuresOf(users: (typeof USERS)[number], ours: Round[], theirs: Round[]): Figure[] {
  const who = `${users} user${users === 1 ? '' : 's'}`
  const ratio = (of: (round: Round) => number) =>
    median(ours.map((round, index) => of(round) / of(theirs[index] ?? round)))
  const middle = (rounds: Round[], of: (round: Round) => number) => median(rounds.map(of))
  const part = (name: Part) =>
    `${name} ${Math.round(middle(ours, (round) => round.parts?.[name] ?? 0))}`
  const rate = (rounds: Round[]) => Math.round(middle(rounds, (round) => round.perSecond))
  const cost = (rounds: Round[]) => Math.round(middle(rounds, (round) => round.usPerCall))
  const p50 = (rounds: Round[]) => middle(rounds, (round) => round.p50Ms).toFixed(1)
  return [
    {
      what: `call path, ${who}: requests/s beside the bare SDK v2 server`,
      value: `${ratio((round) => round.perSecond).toFixed(2)} × (${rate(ours)} : ${rate(theirs)}; p50 ${p50(ours)} : ${p50(theirs)} ms)`,
      target: targets[users].rate,
    },
    {
      what: `call path, ${who}: processor time a call`,
      value: `${ratio((round) => round.usPerCall).toFixed(2)} × (${cost(ours)} : ${cost(theirs)} µs; ${(['gateway', 'runner', 'sandboxes', 'broker', 'rest'] as const).map(part).join(', ')})`,
      target: targets[users].processor,
    },
  ]
}

async function startBareServer() {
  const program = new URL('bare-server.ts', import.meta.url).pathname
  const child = Bun.spawn([process.execPath, program], { stdout: 'pipe', stderr: 'inherit' })
  const { value } = await child.stdout.getReader().read()
  const port = new TextDecoder().decode(value).trim()
  if (!/^\d+$/.test(port)) throw new Error('the bare server did not start')
  return {
    url: new URL(`http://127.0.0.1:${port}/mcp`),
    pid: child.pid,
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await child.exited
    },
  }
}
