/** A running stack with a builder who makes servers and people who may call them, all by the public doors. */
import { createHash, randomBytes } from 'node:crypto'
import type { ServerSpec } from '@bmm/spec/server-spec'
import { z } from 'zod'
import { type Browser, openBrowser } from './browser.ts'
import { authorize } from './mcp-client.ts'
import { magicLink, type Stack } from './stack.ts'

const BUILD_TIMEOUT_MS = 30_000
const redirectUri = 'http://127.0.0.1:33418/callback'

const sessionSchema = z.object({ session: z.string() })
const draftSchema = z.object({
  id: z.string(),
  digest: z.string(),
  tools: z.number(),
  spec: z.object({ credentials: z.array(z.object({ name: z.string(), scheme: z.string() })) }),
})
const createdSchema = z.object({
  server: z.object({ url: z.string() }),
  build: z.object({ id: z.string() }),
})
const buildSchema = z.object({ state: z.string(), message: z.string() })
const eventSchema = z.object({ step: z.string().optional(), state: z.string().optional() })
const clientSchema = z.object({ client_id: z.string() })
const tokenSchema = z.object({ access_token: z.string() })

export type Draft = z.infer<typeof draftSchema>
export type Credential = { name: string; value: string }

/** Somebody with a browser that stays signed in. */
export type Person = { email: string; browser: Browser }

export type Platform = {
  stack: Stack
  builder: Person
  person(email: string): Person
  draft(source: { document: string } | { spec: ServerSpec }): Promise<Draft>
  /** Confirms a draft for everyone and waits until it is live; answers the MCP address. */
  serve(draft: Draft, slug: string, credentials?: Credential[]): Promise<string>
  /** An access token for a server, by the code flow with its consent page. */
  token(serverUrl: string, person: Person): Promise<string>
}

/** Signs the builder in and registers one OAuth client. */
export async function openPlatform(stack: Stack, email: string): Promise<Platform> {
  const { gateway } = stack
  await post(`${gateway}/v1/login`, { email }, { 'x-forwarded-for': addressOf(email) })
  const link = new URL(await magicLink(stack.mailbox, email))
  const { session } = sessionSchema.parse(
    await post(`${gateway}/v1/login/finish`, { token: link.searchParams.get('token') }),
  )
  const bearer = { authorization: `Bearer ${session}` }
  const { client_id } = clientSchema.parse(
    await post(`${gateway}/oauth/register`, {
      client_name: 'Bench',
      redirect_uris: [redirectUri],
      grant_types: ['authorization_code'],
      response_types: ['code'],
      token_endpoint_auth_method: 'none',
    }),
  )
  const person = (email: string) => ({ email, browser: openBrowser(gateway, addressOf(email)) })

  return {
    stack,
    builder: person(email),
    person,
    draft: async (source) => draftSchema.parse(await post(`${gateway}/v1/drafts`, source, bearer)),
    async serve({ id, digest }, slug, credentials = []) {
      const { server, build } = createdSchema.parse(
        await post(
          `${gateway}/v1/servers`,
          { draftId: id, digest, slug, access: { kind: 'anyone' }, credentials },
          bearer,
        ),
      )
      if (await succeeds(`${gateway}/v1/builds/${build.id}/events`, bearer)) return server.url
      const answer = await fetch(`${gateway}/v1/builds/${build.id}`, { headers: bearer })
      const { state, message } = buildSchema.parse(await answer.json())
      throw new Error(`${slug}: ${state} ${message}`)
    },
    async token(serverUrl, { email, browser }) {
      const verifier = randomBytes(32).toString('base64url')
      const request = new URLSearchParams({
        response_type: 'code',
        client_id,
        redirect_uri: redirectUri,
        code_challenge: createHash('sha256').update(verifier).digest('base64url'),
        code_challenge_method: 'S256',
        state: 'bench',
        resource: serverUrl,
        scope: 'mcp:tools',
      })
      const { callback } = await authorize(
        stack,
        `${gateway}/oauth/authorize?${request}`,
        email,
        browser,
      )
      const form = new URLSearchParams({
        grant_type: 'authorization_code',
        code: callback.searchParams.get('code') ?? '',
        code_verifier: verifier,
        client_id,
        redirect_uri: redirectUri,
        resource: serverUrl,
      })
      const answer = await fetch(`${gateway}/oauth/token`, { method: 'POST', body: form })
      return tokenSchema.parse(await answered(answer)).access_token
    },
  }
}

/** Where somebody comes from, told as a proxy does. It counts on stacks that trust loopback as one only. */
function addressOf(email: string): string {
  const [a = 0, b = 0, c = 0] = createHash('sha256').update(email).digest()
  return `10.${a}.${b}.${c}`
}

/** Follows a build over its WebSocket, as the commands do, until it says that it succeeded, or ends otherwise. */
async function succeeds(url: string, headers: Record<string, string>): Promise<boolean> {
  const ended = Promise.withResolvers<boolean>()
  const socket = new WebSocket(url.replace(/^http/, 'ws'), { headers })
  socket.onmessage = ({ data }) => {
    const { step, state } = eventSchema.parse(JSON.parse(String(data)))
    if (step === undefined && state === 'succeeded') ended.resolve(true)
  }
  socket.onclose = () => ended.resolve(false)
  socket.onerror = () => ended.resolve(false)
  const timer = setTimeout(() => socket.close(), BUILD_TIMEOUT_MS)
  const succeeded = await ended.promise
  clearTimeout(timer)
  socket.close()
  return succeeded
}

async function post(url: string, body: unknown, headers: Record<string, string> = {}) {
  const text = JSON.stringify(body)
  const init = { method: 'POST', body: text }
  return answered(
    await fetch(url, { ...init, headers: { 'content-type': 'application/json', ...headers } }),
  )
}

async function answered(answer: Response): Promise<unknown> {
  if (answer.ok) return answer.json()
  throw new Error(`${answer.url} answered ${answer.status}: ${await answer.text()}`)
}
