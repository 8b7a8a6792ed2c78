import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
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
import { hostileSpec, overheard, provoke, wiretap } from './hostile-tool.ts'
import { searchMemory } from './memory.ts'
import { guestProcesses, processes } from './processes.ts'
import { type Stack, startStack } from './stack.ts'
import { filesUnder, formsOf, postgresText, redisText, type Secrets, tracesIn } from './traces.ts'
import { startUpstream, type Upstream } from './upstream.ts'

const slug = 'secrecy'
/** Characters that each encoding writes differently, and an end that the console may show. */
const apiKey = `k+${randomBytes(24).toString('base64')}/~%canary`
const planted = `planted-${randomBytes(16).toString('hex')}`

/** Hostile tools: what they cannot read is looked for in their memory from outside. */
const bodies = {
  listen: wiretap,
  provoke,
  overheard,
  wait: "return (await ctx.fetch(input.api + '/slow?ms=3000')).status",
}

let stack: Stack
let upstream: Upstream
let elsewhere: ReturnType<typeof startEcho>
let account: Account
let server: Served
let tokens: Tokens
let refreshed: { accessToken: string; refreshToken: string }

/** Another origin that the server may talk to: it tells what it gets, or sends on to the API. */
function startEcho(target: () => string) {
  const seen: string[] = []
  const server = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    fetch(request) {
      const headers = JSON.stringify([...request.headers])
      seen.push(`${request.url} ${headers}`)
      if (new URL(request.url).pathname === '/redirect') {
        return Response.redirect(`${target()}/mirror`, 302)
      }
      return new Response(headers)
    },
  })
  return { server, seen, origin: `http://127.0.0.1:${server.port}` }
}

beforeAll(async () => {
  upstream = startUpstream(apiKey)
  elsewhere = startEcho(() => upstream.origin)
  stack = await startStack()
  for (const { origin } of [upstream, elsewhere]) {
    await stack.run('targets', 'allow', new URL(origin).host, '--everyone')
  }
  account = await signUp(stack, 'builder@example.com')
  server = await serve(account, {
    source: { spec: hostileSpec(upstream.origin, elsewhere.origin, bodies) },
    slug,
    credentials: [{ name: 'API_KEY', value: apiKey }],
  })
  tokens = await obtainTokens(stack, account, server.url)
}, 180_000)
afterAll(async () => {
  await stack?.[Symbol.asyncDispose]()
  await upstream?.[Symbol.asyncDispose]()
  await elsewhere?.server.stop(true)
})

const call = async (name: string, args: Record<string, unknown> = {}) =>
  callTool(server.url, tokens.accessToken, { name, args })
const credential: Secrets = new Map([['the credential', apiKey]])
const keysSeen = () => upstream.seen.filter((request) => request.headers['x-api-key'] === apiKey)

describe('a hostile tool beside an honest one, in one sandbox', () => {
  test('the honest call uses the credential while the hostile one listens', async () => {
    expect(textOf(await call('listen'))).toBe('listening')
    const answer = textOf(await call('honest'))
    expect(JSON.parse(answer)).toEqual({ status: 200, item: { id: '7', name: 'Item 7' } })
    expect(keysSeen().map((request) => request.path)).toEqual(['/items/7'])
    expect(tracesIn(answer, credential)).toEqual([])
  })

  test('no answer brings the credential back, and no other origin gets it', async () => {
    const before = keysSeen().length
    const args = { api: upstream.origin, elsewhere: elsewhere.origin }
    const text = textOf(await call('provoke', args))
    expect(keysSeen().length).toBeGreaterThan(before)
    expect(tracesIn(text, credential)).toEqual([])
    const seen = z.record(z.string(), z.looseObject({ status: z.number().optional() }))
    const { plain, mirror, own, redirect } = seen.parse(JSON.parse(text))
    expect(plain?.status).toBe(200)
    expect(own?.status).toBe(200)
    // A redirect comes back as it is: who follows it asks again, without what the broker knows.
    expect(redirect?.status).toBe(302)
    expect(mirror?.status).toBeUndefined()
    expect(elsewhere.seen.length).toBeGreaterThan(0)
    expect(tracesIn(elsewhere.seen.join('\n'), credential)).toEqual([])
  })

  test('what it overheard holds none of it', async () => {
    const text = textOf(await call('overheard'))
    // What is there is found: the answer of the honest call.
    expect(text).toContain('Item 7')
    expect(tracesIn(text, credential)).toEqual([])
    expect(tracesIn(text, ownSecrets())).toEqual([])
  })

  test('the memory of every sandbox holds none of it', async () => {
    const { planted: found, secret, pages } = await searchGuests()
    expect(pages).toBeGreaterThan(1_000)
    expect(found).toBe(0)
    expect(secret).toEqual([])
  }, 90_000)

  test('nor does it while a request with the credential is under way', async () => {
    const before = keysSeen().length
    const waiting = call('wait', { api: upstream.origin, planted })
    await until(() => keysSeen().length > before, 'the request to arrive')
    const { planted: found, secret } = await searchGuests()
    expect(textOf(await waiting)).toBe('200')
    // What is there is found: an argument of this very call.
    expect(found).toBeGreaterThan(0)
    expect(secret).toEqual([])
  }, 90_000)
})

/** Looks through the memory of all sandboxes for each form of the secrets, and for what the test planted. */
async function searchGuests() {
  const forms = [...ownSecrets()].flatMap(([label, secret]) =>
    formsOf(secret).map(({ name, bytes }) => ({ label: `${label} (${name})`, bytes })),
  )
  const needles = [Buffer.from(planted), ...forms.map(({ bytes }) => bytes)]
  const guests = await guestProcesses(stack)
  expect(guests.length).toBeGreaterThan(0)
  const searched = guests.map((pid) => searchMemory(pid, needles))
  return {
    planted: searched.reduce((sum, { counts }) => sum + (counts[0] ?? 0), 0),
    pages: searched.reduce((sum, { pages }) => sum + pages, 0),
    secret: forms
      .filter((_, index) => searched.some(({ counts }) => (counts[index + 1] ?? 0) > 0))
      .map(({ label }) => label),
  }
}

/** What must be nowhere on disk or in a store as it is. */
function ownSecrets(): Secrets {
  return new Map([
    ...credential,
    ['the token of the sign-in link', account.linkToken],
    ['the session', account.session],
    ['the authorization code', tokens.code],
    ['the access token', signatureOf(tokens.accessToken)],
    ['the refresh token', tokens.refreshToken],
    ...(refreshed === undefined
      ? []
      : ([
          ['the second access token', signatureOf(refreshed.accessToken)],
          ['the second refresh token', refreshed.refreshToken],
        ] as const)),
  ])
}

/** The part of a JWT without which the rest is worth nothing. */
function signatureOf(jwt: string): string {
  return jwt.split('.').at(-1) ?? ''
}

describe('what is stored and written', () => {
  beforeAll(async () => {
    const { clientId, refreshToken } = tokens
    refreshed = tokensFrom(await refresh(stack.gateway, { clientId, refreshToken }))
    for (const [label, secret] of ownSecrets()) {
      if (secret.length < 20) throw new Error(`${label} is no secret`)
    }
  })

  test('no table of any schema holds a secret', async () => {
    const text = await postgresText(stack)
    for (const expected of ['auth.users', account.email, 'secrets.secrets', server.id]) {
      expect(text).toContain(expected)
    }
    expect(tracesIn(text, ownSecrets())).toEqual([])
  })

  test('no key or value of Redis does', async () => {
    const text = await redisText(stack)
    expect(text).toContain('bull:')
    expect(tracesIn(text, ownSecrets())).toEqual([])
  })

  test('no file of the data directory does: logs, pages and journals of the stores', () => {
    const paths: string[] = []
    for (const { path, bytes } of filesUnder(stack.data)) {
      paths.push(path.slice(stack.data.length + 1))
      const traces = tracesIn(bytes, ownSecrets())
      expect([path, traces]).toEqual([path, []])
    }
    expect(paths.filter((path) => path.startsWith('logs/')).length).toBeGreaterThan(7)
    expect(paths.some((path) => path.startsWith('postgres/pg_wal/'))).toBe(true)
    expect(paths.some((path) => path.startsWith('redis/'))).toBe(true)
  }, 90_000)

  test('no file of the run directory does, but the mail of the development mailbox', () => {
    const run = dirname(stack.mailbox)
    for (const { path, bytes } of filesUnder(run)) {
      const traces = tracesIn(bytes, ownSecrets())
      const allowed = path.startsWith(stack.mailbox)
        ? ['the token of the sign-in link (clear)']
        : []
      expect([path, traces.filter((trace) => !allowed.includes(trace))]).toEqual([path, []])
    }
  })

  test('no log line for the owner does', async () => {
    const lines = await account.get(`/v1/servers/${slug}/logs`)
    expect(tracesIn(JSON.stringify(lines), ownSecrets())).toEqual([])
  })

  test('no process of the stack has a credential, a token or a key in its environment or command', async () => {
    const run = dirname(stack.mailbox)
    const guests = new Set(await guestProcesses(stack))
    const ours = processes().filter(
      ({ pid, command }) =>
        guests.has(pid) || command.includes(run) || command.includes(stack.data),
    )
    const secrets: Secrets = new Map([...ownSecrets(), ...keySecrets()])
    let read = 0
    for (const { pid, command } of ours) {
      const environ = readOf(`/proc/${pid}/environ`)
      if (environ.length > 0) read++
      expect([command, tracesIn(environ, secrets)]).toEqual([command, []])
      expect([command, tracesIn(readOf(`/proc/${pid}/cmdline`), secrets)]).toEqual([command, []])
    }
    // Seven services, their supervisor and two stores, and at least one sandbox.
    expect(read).toBeGreaterThan(9)
    expect(guests.size).toBeGreaterThan(0)
  })
})

/** Private keys and key-encryption keys of the stack: the part of each file that must stay in it. */
function keySecrets(): [string, string][] {
  const folder = join(stack.data, 'keys')
  return readdirSync(folder)
    .filter((name) => /\.(pem|kek)$/.test(name))
    .map((name) => {
      const text = readFileSync(join(folder, name), 'utf8').trim()
      const lines = text.split('\n')
      return [name, (name.endsWith('.pem') ? lines[1] : lines[0]) ?? '']
    })
}

function readOf(path: string): Buffer {
  try {
    return readFileSync(path)
  } catch {
    // The process has ended.
    return Buffer.alloc(0)
  }
}
