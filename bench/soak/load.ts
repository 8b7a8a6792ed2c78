/** The work of a soak: fifty servers that fall asleep and wake, calls that are cancelled, servers that come and go. */

import type { ServerSpec } from '@bmm/spec/server-spec'
import {
  type Account,
  callTool,
  obtainTokens,
  refresh,
  type Served,
  serve,
  type Tokens,
  textOf,
  tokensFrom,
} from '@bmm/tests/account'
import type { Stack } from '@bmm/tests/stack'
import { echoSpec } from '../echo.ts'

const SERVERS = 50
/** A server is called for this long, then left alone until the next time: 5,260 wakes in ten minutes. */
const CALLED_MS = 1_200
const CYCLE_MS = 5_700
export const IDLE_MS = 1_500
const CALL_PAUSE_MS = 100
const CANCEL_AFTER_MS = 60
/** Access tokens live for five minutes. */
const TOKEN_MS = 180_000
/** 529 servers in ten minutes, each with 3.4 s of a busy machine's time to come and go. */
const CHURNERS = 3
const CHURN_MS = 3_400
const MAX_ERRORS = 20

export type Totals = {
  calls: number
  cancelled: number
  deployed: number
  deleted: number
  refreshed: number
  /** Of everything that was not cancelled on purpose. */
  errors: number
  /** The first of them. */
  examples: string[]
}

const soakSpec: ServerSpec = {
  ...echoSpec,
  tools: echoSpec.tools.flatMap((tool) => [
    tool,
    {
      ...tool,
      name: 'slow',
      implementation: `await new Promise((end) => {
        ctx.signal.addEventListener('abort', end)
        setTimeout(end, 5000)
      })`,
    },
  ]),
}

type Sleeper = { server: Served; tokens: Tokens; refreshedAt: number }

/** Makes the servers that stay, each with its token. */
export async function makeSleepers(
  stack: Stack,
  accounts: readonly [Account, Account],
): Promise<Sleeper[]> {
  const sleepers: Sleeper[] = []
  for (let index = 0; index < SERVERS; index++) {
    // Two organisations: one alone may not have so many sandboxes awake.
    const account = accounts[index % 2 === 0 ? 0 : 1]
    const server = await serve(account, { source: { spec: soakSpec }, slug: `sleeper-${index}` })
    const tokens = await obtainTokens(stack, account, server.url)
    sleepers.push({ server, tokens, refreshedAt: performance.now() })
  }
  return sleepers
}

/** Works until the time is over; never rejects. Slugs are used up, so `name` must be another one each time. */
export async function work(
  stack: Stack,
  account: Account,
  sleepers: readonly Sleeper[],
  { name, durationMs }: { name: string; durationMs: number },
): Promise<Totals> {
  const totals: Totals = {
    ...{ calls: 0, cancelled: 0, deployed: 0, deleted: 0, refreshed: 0, errors: 0 },
    examples: [],
  }
  const until = performance.now() + durationMs
  const over = () => performance.now() >= until

  async function count(
    what: 'calls' | 'deployed' | 'deleted' | 'refreshed',
    act: () => Promise<unknown>,
  ) {
    try {
      await act()
      totals[what]++
    } catch (error) {
      totals.errors++
      if (totals.examples.length < MAX_ERRORS)
        totals.examples.push(`${what}: ${String(error).slice(0, 300)}`)
    }
  }

  async function cancelOne({ server, tokens }: Sleeper): Promise<void> {
    const ending = new AbortController()
    const timer = setTimeout(() => ending.abort(), CANCEL_AFTER_MS)
    const call = { name: 'slow', args: { text: 'never' } }
    await callTool(server.url, tokens.accessToken, call, ending.signal).catch(
      () => totals.cancelled++,
    )
    clearTimeout(timer)
  }

  async function cycle(sleeper: Sleeper, index: number): Promise<void> {
    await Bun.sleep((index * CYCLE_MS) / SERVERS)
    while (!over()) {
      const begun = performance.now()
      if (begun - sleeper.refreshedAt > TOKEN_MS) {
        await count('refreshed', async () => {
          Object.assign(sleeper.tokens, tokensFrom(await refresh(stack.gateway, sleeper.tokens)))
          sleeper.refreshedAt = performance.now()
        })
      }
      const { url } = sleeper.server
      while (performance.now() - begun < CALLED_MS) {
        await count('calls', async () => {
          const call = { name: 'echo', args: { text: 'still here' } }
          const said = textOf(await callTool(url, sleeper.tokens.accessToken, call))
          if (said !== 'still here') throw new Error(`it said ${said}`)
        })
        await Bun.sleep(CALL_PAUSE_MS)
      }
      await cancelOne(sleeper)
      // On a slow machine too it is left alone for long enough to fall asleep.
      await Bun.sleep(Math.max(CYCLE_MS / 2, begun + CYCLE_MS - performance.now()))
    }
  }

  async function churn(loop: number): Promise<void> {
    for (let turn = 0; !over(); turn++) {
      const begun = performance.now()
      const slug = `${name}-${loop}-${turn}`
      await count('deployed', () => serve(account, { source: { spec: soakSpec }, slug }))
      await count('deleted', async () => {
        const answer = await account.ask('DELETE', `/v1/servers/${slug}`)
        if (answer.status !== 200) throw new Error(`${answer.status} ${answer.text}`)
      })
      await Bun.sleep(Math.max(0, begun + CHURN_MS - performance.now()))
    }
  }

  await Promise.all([
    ...sleepers.map(cycle),
    ...Array.from({ length: CHURNERS }, (_, loop) => churn(loop)),
  ])
  return totals
}
