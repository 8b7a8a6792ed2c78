/** A person at the public doors step by step: what ready-made clients hide (codes, tokens, raw answers). */
import { createHash, randomBytes } from 'node:crypto'
import type { ServerSpec } from '@bmm/spec/server-spec'
import { z } from 'zod'
import { type Browser, openBrowser } from './browser.ts'
import { authorize } from './mcp-client.ts'
import { magicLink, type Stack } from './stack.ts'

const BUILD_TIMEOUT_MS = 60_000
const POLL_MS = 50
const LEGACY_VERSION = '2025-11-25'
export const redirectUri = 'http://127.0.0.1:33418/callback'

export type Answer = { status: number; text: string; json: unknown; headers: Headers }
type Asking = { body?: unknown; headers?: Record<string, string>; signal?: AbortSignal }

export type Account = {
  email: string
  /** `bms_…`, the bearer of the REST API. */
  session: string
  /** What the mail held. */
  linkToken: string
  browser: Browser
  ask(method: string, path: string, asking?: Asking): Promise<Answer>
  /** As ask, throwing unless it succeeds. */
  get(path: string): Promise<unknown>
}

export type Tokens = {
  clientId: string
  code: string
  accessToken: string
  refreshToken: string
}

export type Served = { id: string; slug: string; url: string; buildId: string }

const sessionSchema = z.object({ session: z.string() })
const draftSchema = z.object({ id: z.string(), digest: z.string() })
const createdSchema = z.object({
  server: z.object({ id: z.string(), slug: z.string(), url: z.string() }),
  build: z.object({ id: z.string() }),
})
const buildSchema = z.object({ state: z.string(), reason: z.string(), message: z.string() })
const clientSchema = z.object({ client_id: z.string() })
const tokensSchema = z.object({ access_token: z.string(), refresh_token: z.string() })

export type BuildState = z.infer<typeof buildSchema>

/** Signs a person in at the REST API. The limit of links a day leaves room for ten of these a stack. */
export async function signUp(stack: Stack, email: string): Promise<Account> {
  const { gateway } = stack
  await succeeded(await ask(`${gateway}/v1/login`, 'POST', { body: { email } }))
  const link = new URL(await magicLink(stack.mailbox, email))
  const linkToken = link.searchParams.get('token') ?? ''
  const finished = await ask(`${gateway}/v1/login/finish`, 'POST', { body: { token: linkToken } })
  const { session } = sessionSchema.parse(succeeded(finished))
  const browser = openBrowser(gateway)
  browser.cookies.set('__Host-bmm', session)
  const asSelf: Account['ask'] = (method, path, asking = {}) =>
    ask(`${gateway}${path}`, method, {
      ...asking,
      headers: { authorization: `Bearer ${session}`, ...asking.headers },
    })
  return {
    ...{ email, session, linkToken, browser, ask: asSelf },
    get: async (path) => succeeded(await asSelf('GET', path)),
  }
}

export type Wanted = {
  source: { spec: ServerSpec } | { document: string }
  slug: string
  access?: { kind: 'org' } | { kind: 'anyone' }
  credentials?: { name: string; value: string }[]
}

/** Drafts and confirms; the build runs on. */
export async function confirm(account: Account, wanted: Wanted): Promise<Served> {
  const { source, ...rest } = wanted
  const drafted = await account.ask('POST', '/v1/drafts', { body: source })
  const { id: draftId, digest } = draftSchema.parse(succeeded(drafted))
  const created = await account.ask('POST', '/v1/servers', { body: { draftId, digest, ...rest } })
  const { server, build } = createdSchema.parse(succeeded(created))
  return { id: server.id, slug: server.slug, url: server.url, buildId: build.id }
}

/** Drafts, confirms and waits until the server is live. */
export async function serve(account: Account, wanted: Wanted): Promise<Served> {
  const served = await confirm(account, wanted)
  const { state, message } = await finishedBuild(account, served.buildId)
  if (state !== 'succeeded') throw new Error(`${served.slug}: the build ${state}: ${message}`)
  return served
}

/** The build once it has ended; while it cannot be asked for, the time runs on. */
export async function finishedBuild(
  account: Account,
  buildId: string,
  timeoutMs = BUILD_TIMEOUT_MS,
): Promise<BuildState> {
  const deadline = Date.now() + timeoutMs
  for (;;) {
    const answer = await account.ask('GET', `/v1/builds/${buildId}`).catch(() => undefined)
    if (answer?.status === 200) {
      const build = buildSchema.parse(answer.json)
      if (build.state !== 'queued' && build.state !== 'running') return build
    }
    if (Date.now() > deadline) throw new Error(`build ${buildId} does not end: ${answer?.text}`)
    await Bun.sleep(POLL_MS)
  }
}

/** An OAuth client of the test; public, so that its tokens are bearer tokens and nothing else. */
export async function registerClient(gateway: string): Promise<string> {
  const body = {
    client_name: 'Journey steps',
    redirect_uris: [redirectUri],
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    token_endpoint_auth_method: 'none',
  }
  const answer = await ask(`${gateway}/oauth/register`, 'POST', { body })
  return clientSchema.parse(succeeded(answer)).client_id
}

/** A code and what redeems it, by the consent page. */
export async function obtainCode(
  stack: Stack,
  account: Account,
  { clientId, resource }: { clientId: string; resource: string },
): Promise<{ code: string; verifier: string }> {
  const verifier = randomBytes(32).toString('base64url')
  const query = new URLSearchParams({
    response_type: 'code',
    client_id: clientId,
    redirect_uri: redirectUri,
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
    state: 'journey',
    resource,
    scope: 'mcp:tools offline_access',
  })
  const address = `${stack.gateway}/oauth/authorize?${query}`
  const { callback } = await authorize(stack, address, account.email, account.browser)
  const code = callback.searchParams.get('code')
  if (code === null) throw new Error(`no code came: ${callback.search}`)
  return { code, verifier }
}

/** A form to one of the OAuth endpoints. */
export async function postForm(
  address: string,
  fields: Record<string, string>,
  headers: Record<string, string> = {},
): Promise<Answer> {
  return answerOf(
    await fetch(address, { method: 'POST', body: new URLSearchParams(fields), headers }),
  )
}

export function redeem(
  gateway: string,
  given: { clientId: string; code: string; verifier: string; resource: string },
): Promise<Answer> {
  return postForm(`${gateway}/oauth/token`, {
    grant_type: 'authorization_code',
    code: given.code,
    code_verifier: given.verifier,
    client_id: given.clientId,
    redirect_uri: redirectUri,
    resource: given.resource,
  })
}

/** The refresh token's answer, whatever it is. */
export function refresh(
  gateway: string,
  given: { clientId: string; refreshToken: string; resource?: string },
): Promise<Answer> {
  const { clientId, refreshToken, resource } = given
  return postForm(`${gateway}/oauth/token`, {
    grant_type: 'refresh_token',
    refresh_token: refreshToken,
    client_id: clientId,
    ...(resource === undefined ? {} : { resource }),
  })
}

/** All steps from a client to its tokens. */
export async function obtainTokens(
  stack: Stack,
  account: Account,
  resource: string,
): Promise<Tokens> {
  const clientId = await registerClient(stack.gateway)
  const { code, verifier } = await obtainCode(stack, account, { clientId, resource })
  const answer = await redeem(stack.gateway, { clientId, code, verifier, resource })
  return { clientId, code, ...tokensFrom(answer) }
}

/** Access and refresh token of a token endpoint's answer; throws when it refused. */
export function tokensFrom(answer: Answer): { accessToken: string; refreshToken: string } {
  const { access_token, refresh_token } = tokensSchema.parse(succeeded(answer))
  return { accessToken: access_token, refreshToken: refresh_token }
}

/** One `tools/call` as its raw answer. */
export function callTool(
  url: string,
  accessToken: string,
  tool: { name: string; args?: Record<string, unknown> },
  signal?: AbortSignal,
): Promise<Answer> {
  const { name, args = {} } = tool
  return ask(url, 'POST', {
    body: { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name, arguments: args } },
    headers: { authorization: `Bearer ${accessToken}`, 'mcp-protocol-version': LEGACY_VERSION },
    ...(signal === undefined ? {} : { signal }),
  })
}

const resultSchema = z.object({
  result: z.object({
    content: z.array(z.looseObject({ type: z.string(), text: z.string().optional() })),
    isError: z.boolean().optional(),
  }),
})

/** The text of a tool's answer; throws when the call or the tool failed. */
export function textOf(answer: Answer): string {
  const parsed = resultSchema.safeParse(answer.json)
  if (!parsed.success || parsed.data.result.isError === true) {
    throw new Error(`the call failed with ${answer.status}: ${answer.text.slice(0, 2_000)}`)
  }
  return parsed.data.result.content.map(({ text = '' }) => text).join('')
}

/** Any request with a JSON body and what came back. */
export async function ask(url: string, method: string, asking: Asking = {}): Promise<Answer> {
  const { body, headers = {}, signal } = asking
  return answerOf(
    await fetch(url, {
      method,
      headers: {
        accept: 'application/json',
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      redirect: 'manual',
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      ...(signal === undefined ? {} : { signal }),
    }),
  )
}

/** Reads an answer whole. */
export async function answerOf(response: Response): Promise<Answer> {
  const text = await response.text()
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    json = undefined
  }
  return { status: response.status, text, json, headers: response.headers }
}

/** The JSON of an answer that must not be a refusal. */
export function succeeded(answer: Answer): unknown {
  if (answer.status >= 200 && answer.status < 300) return answer.json
  throw new Error(`answered ${answer.status}: ${answer.text.slice(0, 2_000)}`)
}
