import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { findFreePort } from '@bmm/lib/free-port'
import { until } from '@bmm/lib/testing-until'
import type { ServerSpec } from '@bmm/spec/server-spec'
import { z } from 'zod'
import {
  type Account,
  type Answer,
  callTool,
  obtainTokens,
  type Served,
  serve,
  signUp,
  textOf,
} from './account.ts'
import { replaced, runningChild } from './children.ts'
import { descendants } from './processes.ts'
import { type Figures, figuresFrom } from './prometheus.ts'
import { type Stack, startStack } from './stack.ts'

const email = 'meter@example.com'
/** What the README promises of a killed runner. */
const MAX_LOST_MS = 1_000
/** A loaded machine writes later than that. */
const SLACK_MS = 2_000
const PAUSE_MS = 3

const countsSchema = z.object({
  calls: z.number(),
  errors: z.number(),
  toolErrors: z.number(),
  bytesIn: z.number(),
  bytesOut: z.number(),
  p50Ms: z.number(),
  p99Ms: z.number(),
})
const statsSchema = z.object({
  total: countsSchema,
  tools: z.array(countsSchema.extend({ tool: z.string() })),
  points: z.array(z.looseObject({ calls: z.number() })),
})

const annotations = {
  ...{ readOnlyHint: true, destructiveHint: false, idempotentHint: true, openWorldHint: false },
}
const spec: ServerSpec = {
  specVersion: 1,
  name: 'Metered',
  description: 'Counts.',
  tools: [
    {
      name: 'echo',
      description: 'Gives a text back.',
      inputSchema: {
        type: 'object',
        properties: { text: { type: 'string' } },
        required: ['text'],
      },
      implementation: 'return input.text',
      annotations,
      examples: [],
    },
    {
      name: 'fail',
      description: 'Fails.',
      inputSchema: { type: 'object', properties: {} },
      implementation: `throw new Error('no luck')`,
      annotations,
      examples: [],
    },
  ],
  credentials: [],
  egress: [],
}

let stack: Stack
let account: Account
let server: Served
let bearer: string
let metricsPort: number

beforeAll(async () => {
  metricsPort = findFreePort() ?? 0
  stack = await startStack('bwrap', { BMM_METRICS_ADDRESS: `127.0.0.1:${metricsPort}` })
  await stack.run('login', '--email', email)
  account = await signUp(stack, email)
  server = await serve(account, { source: { spec }, slug: 'metered' })
  bearer = (await obtainTokens(stack, account, server.url)).accessToken
}, 180_000)
afterAll(async () => {
  await stack?.[Symbol.asyncDispose]()
})

const echo = (text: string): Promise<Answer> =>
  callTool(server.url, bearer, { name: 'echo', args: { text } })

async function stats() {
  return statsSchema.parse(await account.get('/v1/servers/metered/stats'))
}
const countOf = async (tool: string) =>
  (await stats()).tools.find((each) => each.tool === tool)?.calls ?? 0
/** As soon as they can be read, whatever has just been killed. */
const countReaches = (tool: string, count: number) =>
  until(
    () =>
      countOf(tool).then(
        (found) => found >= count,
        () => false,
      ),
    `the count is ${count}`,
  )

/** Calls one after another until the promise settles; when each good answer came, by the clock of this process. */
async function callMeanwhile(
  work: Promise<unknown>,
): Promise<{ answeredAt: number[]; asked: number }> {
  const answeredAt: number[] = []
  let asked = 0
  let isOver = false
  const over = work.finally(() => {
    isOver = true
  })
  while (!isOver) {
    asked++
    const answer = await echo('x').catch(() => undefined)
    const isGood = answer?.status === 200 && !answer.text.includes('"error"')
    if (isGood) answeredAt.push(performance.now())
    await Bun.sleep(PAUSE_MS)
  }
  await over
  return { answeredAt, asked }
}

describe('stats', () => {
  test('show each call at once: how many, which failed, how long, how many bytes', async () => {
    for (let n = 0; n < 20; n++) expect(textOf(await echo('x'.repeat(100)))).toHaveLength(100)
    await callTool(server.url, bearer, { name: 'fail' })
    await callTool(server.url, bearer, { name: 'echo', args: { text: 1 } })
    await until(async () => (await stats()).total.toolErrors === 2, 'the counts are there')
    const shown = await stack.run('stats', 'metered', '--json')
    const { total, tools, points } = statsSchema.parse(JSON.parse(shown))
    expect(tools.map(({ tool, calls, errors }) => [tool, calls, errors])).toEqual([
      ['echo', 21, 1],
      ['fail', 1, 1],
    ])
    expect([total.calls, total.errors]).toEqual([22, 2])
    expect(total.bytesIn).toBeWithin(20 * 100, 22 * 120)
    expect(total.bytesOut).toBeWithin(20 * 100, 22 * 300)
    expect(total.p50Ms).toBeGreaterThan(0)
    expect(total.p99Ms).toBeGreaterThanOrEqual(total.p50Ms)
    expect(points.reduce((sum, point) => sum + point.calls, 0)).toBe(22)
  })

  test('are a table for people, and the month of the organisation one line', async () => {
    const shown = await stack.run('stats', 'metered', '--days', '2')
    expect(shown).toMatch(/tool +calls +errors +p50 +p95 +p99 +in +out/)
    expect(shown).toMatch(/echo +21 +1 +[\d.]+ ms/)
    expect(shown).toMatch(/errors: 2 by tools, 0 refused/)
    expect(await stack.run('stats')).toMatch(/^\d{4}-\d\d {2}22 calls, 0 refused\n/)
  })

  test('are of nobody else', async () => {
    const stranger = await signUp(stack, 'meter-stranger@example.com')
    for (const reference of ['metered', server.id]) {
      const answer = await stranger.ask('GET', `/v1/servers/${reference}/stats`)
      expect([answer.status, answer.text]).toEqual([404, expect.not.stringContaining('calls')])
    }
    const usage = await stranger.ask('GET', '/v1/usage')
    expect(usage.json).toMatchObject({ calls: 0, bytesIn: 0 })
  })

  test('the log says of a failed call that it failed', async () => {
    const lines = await stack.run('logs', 'metered')
    expect(lines).toMatch(/platform +fail +The tool answered with an error\./)
  })
})

describe('the operator’s metrics', () => {
  const ask = (path: string, port: string | number) => fetch(`http://127.0.0.1:${port}${path}`)
  async function figures(): Promise<Figures> {
    const answer = await ask('/metrics', metricsPort)
    expect(answer.status).toBe(200)
    return figuresFrom(await answer.text())
  }

  test('are one page over all services, with calls, sandboxes, builds, feeds and memory', async () => {
    const { value, sum, text } = await figures()
    for (const service of ['auth', 'secrets', 'generator', 'runner', 'broker', 'gateway']) {
      expect([service, value('bmm_up', { service })]).toEqual([service, 1])
      expect(value('process_resident_memory_bytes', { service })).toBeGreaterThan(10_000_000)
    }
    expect(value('bmm_calls_total', { ending: 'answered' })).toBe(22)
    expect(value('bmm_call_duration_seconds_count', { ending: 'answered' })).toBe(22)
    expect(value('bmm_call_duration_seconds_bucket', { ending: 'answered', le: '+Inf' })).toBe(22)
    expect(value('bmm_call_verdicts_total', { verdict: 'tool_error' })).toBe(2)
    expect(value('bmm_sandboxes', { state: 'warm' })).toBeGreaterThan(0)
    expect(value('bmm_wake_duration_seconds_count')).toBeGreaterThan(0)
    expect(value('bmm_builds_total', { outcome: 'succeeded' })).toBe(1)
    expect(value('bmm_builds_unfinished', { state: 'queued' })).toBe(0)
    expect(value('bmm_feed_age_seconds', { feed: 'revocations' })).toBeWithin(0, 10)
    expect(value('bmm_runner_connected')).toBe(1)
    expect(sum('bmm_egress_refused_total')).toBe(0)
    for (const name of [server.id, server.slug, account.email, 'echo']) {
      expect(text).not.toContain(name)
    }
  })

  test('show how late an event loop is from the second question on', async () => {
    await figures()
    const { value } = await figures()
    expect(value('bmm_event_loop_delay_max_seconds', { service: 'runner' })).toBeWithin(0, 10)
  })

  test('are not at the public address', async () => {
    expect((await ask('/metrics', new URL(stack.gateway).port)).status).toBe(421)
    expect((await fetch(`${stack.gateway}/metrics`)).status).toBe(404)
  })
})

describe('what is counted outlives', () => {
  test('Postgres being killed, without a call lost or counted twice', async () => {
    const before = await countOf('echo')
    const { answeredAt, asked } = await callMeanwhile(replaced(stack, 'postgres'))
    // All were answered: Postgres is not on the path of a call.
    expect(answeredAt.length).toBe(asked)
    await countReaches('echo', before + asked)
    expect(await countOf('echo')).toBe(before + asked)
  }, 120_000)

  test('Postgres standing still for seconds', async () => {
    const before = await countOf('echo')
    const frozen = descendants(runningChild(stack, 'postgres'))
    expect(frozen.length).toBeGreaterThan(1)
    for (const pid of frozen) process.kill(pid, 'SIGSTOP')
    try {
      const { answeredAt, asked } = await callMeanwhile(Bun.sleep(4_000))
      expect(answeredAt.length).toBe(asked)
      for (const pid of frozen) process.kill(pid, 'SIGCONT')
      await countReaches('echo', before + asked)
      expect(await countOf('echo')).toBe(before + asked)
    } finally {
      for (const pid of frozen) process.kill(pid, 'SIGCONT')
    }
  }, 120_000)

  test('kill -9 of the runner, but for the last second at most', async () => {
    const before = await countOf('echo')
    let killedAt = 0
    const kill = async () => {
      await Bun.sleep(5_000)
      killedAt = performance.now()
      await replaced(stack, 'runner')
    }
    const { answeredAt, asked } = await callMeanwhile(kill())
    let more = 0
    await until(async () => {
      more++
      return (await echo('again')).text.includes('"again"')
    }, 'calls work again')
    await countReaches('echo', before)
    const counted = (await countOf('echo')) - before
    const safe = answeredAt.filter((at) => at < killedAt - MAX_LOST_MS - SLACK_MS).length
    expect(safe).toBeGreaterThan(10)
    expect(counted).toBeGreaterThanOrEqual(safe)
    expect(counted).toBeLessThanOrEqual(asked + more)
    const lost = answeredAt.filter((at) => at < killedAt).length - counted
    process.stdout.write(`of ${asked} calls at most ${Math.max(0, lost)} lost their count\n`)
  }, 120_000)
})
