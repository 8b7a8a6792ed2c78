/** The call path: an authenticated echo through everything, in turns with the official SDK's server called bare, and others. */

import type { Platform } from '@bmm/tests/platform'
import { echoSpec } from './echo.ts'
import { type Figure, median } from './figure.ts'
import { echoRequest, type LoadPlan, runLoad, sessionRequest } from './load-plan.ts'
import { type Part, usedBetween, usedByStack } from './processor-time.ts'
import { startNginx, startServer, startSupergateway, type Yardstick } from './yardstick.ts'

const ROUNDS = 5
const ROUND_MS = 2_500
/** Long enough for the engine to have compiled what is called all the time. */
const WARM_UP_MS = 4_000
const CONNECTIONS = 32
const USERS = [1, 8, 32] as const
const TEXT = 'The quick brown fox jumps over the lazy dog.'

const targets: Record<(typeof USERS)[number], { rate: string; processor?: string }> = {
  1: { rate: '≥ 3 ×', processor: '≤ 0.4 ×' },
  8: { rate: '≥ 2 ×', processor: '≤ 0.6 ×' },
  32: { rate: '≥ 1.4 ×' },
}

type Round = { perSecond: number; usPerCall: number; p50Ms: number; parts?: Record<Part, number> }
/** Rounds of one thing, and those of the bare server that each came after. */
type Run = { what: string; measure(): Promise<Round>; rounds: Round[]; bare: Round[] }

/** Takes about three minutes. */
export async function measureCallPath(platform: Platform): Promise<Figure[]> {
  const url = new URL(await platform.serve(await platform.draft({ spec: echoSpec }), 'bench-echo'))
  const tokens: string[] = []
  for (let user = 0; user < Math.max(...USERS); user++) {
    tokens.push(await platform.token(url.href, platform.person(`caller-${user}@example.com`)))
  }
  await using bare = await startServer('bare-server')
  await using nginx = await startNginx(bare)
  const { bridge, session } = await startSupergateway()
  await using _bridge = bridge
  const barePlan = planOf(bare.url, [echoRequest(bare.url, TEXT)])
  const nginxPlan = planOf(nginx.url, [echoRequest(nginx.url, TEXT)])
  const bridgePlan = planOf(
    bridge.url,
    Array.from({ length: CONNECTIONS }, (_, n) => sessionRequest(bridge.url, TEXT, session, n + 1)),
  )
  const ourPlans = USERS.map((users) => {
    const requests = tokens.slice(0, users).map((token) => echoRequest(url, TEXT, token))
    return { users, plan: planOf(url, requests) }
  })
  const runs: Run[] = [
    ...ourPlans.map(({ users, plan }) => run(String(users), () => ourRound(plan, platform))),
    run('nginx', () => yardstickRound(nginxPlan, nginx)),
    run('supergateway', () => yardstickRound(bridgePlan, bridge)),
  ]
  for (const plan of [barePlan, ...ourPlans.map(({ plan }) => plan), nginxPlan, bridgePlan]) {
    await runLoad({ ...plan, durationMs: WARM_UP_MS })
  }
  for (let round = 0; round < ROUNDS; round++) {
    for (const { measure, rounds, bare: beside } of runs) {
      beside.push(await yardstickRound(barePlan, bare))
      rounds.push(await measure())
    }
  }
  const [one, eight, thirtyTwo, throughNginx, throughBridge] = runs
  if (!one || !eight || !thirtyTwo || !throughNginx || !throughBridge) return []
  return [
    ...figuresOf(1, one),
    ...figuresOf(8, eight),
    ...figuresOf(32, thirtyTwo),
    ...besideOthers(one, throughNginx, 'nginx in front of the bare SDK v2 server'),
    ...besideOthers(one, throughBridge, 'supergateway 4 (one session)', '≤ 0.125 ×'),
  ]
}

function planOf(at: URL, requests: string[]): LoadPlan {
  return {
    hostname: '127.0.0.1',
    port: Number(at.port),
    requests,
    connections: CONNECTIONS,
    durationMs: ROUND_MS,
    expected: TEXT,
  }
}

function run(what: string, measure: () => Promise<Round>): Run {
  return { what, measure, rounds: [], bare: [] }
}

async function yardstickRound(plan: LoadPlan, yardstick: Yardstick): Promise<Round> {
  const before = yardstick.usedMs()
  const { calls, elapsedMs, p50Ms } = await runLoad(plan)
  const spentMs = yardstick.usedMs() - before
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

const middle = (rounds: Round[], of: (round: Round) => number) => median(rounds.map(of))
const rate = (rounds: Round[]) => Math.round(middle(rounds, (round) => round.perSecond))
const cost = (rounds: Round[]) => Math.round(middle(rounds, (round) => round.usPerCall))
const p50 = (rounds: Round[]) => middle(rounds, (round) => round.p50Ms).toFixed(1)

function ratio(ours: Round[], theirs: Round[], of: (round: Round) => number): string {
  const middling = median(ours.map((round, index) => of(round) / of(theirs[index] ?? round)))
  return middling < 1 ? middling.toFixed(3) : middling.toFixed(2)
}

function figuresOf(users: (typeof USERS)[number], { rounds, bare }: Run): Figure[] {
  const who = `${users} user${users === 1 ? '' : 's'}`
  const part = (name: Part) =>
    `${name} ${Math.round(middle(rounds, (round) => round.parts?.[name] ?? 0))}`
  const { rate: rateTarget, processor } = targets[users]
  return [
    {
      what: `call path, ${who}: requests/s beside the bare SDK v2 server`,
      value: `${ratio(rounds, bare, (round) => round.perSecond)} × (${rate(rounds)} : ${rate(bare)}; p50 ${p50(rounds)} : ${p50(bare)} ms)`,
      target: rateTarget,
    },
    {
      what: `call path, ${who}: processor time a call`,
      value: `${ratio(rounds, bare, (round) => round.usPerCall)} × (${cost(rounds)} : ${cost(bare)} µs; ${(['gateway', 'runner', 'sandboxes', 'broker', 'rest'] as const).map(part).join(', ')})`,
      ...(processor === undefined ? {} : { target: processor }),
    },
  ]
}

function besideOthers(ours: Run, theirs: Run, what: string, target?: string): Figure[] {
  return [
    {
      what: `call path, 1 user, beside ${what}: requests/s, processor time a call`,
      value: `${ratio(ours.rounds, theirs.rounds, (round) => round.perSecond)} × (${rate(ours.rounds)} : ${rate(theirs.rounds)}), ${ratio(ours.rounds, theirs.rounds, (round) => round.usPerCall)} × (${cost(ours.rounds)} : ${cost(theirs.rounds)} µs)`,
      ...(target === undefined ? {} : { target: `processor time ${target}` }),
    },
  ]
}
