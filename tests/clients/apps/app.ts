/** What the small apps share: a file that remembers, a way back on the loopback, the browser, one line of outcome. */
import { spawnSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'

const PERSON_TIMEOUT_MS = 30_000

type Kept<Tokens, Client> = {
  tokens?: Tokens
  client?: Client
  verifier?: string
  /** Which authorization server was asked (SEP-2352); what is in it is the library's business. */
  discovery?: never
}
type Part = 'all' | 'client' | 'tokens' | 'verifier' | 'discovery'
export type Outcome = { protocol: string; tools: string[]; answer: unknown }

/** An OAuth provider as the SDKs ask for it, and what the browser brings back to it. */
export async function openApp<Tokens, Client>(name: string, file: string) {
  const kept: Kept<Tokens, Client> = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {}
  const keep = (more: Kept<Tokens, Client>) =>
    writeFileSync(file, JSON.stringify(Object.assign(kept, more)))
  const state = randomUUID()
  const came = Promise.withResolvers<URLSearchParams>()
  const listener = createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://127.0.0.1')
    response.end('You can close this page.')
    if (pathname === '/callback') came.resolve(searchParams)
  })
  // Another port each time, as apps have it that come and go: the redirect that was registered named another one.
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const address = listener.address()
  const port = typeof address === 'object' ? address?.port : undefined
  const redirectUrl = `http://127.0.0.1:${port}/callback`

  const provider = {
    redirectUrl,
    clientMetadata: {
      client_name: name,
      redirect_uris: [redirectUrl],
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
      token_endpoint_auth_method: 'none',
    },
    state: () => state,
    storedState: () => state,
    clientInformation: () => kept.client,
    saveClientInformation: (client: Client) => keep({ client }),
    isClientInformationDynamicallyRegistered: () => true,
    tokens: () => kept.tokens,
    saveTokens: (tokens: Tokens) => keep({ tokens }),
    saveCodeVerifier: (verifier: string) => keep({ verifier }),
    codeVerifier: () => kept.verifier ?? '',
    saveDiscoveryState: (discovery: unknown) => keep({ discovery: discovery as never }),
    discoveryState: () => kept.discovery,
    redirectToAuthorization(url: URL) {
      const { status } = spawnSync('xdg-open', [url.href])
      if (status !== 0) throw new Error('Somebody has to sign in, and there is no browser.')
    },
    invalidateCredentials(part: Part) {
      if (part === 'all' || part === 'tokens') delete kept.tokens
      if (part === 'all' || part === 'client') delete kept.client
      if (part === 'all' || part === 'verifier') delete kept.verifier
      if (part === 'all' || part === 'discovery') delete kept.discovery
      keep({})
    },
  }

  return {
    provider,
    /** What the person's browser brought, after it was seen to be the answer to our own question. */
    async cameBack(): Promise<URLSearchParams> {
      const timer = setTimeout(() => came.reject(new Error('nobody came back')), PERSON_TIMEOUT_MS)
      const found = await came.promise
      clearTimeout(timer)
      if (found.get('state') !== state) throw new Error('the state is not ours')
      return found
    },
    [Symbol.dispose]: () => void listener.close(),
  }
}

/** Runs an app and prints its outcome; one that fails says why in one line and ends with 1. */
export async function main(
  run: (first: string, ...words: string[]) => Promise<Outcome>,
): Promise<void> {
  const [first = '', ...words] = process.argv.slice(2)
  try {
    process.stdout.write(`${JSON.stringify(await run(first, ...words))}\n`)
  } catch (thrown) {
    const told = thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : String(thrown)
    process.stderr.write(`${told}\n`)
    process.exitCode = 1
  }
  process.exit()
}
