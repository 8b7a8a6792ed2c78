/** Clients that go on while parts of the platform die, and remember every answer that they were given. */
import { z } from 'zod'
import {
  type Account,
  type Answer,
  callTool,
  obtainTokens,
  refresh,
  type Served,
  type Tokens,
} from './account.ts'
import type { Stack } from './stack.ts'

/** No answer after this is a hang. */
const HANG_MS = 30_000
const PAUSE_MS = 40
/** How long the platform takes a refresh token again whose answer got lost, less a moment. */
const RETRY_WINDOW_MS = 9_000

export type Outcome = { who: string; tookMs: number } & (
  | { kind: 'answer'; answer: Answer }
  | { kind: 'no answer'; why: string }
)

export type PatientClients = {
  outcomes: Outcome[]
  /** Calls that succeeded so far. */
  goodCalls(): number
  goodRefreshes(): number
  /** Calls that were refused as signed out although nothing had ended the sign-in. */
  wronglySignedOut(): string[]
  /** What the refreshing client holds now. */
  tokens(): Tokens
  /** Ends the loops; resolves when the last answers are in. */
  stop(): Promise<void>
}

const tokensSchema = z.object({ access_token: z.string(), refresh_token: z.string() })

/** One client calls a tool, one refreshes its tokens, one asks the REST API, each as soon as it has its answer. */
export function startClients(
  stack: Stack,
  { account, server, tokens }: { account: Account; server: Served; tokens: Tokens },
): PatientClients {
  const outcomes: Outcome[] = []
  let running = true
  let held = tokens
  let goodCalls = 0
  let goodRefreshes = 0
  let lostAt: number | undefined
  let hasLostSignIn = false

  async function one(who: string, request: () => Promise<Answer>): Promise<Answer | undefined> {
    const startedAt = performance.now()
    const tookMs = () => Math.round(performance.now() - startedAt)
    try {
      const answer = await request()
      outcomes.push({ who, kind: 'answer', answer, tookMs: tookMs() })
      return answer
    } catch (error) {
      outcomes.push({ who, kind: 'no answer', why: String(error), tookMs: tookMs() })
      return undefined
    }
  }

  async function repeat(turn: () => Promise<void>): Promise<void> {
    while (running) {
      await turn()
      await Bun.sleep(PAUSE_MS)
    }
  }

  const loops = [
    repeat(async () => {
      const signal = AbortSignal.timeout(HANG_MS)
      const { accessToken } = held
      const answer = await one('a call', () =>
        callTool(server.url, accessToken, { name: 'honest' }, signal),
      )
      if (isGoodCall(answer)) goodCalls++
      // It asks no more with a token that is not good: the other loop brings a new one.
      if (answer?.status !== 401) return
      while (running && held.accessToken === accessToken) await Bun.sleep(PAUSE_MS)
    }),
    repeat(async () => {
      // Without an answer it asks with the same token again, as clients do whose answer got lost.
      const answer = await one('a refresh', () => refresh(stack.gateway, held))
      const parsed = tokensSchema.safeParse(answer?.json)
      if (!parsed.success) {
        if (answer?.status === 400) hasLostSignIn = true
        lostAt ??= performance.now()
        // On a machine so slow that the honest retry comes too late, the person has to sign in again.
        if (answer?.status !== 400 || performance.now() - lostAt < RETRY_WINDOW_MS) return
        outcomes.splice(
          outcomes.findIndex((each) => 'answer' in each && each.answer === answer),
          1,
        )
        const again = await obtainTokens(stack, account, server.url).catch(() => undefined)
        if (again === undefined) return
        held = again
        lostAt = undefined
        return
      }
      lostAt = undefined
      const { access_token: accessToken, refresh_token: refreshToken } = parsed.data
      held = { ...held, accessToken, refreshToken }
      goodRefreshes++
    }),
    repeat(async () => {
      await one('REST', () => account.ask('GET', `/v1/servers/${server.slug}`))
    }),
  ]
  return {
    outcomes,
    goodCalls: () => goodCalls,
    goodRefreshes: () => goodRefreshes,
    wronglySignedOut: () =>
      hasLostSignIn
        ? []
        : outcomes.flatMap((each) =>
            'answer' in each && isSignedOut(each.answer) ? each.answer.text : [],
          ),
    tokens: () => held,
    async stop() {
      running = false
      await Promise.all(loops)
    },
  }
}

const goodSchema = z.object({ result: z.object({ isError: z.literal(false).optional() }) })

export function isGoodCall(answer: Answer | undefined): boolean {
  return goodSchema.safeParse(answer?.json).success
}

const revokedSchema = z.object({
  error: z.object({ data: z.object({ reason: z.literal('revoked') }) }),
})

function isSignedOut({ status, json }: Answer): boolean {
  return status === 401 || revokedSchema.safeParse(json).success
}

const sentence = /^[A-Z].*\.$/s
const shapes = {
  rpc: z.object({ jsonrpc: z.literal('2.0'), error: z.object({ message: z.string() }) }),
  problem: z.object({ status: z.number(), code: z.string(), detail: z.string() }),
  oauth: z.object({ error: z.string(), error_description: z.string() }),
  tool: z.object({
    result: z.object({
      isError: z.literal(true),
      content: z.array(z.object({ text: z.string() })).min(1),
    }),
  }),
}

/** Why an answer is not a clear one, or undefined: an error must be a sentence for people, without our insides. */
export function unclear(outcome: Outcome, mayBreakOff: boolean): string | undefined {
  const { who, tookMs } = outcome
  const told = (why: string) => `${who} after ${tookMs} ms: ${why}`
  if (tookMs > HANG_MS) return told('it hung')
  if (outcome.kind === 'no answer') return mayBreakOff ? undefined : told(outcome.why)
  const { status, json, text } = outcome.answer
  if (/\n\s+at |\/services\/|node_modules|ECONN|ENOENT|\.sock\b/.test(text)) {
    return told(`it shows our insides: ${text.slice(0, 500)}`)
  }
  if (status === 200 && !shapes.rpc.safeParse(json).success && !shapes.tool.safeParse(json).success)
    return undefined
  if (![200, 503, 504].includes(status)) return told(`${status} ${text.slice(0, 500)}`)
  const said = sentenceOf(json)
  return said !== undefined && sentence.test(said) ? undefined : told(`${status} ${text}`)
}

function sentenceOf(json: unknown): string | undefined {
  const rpc = shapes.rpc.safeParse(json)
  if (rpc.success) return rpc.data.error.message
  const problem = shapes.problem.safeParse(json)
  if (problem.success) return problem.data.detail
  const oauth = shapes.oauth.safeParse(json)
  if (oauth.success) return oauth.data.error_description
  const tool = shapes.tool.safeParse(json)
  return tool.success ? tool.data.result.content[0]?.text : undefined
}
