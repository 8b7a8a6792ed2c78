/** One of the two authorization servers that get the same requests: its doors, its clients, and a person who says yes. */
import { createHash, randomBytes } from 'node:crypto'
import { z } from 'zod'
import { type Answer, answerOf, ask, succeeded } from '../account.ts'
import { type Browser, openBrowser, type Page } from '../browser.ts'

export const redirectUri = 'http://127.0.0.1:33418/callback'
export const webRedirectUri = 'https://client.example/callback'
const RETRY_MS = 1_000
const MAX_RETRIES = 30

const doorsSchema = z.object({
  issuer: z.string(),
  authorization_endpoint: z.string(),
  token_endpoint: z.string(),
  registration_endpoint: z.string(),
  revocation_endpoint: z.string(),
  introspection_endpoint: z.string(),
  jwks_uri: z.string(),
})
const clientSchema = z.object({ client_id: z.string(), client_secret: z.string().optional() })
const tokensSchema = z.object({ access_token: z.string(), refresh_token: z.string() })

export type OAuthClient = { id: string; secret: string }
export type Clients = Readonly<
  Record<'public' | 'basic' | 'post' | 'other' | 'web' | 'two' | 'codeOnly' | 'hasty', OAuthClient>
>
export type Fields = Record<string, string | undefined>
export type Code = { code: string; verifier: string; client: OAuthClient }
export type Tokens = { accessToken: string; refreshToken: string; client: OAuthClient }

export type Side = {
  doors: z.infer<typeof doorsSchema>
  clients: Clients
  resource: string
  otherResource: string
  /** Asks for what a bearer token opens. */
  open(asking: { authorization?: string; query?: string }): Promise<Answer>
  register(metadata: unknown): Promise<Answer>
  /** Sends an authorization request; with `signedIn` the person allows where asked. Answers how it ended. */
  authorize(query: URLSearchParams, as: 'signed in' | 'signed out'): Promise<Ending>
  /** A sound authorization request of a client; undefined takes a parameter away. */
  query(client: OAuthClient, changes?: Fields): URLSearchParams
  code(client?: OAuthClient, changes?: Fields): Promise<Code>
  tokens(client?: OAuthClient): Promise<Tokens>
  /** The form that redeems a code. */
  codeForm(code: Code, changes?: Fields): URLSearchParams
  refreshForm(tokens: Tokens, changes?: Fields): URLSearchParams
  token(form: URLSearchParams, headers?: Record<string, string>): Promise<Answer>
  revoke(form: URLSearchParams): Promise<Answer>
  introspect(form: URLSearchParams): Promise<Answer>
  /** Waits until a code of the client `hasty` has expired. */
  outlive(code: Code): Promise<void>
}

/** Where an authorization request ended: at the client, or on a page of the server. */
export type Ending = { callback: URL } | { page: Page }

export type SideOptions = {
  issuer: string
  resource: string
  otherResource: string
  open: Side['open']
  /** A browser in which the person is signed in, or will be without being asked. */
  signedIn: () => Browser
  outlive: (code: Code) => Promise<void>
}

const metadataPath = '/.well-known/oauth-authorization-server'

/** Reads the metadata and registers the clients. */
export async function openSide(options: SideOptions): Promise<Side> {
  const { issuer, resource } = options
  const doors = doorsSchema.parse(succeeded(await ask(`${issuer}${metadataPath}`, 'GET')))
  const register = (metadata: unknown) =>
    patient(() => ask(doors.registration_endpoint, 'POST', { body: metadata }))
  const post = async (address: string, form: URLSearchParams, headers = {}) =>
    patient(async () => answerOf(await fetch(address, { method: 'POST', body: form, headers })))

  const side: Side = {
    ...options,
    doors,
    clients: await registerClients(register),
    register,
    async authorize(query, as) {
      const browser = as === 'signed in' ? options.signedIn() : openBrowser(issuer)
      const address = `${doors.authorization_endpoint}?${query}`
      let page = await patientPage(() => browser.get(address))
      if (page.html.includes('name="decision"')) {
        const choice = query.get('login_hint') === 'deny' ? 'deny' : 'allow'
        page = await browser.submit(page, {}, `decision=${choice}`)
      }
      return page.location === undefined ? { page } : { callback: new URL(page.location) }
    },
    query: (client, changes = {}) =>
      form({
        response_type: 'code',
        client_id: client.id,
        redirect_uri: redirectUri,
        code_challenge: challengeOf(newVerifier()),
        code_challenge_method: 'S256',
        state: 'of the client',
        scope: 'mcp:tools',
        resource,
        ...changes,
      }),
    async code(client = side.clients.public, changes = {}) {
      const verifier = newVerifier()
      const challenge = { code_challenge: challengeOf(verifier), ...changes }
      const ending = await side.authorize(side.query(client, challenge), 'signed in')
      const code = 'callback' in ending ? ending.callback.searchParams.get('code') : null
      if (code === null) throw new Error(`no code came: ${JSON.stringify(ending)}`)
      return { code, verifier, client }
    },
    async tokens(client = side.clients.public) {
      const answer = await side.token(side.codeForm(await side.code(client)))
      const { access_token, refresh_token } = tokensSchema.parse(succeeded(answer))
      return { accessToken: access_token, refreshToken: refresh_token, client }
    },
    codeForm: ({ code, verifier, client }, changes = {}) =>
      form({
        grant_type: 'authorization_code',
        client_id: client.id,
        code,
        code_verifier: verifier,
        redirect_uri: redirectUri,
        resource,
        ...changes,
      }),
    refreshForm: ({ refreshToken, client }, changes = {}) =>
      form({
        grant_type: 'refresh_token',
        client_id: client.id,
        refresh_token: refreshToken,
        ...changes,
      }),
    token: (form, headers) => post(doors.token_endpoint, form, headers),
    revoke: (form) => post(doors.revocation_endpoint, form),
    introspect: (form) => post(doors.introspection_endpoint, form),
  }
  return side
}

/** The fields that are there, in their order. */
export function form(fields: Fields): URLSearchParams {
  const found = new URLSearchParams()
  for (const [name, value] of Object.entries(fields)) {
    if (value !== undefined) found.append(name, value)
  }
  return found
}

/** With one more pair, which may repeat a name. */
export function plus(form: URLSearchParams, name: string, value: string): URLSearchParams {
  const longer = new URLSearchParams(form)
  longer.append(name, value)
  return longer
}

export function newVerifier(): string {
  return randomBytes(32).toString('base64url')
}

function challengeOf(verifier: string): string {
  return createHash('sha256').update(verifier).digest('base64url')
}

/** The Authorization header of a client (RFC 6749 section 2.3.1). */
export function basic({ id, secret }: OAuthClient): { authorization: string } {
  const pair = `${encodeURIComponent(id)}:${encodeURIComponent(secret)}`
  return { authorization: `Basic ${Buffer.from(pair).toString('base64')}` }
}

/** What every registration starts from; both servers take a client with a loopback address as an installed program. */
export const soundMetadata = {
  client_name: 'Refusals',
  application_type: 'native',
  redirect_uris: [redirectUri],
  grant_types: ['authorization_code', 'refresh_token'],
  response_types: ['code'],
  token_endpoint_auth_method: 'none',
}

async function registerClients(register: (metadata: unknown) => Promise<Answer>): Promise<Clients> {
  const client = async (changes: object = {}): Promise<OAuthClient> => {
    const answer = await register({ ...soundMetadata, ...changes })
    const { client_id, client_secret = '' } = clientSchema.parse(succeeded(answer))
    return { id: client_id, secret: client_secret }
  }
  return {
    public: await client(),
    other: await client(),
    basic: await client({ token_endpoint_auth_method: 'client_secret_basic' }),
    post: await client({ token_endpoint_auth_method: 'client_secret_post' }),
    web: await client({ application_type: 'web', redirect_uris: [webRedirectUri] }),
    two: await client({ redirect_uris: [redirectUri, 'http://127.0.0.1:33418/second'] }),
    codeOnly: await client({ grant_types: ['authorization_code'] }),
    hasty: await client({ client_name: 'hasty' }),
  }
}

/** The limit of a visitor is no part of the comparison: who is told to wait waits. */
async function patient(send: () => Promise<Answer>): Promise<Answer> {
  return retried(send, ({ status }) => status === 429)
}

async function patientPage(load: () => Promise<Page>): Promise<Page> {
  return retried(load, ({ status }) => status === 429)
}

async function retried<Found>(
  send: () => Promise<Found>,
  isBusy: (found: Found) => boolean,
): Promise<Found> {
  for (let attempt = 0; attempt < MAX_RETRIES; attempt++) {
    const found = await send()
    if (!isBusy(found)) return found
    await Bun.sleep(RETRY_MS)
  }
  throw new Error('the server is still busy')
}
