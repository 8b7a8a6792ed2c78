/** An ordinary MCP client (the official SDK v2) whose person signs in with the test's browser. */
import {
  Client,
  type OAuthClientProvider,
  type StoredOAuthClientInformation,
  type StoredOAuthTokens,
  StreamableHTTPClientTransport,
  UnauthorizedError,
} from '@modelcontextprotocol/client'
import { type Browser, openBrowser } from './browser.ts'
import { magicLink, type Stack } from './stack.ts'

const redirectUrl = 'http://127.0.0.1:33418/callback'

export type Era = 'modern' | 'legacy'
export type SignedIn = AsyncDisposable & {
  client: Client
  provider: MemoryProvider
  /** What the person saw on the consent page. */
  consentHtml: string
}

/** Everything that a client keeps between steps of the sign-in. */
export type MemoryProvider = OAuthClientProvider & {
  authorizationUrl: URL | undefined
  stored: { client?: StoredOAuthClientInformation; tokens?: StoredOAuthTokens; verifier?: string }
}

function memoryProvider(): MemoryProvider {
  const provider: MemoryProvider = {
    authorizationUrl: undefined,
    stored: {},
    redirectUrl,
    clientMetadata: {
      client_name: 'Journey client',
      redirect_uris: [redirectUrl],
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
      token_endpoint_auth_method: 'none',
    },
    state: () => 'journey-state',
    clientInformation: () => provider.stored.client,
    saveClientInformation: (information) => {
      provider.stored.client = information
    },
    tokens: () => provider.stored.tokens,
    saveTokens: (tokens) => {
      provider.stored.tokens = tokens
    },
    redirectToAuthorization: (url) => {
      provider.authorizationUrl = url
    },
    saveCodeVerifier: (verifier) => {
      provider.stored.verifier = verifier
    },
    codeVerifier: () => provider.stored.verifier ?? '',
  }
  return provider
}

/** 401 → discovery → registration → login by mail → consent → token → connected. */
export async function signIn(
  stack: Stack,
  serverUrl: string,
  email: string,
  era: Era = 'modern',
): Promise<SignedIn> {
  const provider = memoryProvider()
  const transport = new StreamableHTTPClientTransport(new URL(serverUrl), {
    authProvider: provider,
  })
  const refused = await newClient(era)
    .connect(transport)
    .then(
      () => undefined,
      (error: unknown) => error,
    )
  if (!(refused instanceof UnauthorizedError) || provider.authorizationUrl === undefined) {
    throw new Error('the server let a stranger in', { cause: refused })
  }
  const { callback, consentHtml } = await authorize(stack, provider.authorizationUrl.href, email)
  if (callback.searchParams.get('state') !== 'journey-state') throw new Error('state was lost')
  await transport.finishAuth(callback.searchParams)
  const client = await connect(serverUrl, provider, era)
  return {
    client,
    provider,
    consentHtml,
    async [Symbol.asyncDispose]() {
      await client.close()
    },
  }
}

/** A new connection with tokens that are there already. */
export async function connect(
  serverUrl: string,
  provider: MemoryProvider,
  era: Era,
): Promise<Client> {
  const client = newClient(era)
  await client.connect(
    new StreamableHTTPClientTransport(new URL(serverUrl), { authProvider: provider }),
  )
  return client
}

/** The person's part: sign in where asked, allow, and end at the client's redirect address. */
export async function authorize(
  stack: Stack,
  authorizationUrl: string,
  email: string,
  browser: Browser = openBrowser(stack.gateway),
): Promise<{ callback: URL; consentHtml: string }> {
  let page = await browser.get(authorizationUrl)
  if (page.html.includes('name="email"')) {
    await browser.submit(page, { email })
    const confirm = await browser.get(await magicLink(stack.mailbox, email))
    page = await browser.submit(confirm)
  }
  if (page.location !== undefined) {
    return { callback: new URL(page.location), consentHtml: '' }
  }
  const decided = await browser.submit(page, {}, 'decision=allow')
  if (decided.location === undefined) {
    throw new Error(`no redirect after consent: ${decided.status} ${decided.html.slice(0, 1_000)}`)
  }
  return { callback: new URL(decided.location), consentHtml: page.html }
}

function newClient(era: Era): Client {
  return new Client(
    { name: 'journey', version: '1.0.0' },
    era === 'modern' ? { versionNegotiation: { mode: { pin: '2026-07-28' } } } : {},
  )
}
