/** What the tests of this service share: the service on real stores, and a client that walks the code flow. */
import { afterAll } from 'bun:test'
import { createHash, randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { newId } from '@bmm/lib/ids'
import {
  type TestDatabase,
  type TestIdentities,
  type TestRedis,
  testDatabase,
  testIdentities,
  testLog,
  testRedis,
  testRpc,
} from '@bmm/lib/testing'
import { SessionService } from '@bmm/proto/auth/v1/auth_service'
import { ClientService } from '@bmm/proto/auth/v1/client_service'
import { OAuthService } from '@bmm/proto/auth/v1/oauth_service'
import { ServiceTokenService } from '@bmm/proto/auth/v1/service_token_service'
import type { Client } from '@connectrpc/connect'
import { z } from 'zod'
import type { Resource } from './oauth/authorization-request.ts'
import { successorKey } from './oauth/successor-key.ts'
import { openRevoker } from './revocation.ts'
import { authRoutes } from './service.ts'
import { linkUrl } from './sign-in/magic-link.ts'
import type { Mail } from './sign-in/mail.ts'
import { openSigningKeys, type SigningKeys } from './signing-keys.ts'
import { userTokenKey } from './user-token.ts'

export const issuer = 'http://localhost:8787'
export const callback = 'http://127.0.0.1:43210/callback'

/** A clock that only the test moves. */
export type TestClock = { now: () => number; advance: (ms: number) => void }

export type TestAuth = AsyncDisposable & {
  database: TestDatabase
  redis: TestRedis
  identities: TestIdentities
  keys: SigningKeys
  kek: Buffer
  clock: TestClock
  mails: Mail[]
  mailServer: { isAway: boolean }
  sessions: Client<typeof SessionService>
  oauth: Client<typeof OAuthService>
  tokens: Client<typeof ServiceTokenService>
  generator: Client<typeof OAuthService>
  operator: Client<typeof OAuthService>
  clients: Client<typeof ClientService>
}

/** The service that all tests of a file share. */
export async function authOfFile(): Promise<TestAuth> {
  const auth = await openTestAuth()
  afterAll(() => auth[Symbol.asyncDispose]())
  return auth
}

/** The whole service in this process, on a database and a Redis of its own. */
async function openTestAuth(): Promise<TestAuth> {
  const database = await testDatabase('auth', join(import.meta.dir, 'migrations'))
  const redis = await testRedis()
  const clock = testClock()
  const identities = await testIdentities()
  const kek = randomBytes(32)
  const { sql } = database
  const { now } = clock
  const keys = await openSigningKeys({ sql, kek, now })
  const revoker = openRevoker({ sql, redis: redis.redis, log: testLog, now })
  const mails: Mail[] = []
  const mailServer = { isAway: false }
  const sendMail = async (mail: Mail) => {
    if (mailServer.isAway) throw new Error(`no connection for ${mail.to}`)
    mails.push(mail)
    return 'sent' as const
  }
  const rpc = testRpc(identities)
  const key = userTokenKey(Buffer.from(identities.privateKeyPem('auth-user')))
  rpc.serve(
    'auth',
    authRoutes({
      session: { sql, sendMail, publicUrl: issuer, log: testLog, userTokenKey: key, now },
      oauth: { sql, issuer, keys, successorKey: successorKey(kek), revoker, now },
      clients: { sql, revoker, now },
      tokens: { sql, userTokenKey: key, revoker, log: testLog, now },
    }),
  )
  return {
    database,
    redis,
    identities,
    keys,
    kek,
    clock,
    mails,
    mailServer,
    sessions: rpc.client(SessionService, 'auth', 'gateway'),
    oauth: rpc.client(OAuthService, 'auth', 'gateway'),
    tokens: rpc.client(ServiceTokenService, 'auth', 'gateway'),
    generator: rpc.client(OAuthService, 'auth', 'generator'),
    operator: rpc.client(OAuthService, 'auth', 'operator'),
    clients: rpc.client(ClientService, 'auth', 'operator'),
    async [Symbol.asyncDispose]() {
      await rpc[Symbol.asyncDispose]()
      await redis[Symbol.asyncDispose]()
      await database[Symbol.asyncDispose]()
    },
  }
}

function testClock(): TestClock {
  let offset = 0
  return {
    now: () => Date.now() + offset,
    advance: (ms) => {
      offset += ms
    },
  }
}

/** A random public address: per-IP limits of one test never meet another's. */
export function randomIp(): string {
  return `2001:db8:${randomBytes(2).toString('hex')}:${randomBytes(2).toString('hex')}::1`
}

export function randomEmail(): string {
  return `p${randomBytes(6).toString('hex')}@example.com`
}

export type SignedIn = { sessionToken: string; userId: string; orgId: string; email: string }

/** Signs a person in by the mail that the service sent. */
export async function signIn(auth: TestAuth, email = randomEmail()): Promise<SignedIn> {
  await auth.sessions.startMagicLink({ email, clientIp: randomIp(), returnTo: '' })
  const token = linkTokenOf(auth.mails.at(-1))
  const { sessionToken, session } = await auth.sessions.finishMagicLink({
    token,
    userAgent: 'test',
  })
  return {
    sessionToken,
    email,
    userId: session?.user?.id ?? '',
    orgId: session?.org?.id ?? '',
  }
}

/** The secret in the link of a mail. */
export function linkTokenOf(mail: Mail | undefined): string {
  const start = linkUrl(issuer, '')
  const link = mail?.text.split('\n').find((line) => line.startsWith(start))
  if (link === undefined) throw new Error('no mail with a link')
  return link.slice(start.length)
}

const clientSchema = z.looseObject({ client_id: z.string(), client_secret: z.string().optional() })
const tokensSchema = z.looseObject({
  access_token: z.string(),
  token_type: z.string(),
  expires_in: z.number(),
  scope: z.string(),
  refresh_token: z.string().optional(),
})
export type Tokens = z.infer<typeof tokensSchema>

/** Registers a public client that may refresh, unless told otherwise. */
export async function register(auth: TestAuth, metadata: object = {}) {
  const { outcome } = await auth.oauth.registerClient({
    metadata: jsonBytes({
      redirect_uris: [callback],
      token_endpoint_auth_method: 'none',
      grant_types: ['authorization_code', 'refresh_token'],
      client_name: 'Test client',
      ...metadata,
    }),
    clientIp: randomIp(),
  })
  if (outcome.case !== 'answer') throw new Error(`not registered: ${JSON.stringify(outcome.value)}`)
  return clientSchema.parse(jsonOf(outcome.value.body))
}

/** A server of that organisation. */
export function testResource(orgId: string, access: object = { kind: 'org' }): Resource & Shown {
  const slug = `s${randomBytes(5).toString('hex')}`
  return {
    serverId: newId('srv'),
    orgId,
    url: `${issuer}/s/${slug}/mcp`,
    name: 'Example',
    access: JSON.stringify(access),
    origins: ['https://api.example.com'],
  }
}
type Shown = { name: string; origins: string[] }

const verifier = randomBytes(32).toString('base64url')
const challenge = createHash('sha256').update(verifier).digest('base64url')

/** A sound authorization request; undefined takes a parameter away. */
export function authorizationQuery(
  clientId: string,
  resource: Resource,
  changes: Record<string, string | undefined> = {},
) {
  return pairs({
    response_type: 'code',
    client_id: clientId,
    redirect_uri: callback,
    code_challenge: challenge,
    code_challenge_method: 'S256',
    state: 'xyz',
    scope: 'mcp:tools',
    resource: resource.url,
    ...changes,
  })
}

export function pairs(values: Record<string, string | undefined>) {
  return Object.entries(values).flatMap(([name, value]) =>
    value === undefined ? [] : [{ name, value }],
  )
}

/** The consent page of a sound request; throws when something else comes. */
export async function openConsent(
  auth: TestAuth,
  person: SignedIn,
  clientId: string,
  resource: Resource,
  changes: Record<string, string | undefined> = {},
) {
  const { outcome } = await auth.oauth.startAuthorization({
    parameters: authorizationQuery(clientId, resource, changes),
    resource,
    sessionToken: person.sessionToken,
  })
  if (outcome.case !== 'consent') throw new Error(`no consent page: ${JSON.stringify(outcome)}`)
  return outcome.value
}

/** A fresh code of a fresh grant. */
export async function getCode(
  auth: TestAuth,
  person: SignedIn,
  clientId: string,
  resource: Resource,
  changes: Record<string, string | undefined> = {},
): Promise<string> {
  const page = await openConsent(auth, person, clientId, resource, changes)
  const { outcome } = await auth.oauth.decideConsent({
    requestId: page.requestId,
    csrfToken: page.csrfToken,
    approved: true,
    sessionToken: person.sessionToken,
    resource,
  })
  if (outcome.case !== 'redirectUrl') throw new Error(`no redirect: ${JSON.stringify(outcome)}`)
  return new URL(outcome.value).searchParams.get('code') ?? ''
}

export type ExchangeRequest = {
  form: Record<string, string | undefined>
  resource?: Resource
  authorization?: string
}

/** One token request: its tokens, or its error code, or that a resource is needed. */
export async function exchange(
  oauth: Client<typeof OAuthService>,
  { form, resource, authorization = '' }: ExchangeRequest,
): Promise<{ tokens: Tokens } | { error: string; status: number } | { resourceNeeded: string }> {
  const { outcome } = await oauth.exchangeToken({
    parameters: pairs(form),
    authorization,
    ...(resource === undefined ? {} : { resource }),
  })
  switch (outcome.case) {
    case 'answer':
      return { tokens: tokensSchema.parse(jsonOf(outcome.value.body)) }
    case 'fault':
      return { error: outcome.value.error, status: outcome.value.status }
    case 'resourceNeeded':
      return { resourceNeeded: outcome.value.serverId }
    default:
      throw new Error('no outcome')
  }
}

/** The form that redeems a code. */
export function codeForm(clientId: string, code: string, resource: Resource) {
  return {
    grant_type: 'authorization_code',
    client_id: clientId,
    code,
    code_verifier: verifier,
    redirect_uri: callback,
    resource: resource.url,
  }
}

/** The form that refreshes. */
export function refreshForm(clientId: string, refreshToken: string, resource: Resource) {
  return {
    grant_type: 'refresh_token',
    client_id: clientId,
    refresh_token: refreshToken,
    resource: resource.url,
  }
}

/** The tokens of an exchange; throws when it was refused. */
export function tokensOf(result: Awaited<ReturnType<typeof exchange>>): Tokens {
  if (!('tokens' in result)) throw new Error(`refused: ${JSON.stringify(result)}`)
  return result.tokens
}

/** Walks the whole flow: fresh tokens of a fresh grant. */
export async function getTokens(
  auth: TestAuth,
  person: SignedIn,
  clientId: string,
  resource: Resource,
): Promise<Tokens & { refresh_token: string }> {
  const code = await getCode(auth, person, clientId, resource)
  const form = codeForm(clientId, code, resource)
  const tokens = tokensOf(await exchange(auth.oauth, { form, resource }))
  return { ...tokens, refresh_token: tokens.refresh_token ?? '' }
}

/** Whether the client's token is active, by introspection. */
export async function isActive(auth: TestAuth, clientId: string, token: string): Promise<boolean> {
  const { outcome } = await auth.oauth.introspectToken({
    parameters: pairs({ client_id: clientId, token }),
  })
  if (outcome.case !== 'answer') throw new Error(`no answer: ${JSON.stringify(outcome)}`)
  return z.looseObject({ active: z.boolean() }).parse(jsonOf(outcome.value.body)).active
}

export function jsonBytes(value: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value))
}

export function jsonOf(bytes: Uint8Array): unknown {
  return JSON.parse(new TextDecoder().decode(bytes))
}

/** A JWT's claims without checking them. */
export function claimsOf(token: string): Record<string, unknown> {
  const payload = Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8')
  return z.record(z.string(), z.unknown()).parse(JSON.parse(payload))
}
