/** A bearer for a server by the real code flow (RFC 6749 section 4.1, RFC 7636), with the CLI as client and browser. */
import { createHash, randomBytes } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { ask } from './api.ts'
import { failed } from './fault.ts'
import { reach } from './reach.ts'
import type { SignedIn } from './session.ts'

const SESSION_COOKIE = '__Host-bmm'
const TIMEOUT_MS = 30_000
/** Nothing listens there: the redirect is read, not followed. */
const REDIRECT_URI = 'http://127.0.0.1:8788/callback'

const metadataSchema = z.object({
  authorization_endpoint: z.string(),
  token_endpoint: z.string(),
  registration_endpoint: z.string(),
})
const clientSchema = z.object({ client_id: z.string(), issuer: z.string() })
const tokenSchema = z.object({ access_token: z.string(), expires_in: z.number() })
export type AccessToken = z.infer<typeof tokenSchema>

/** A token for the server at this MCP URL. Throws CommandFault with the authorization server's reason. */
export async function accessToken(resource: string, access: SignedIn): Promise<AccessToken> {
  const path = '/.well-known/oauth-authorization-server'
  const metadata = await ask(access.gateway, path, metadataSchema)
  const clientId = await registeredClient(metadata.registration_endpoint, access)
  const verifier = randomBytes(32).toString('base64url')
  const state = randomBytes(16).toString('base64url')
  const authorize = new URL(metadata.authorization_endpoint)
  authorize.search = new URLSearchParams({
    response_type: 'code',
    client_id: clientId,
    redirect_uri: REDIRECT_URI,
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
    state,
    resource,
  }).toString()
  const callback = await approve(authorize, access)
  if (callback.searchParams.get('state') !== state) {
    throw failed('oauth_state', 'The authorization server answered another request.')
  }
  return redeem(access, metadata.token_endpoint, {
    grant_type: 'authorization_code',
    code: callback.searchParams.get('code') ?? '',
    redirect_uri: REDIRECT_URI,
    client_id: clientId,
    code_verifier: verifier,
    resource,
  })
}

/** Registers once a stack (RFC 7591): registrations of one address are limited. */
async function registeredClient(endpoint: string, { paths, gateway }: SignedIn): Promise<string> {
  const file = join(paths.data, 'oauth-client.json')
  const kept = existsSync(file)
    ? clientSchema.safeParse(JSON.parse(readFileSync(file, 'utf8'))).data
    : undefined
  if (kept?.issuer === gateway.origin) return kept.client_id
  const { client_id } = await ask(
    gateway,
    new URL(endpoint).pathname,
    clientSchema.pick({ client_id: true }),
    {
      method: 'POST',
      body: {
        client_name: 'Build My MCP command line',
        redirect_uris: [REDIRECT_URI],
        grant_types: ['authorization_code'],
        response_types: ['code'],
        token_endpoint_auth_method: 'none',
      },
    },
  )
  writeFileSync(file, JSON.stringify({ client_id, issuer: gateway.origin }), { mode: 0o600 })
  return client_id
}

/** What a person does in a browser: look at the consent page and allow. Returns where it leads. */
async function approve(authorize: URL, { gateway, session }: SignedIn): Promise<URL> {
  const cookie = `${SESSION_COOKIE}=${session}`
  const page = await reach(gateway, authorize, {
    ...{ headers: { cookie }, redirect: 'manual', signal: limit() },
  })
  const redirected = page.headers.get('location')
  if (redirected !== null) return callbackOf(redirected)
  const html = await page.text()
  const fields = hiddenFields(html)
  if (!page.ok || fields.request_id === undefined) throw failed('oauth_refused', sentenceOf(html))
  const decided = await reach(gateway, '/oauth/consent', {
    method: 'POST',
    headers: { cookie, origin: gateway.origin },
    body: new URLSearchParams({ ...fields, decision: 'allow' }),
    redirect: 'manual',
    signal: limit(),
  })
  const location = decided.headers.get('location')
  if (location === null) throw failed('oauth_refused', sentenceOf(await decided.text()))
  return callbackOf(location)
}

/** The code is at the redirect address; anything else there is a refusal (RFC 6749 section 4.1.2.1). */
function callbackOf(location: string): URL {
  const url = new URL(location, REDIRECT_URI)
  if (url.pathname === '/login') {
    throw failed('session_invalid', 'The session has ended.', {
      next: 'login --email YOU@EXAMPLE.COM',
    })
  }
  const error = url.searchParams.get('error')
  if (error === null) return url
  throw failed(
    error,
    url.searchParams.get('error_description') ?? `The authorization server says ${error}.`,
  )
}

async function redeem(
  { gateway }: SignedIn,
  endpoint: string,
  form: Record<string, string>,
): Promise<AccessToken> {
  const response = await reach(gateway, endpoint, {
    method: 'POST',
    body: new URLSearchParams(form),
    signal: limit(),
  })
  const body: unknown = await response.json().catch(() => undefined)
  const token = tokenSchema.safeParse(body)
  if (response.ok && token.success) return token.data
  const fault = z
    .object({ error: z.string(), error_description: z.string().optional() })
    .safeParse(body)
  throw failed(
    fault.data?.error ?? 'oauth_failed',
    fault.data?.error_description ?? 'The token endpoint gave no token.',
  )
}

/** The hidden fields of the form that decides. */
function hiddenFields(html: string): Record<string, string | undefined> {
  const form = /<form[^>]*action="\/oauth\/consent"[\s\S]*?<\/form>/.exec(html)?.[0] ?? ''
  const inputs = [...form.matchAll(/<input type="hidden" name="([^"]*)" value="([^"]*)">/g)]
  return Object.fromEntries(inputs.map(([, name = '', value = '']) => [name, unescapeHtml(value)]))
}

/** What a page says went wrong. */
function sentenceOf(html: string): string {
  const alert = /<p role="alert">([\s\S]*?)<\/p>/.exec(html)?.[1]
  return alert === undefined ? 'The authorization server refused.' : unescapeHtml(alert)
}

function unescapeHtml(text: string): string {
  return text
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&quot;', '"')
    .replaceAll('&#39;', "'")
    .replaceAll('&amp;', '&')
}

function limit(): AbortSignal {
  return AbortSignal.timeout(TIMEOUT_MS)
}
