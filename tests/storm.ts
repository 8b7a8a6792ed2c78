/** Work that goes on while processes die: clients that insist until they are answered, and remember what was promised to them. */
import type { ServerSpec } from '@bmm/spec/server-spec'
import { z } from 'zod'
import {
  type Account,
  type Answer,
  callTool,
  finishedBuild,
  obtainCode,
  redeem,
  type Served,
  type Tokens,
} from './account.ts'
import { isGoodCall, type Outcome } from './patient-clients.ts'
import type { Stack } from './stack.ts'

const REQUEST_TIMEOUT_MS = 30_000
const INSIST_MS = 180_000
const PAUSE_MS = 100
const CALL_PAUSE_MS = 30
const LONGEST_BREATH_MS = 4_000
/** From these numbers on a change is a pause or resumption, and a deletion. */
const RESUMPTION = 0.4
const DELETION = 0.7

/** An API that takes any key and remembers what came with which. */
export type Witness = Disposable & {
  origin: string
  /** `127.0.0.1:PORT`, for `targets allow`. */
  target: string
  /** How often each id arrived. */
  arrivals: Map<string, number>
  /** The key that the newest request with this id had. */
  keys: Map<string, string>
}

export function startWitness(): Witness {
  const arrivals = new Map<string, number>()
  const keys = new Map<string, string>()
  const server = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    fetch(request) {
      const id = new URL(request.url).pathname.slice(1)
      arrivals.set(id, (arrivals.get(id) ?? 0) + 1)
      keys.set(id, request.headers.get('x-api-key') ?? '')
      return Response.json({ id })
    },
  })
  return {
    origin: `http://127.0.0.1:${server.port}`,
    target: `127.0.0.1:${server.port}`,
    arrivals,
    keys,
    [Symbol.dispose]: () => void server.stop(true),
  }
}

/** `honest` sends its id to the witness, with a credential; `bare` needs nobody. */
export function witnessSpec(origin: string): ServerSpec {
  const annotations = {
    readOnlyHint: false,
    destructiveHint: false,
    idempotentHint: false,
    openWorldHint: true,
  }
  return {
    specVersion: 1,
    name: 'Witness',
    description: 'Tells somebody.',
    tools: [
      {
        name: 'honest',
        description: 'Tells an id to somebody who remembers it.',
        inputSchema: {
          type: 'object',
          properties: { id: { type: 'string' } },
        },
        implementation: `
          const answer = await ctx.fetch('${origin}/' + (input.id ?? 'none'), { method: 'POST' })
          return (await answer.json()).id`,
        annotations,
        examples: [],
      },
      {
        name: 'bare',
        description: 'Says yes.',
        inputSchema: { type: 'object', properties: {} },
        implementation: `return 'yes'`,
        annotations,
        examples: [],
      },
    ],
    credentials: [
      {
        name: 'API_KEY',
        description: 'Any.',
        scheme: 'header',
        parameter: 'x-api-key',
        origins: [origin],
      },
    ],
    egress: [{ origin }],
  }
}

/** What was promised of one server by the last answer about it. */
export type Promised = Served & {
  state: 'live' | 'paused' | 'deleted' | 'failed'
  key: string
}

export type Storm = {
  outcomes: Outcome[]
  servers: Promised[]
  /** Ids of calls, and whether the caller was told that all is well. */
  calls: Map<string, boolean>
  /** How many of two redemptions of one code were answered with tokens. */
  redemptions: number[]
  counts(): Record<string, number>
  /** Ends when every client has the answer that it insists on. */
  stop(): Promise<void>
}

export type StormOptions = {
  stack: Stack
  account: Account
  /** A server of `witnessSpec` that stays. */
  server: Served
  tokens: Tokens
  witness: Witness
  random: () => number
  /** Servers of `witnessSpec` to change and delete meanwhile, with their keys. */
  stock?: readonly Promised[]
}

/** Two callers, four builders and one person who signs clients in, each on and on. */
export function startStorm(options: StormOptions): Storm {
  const { stack, account, server, tokens, random, stock = [] } = options
  const outcomes: Outcome[] = []
  const servers: Promised[] = []
  const calls = new Map<string, boolean>()
  const redemptions: number[] = []
  let running = true

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

  /** Repeats a request until it is done; a repetition may find that the lost answer was a yes: `already`. */
  const insist: Insist = async (who, request, already = []) => {
    const deadline = Date.now() + INSIST_MS
    for (let tries = 0; ; tries++) {
      const answer = await one(who, request)
      if (answer !== undefined && answer.status < 300) return answer
      const code = codeOf(answer)
      if (answer !== undefined && tries > 0 && already.includes(code)) {
        outcomes.pop()
        return answer
      }
      if (Date.now() > deadline) {
        throw new Error(`${who} is not done: ${answer?.status} ${answer?.text.slice(0, 500)}`)
      }
      await Bun.sleep(PAUSE_MS)
    }
  }

  async function caller(name: string): Promise<void> {
    for (let count = 0; running; count++) {
      const id = `${name}-${count}`
      const signal = AbortSignal.timeout(REQUEST_TIMEOUT_MS)
      const answer = await one('a call', () =>
        callTool(server.url, tokens.accessToken, { name: 'honest', args: { id } }, signal),
      )
      calls.set(id, isGoodCall(answer))
      await Bun.sleep(CALL_PAUSE_MS)
    }
  }

  async function builder(name: string): Promise<void> {
    for (let count = 0; running; count++) {
      const promised = await build(options, insist, `storm-${name}-${count}`)
      servers.push(promised)
      if (promised.state === 'failed') continue
      const steps = Math.floor(random() * 4)
      for (let step = 0; step < steps && promised.state !== 'deleted'; step++) {
        await change(account, insist, promised, random())
      }
    }
  }

  /** Two changes and a deletion of each, spread over the time. */
  async function changer(): Promise<void> {
    for (const promised of stock) {
      if (!running) return
      servers.push(promised)
      for (const choice of [random() * DELETION, random() * DELETION, DELETION]) {
        await Bun.sleep(random() * LONGEST_BREATH_MS)
        await change(account, insist, promised, choice)
      }
    }
  }

  async function signer(): Promise<void> {
    while (running) {
      const given = { clientId: tokens.clientId, resource: server.url }
      // The pages are for people: what they say is not looked at here.
      const code = await obtainCode(stack, account, given).catch(() => undefined)
      if (code !== undefined) {
        const both = await Promise.all(
          [0, 1].map(() => redeem(stack.gateway, { ...given, ...code }).catch(() => undefined)),
        )
        redemptions.push(both.filter((answer) => answer?.status === 200).length)
      }
      await Bun.sleep(PAUSE_MS)
    }
  }

  const names = ['a', 'b', 'c', 'd']
  const loops = [caller('a'), caller('b'), signer(), changer(), ...names.map(builder)]
  // Looked at when the storm is over; until then it is nobody's failure.
  for (const loop of loops) loop.catch(() => {})
  return {
    outcomes,
    servers,
    calls,
    redemptions,
    counts: () => ({
      goodCalls: [...calls.values()].filter(Boolean).length,
      servers: servers.length,
      deleted: servers.filter(({ state }) => state === 'deleted').length,
      codes: redemptions.filter((count) => count > 0).length,
      errors: outcomes.filter(
        (outcome) => outcome.kind === 'no answer' || outcome.answer.status >= 400,
      ).length,
    }),
    async stop() {
      running = false
      await Promise.all(loops)
    },
  }
}

type Insist = (
  who: string,
  request: () => Promise<Answer>,
  already?: readonly string[],
) => Promise<Answer>

const draftSchema = z.object({ id: z.string(), digest: z.string() })
const serverSchema = z.object({ id: z.string(), slug: z.string(), url: z.string() })
const createdSchema = z.object({ server: serverSchema, build: z.object({ id: z.string() }) })

/** Draft, server and build; the idempotency key makes the repetition after a lost answer harmless. */
async function build(
  { account, witness }: StormOptions,
  insist: Insist,
  slug: string,
): Promise<Promised> {
  const drafted = await insist('a draft', () =>
    account.ask('POST', '/v1/drafts', { body: { spec: witnessSpec(witness.origin) } }),
  )
  const { id: draftId, digest } = draftSchema.parse(drafted.json)
  const key = `key-of-${slug}-0`
  const credentials = [{ name: 'API_KEY', value: key }]
  const answer = await insist('a creation', () =>
    account.ask('POST', '/v1/servers', {
      body: { draftId, digest, slug, credentials },
      headers: { 'idempotency-key': slug },
    }),
  )
  const created = createdSchema.parse(answer.json)
  const { state, message } = await finishedBuild(account, created.build.id, INSIST_MS)
  if (state !== 'succeeded') process.stdout.write(`${slug}: the build ${state}: ${message}\n`)
  return {
    ...created.server,
    buildId: created.build.id,
    state: state === 'succeeded' ? 'live' : 'failed',
    key,
  }
}

/** One change of a server that is live or paused, chosen by a number below 1. */
async function change(
  account: Account,
  insist: Insist,
  promised: Promised,
  choice: number,
): Promise<void> {
  const path = `/v1/servers/${promised.slug}`
  const credential = `${path}/credentials/API_KEY`
  if (choice < RESUMPTION / 2) {
    const value = `${promised.key}x`
    await insist('a credential', () => account.ask('PUT', credential, { body: { value } }))
    promised.key = value
  } else if (choice < RESUMPTION) {
    if (promised.key === '') return
    await insist('forgetting a credential', () => account.ask('DELETE', credential), [
      'secret_not_found',
    ])
    promised.key = ''
  } else if (choice < DELETION) {
    if (promised.state === 'live') {
      await insist('a pause', () => account.ask('POST', `${path}/pause`), ['server_not_live'])
      promised.state = 'paused'
    } else {
      const shown = await insist('a look', () => account.ask('GET', path))
      const { specDigest } = z.object({ specDigest: z.string() }).parse(shown.json)
      await insist(
        'a resumption',
        () => account.ask('POST', `${path}/resume`, { body: { specDigest } }),
        ['server_not_paused'],
      )
      promised.state = 'live'
    }
  } else {
    // A value that comes while the server goes must go with it.
    const late = account.ask('PUT', credential, { body: { value: 'too-late' } }).catch(() => {})
    await insist('a deletion', () => account.ask('DELETE', path), ['server_not_found'])
    promised.state = 'deleted'
    await late
  }
}

function codeOf(answer: Answer | undefined): string {
  return z.object({ code: z.string() }).safeParse(answer?.json).data?.code ?? ''
}
