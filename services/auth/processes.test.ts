/** Two processes of the service on one database: one code, one rotation, whoever asks. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { rpcClient } from '@bmm/lib/client'
import { CONFIG_EXIT_CODE } from '@bmm/lib/env'
import {
  type TestDatabase,
  type TestIdentities,
  type TestRedis,
  testDatabase,
  testIdentities,
  testRedis,
} from '@bmm/lib/testing'
import { SessionService } from '@bmm/proto/auth/v1/auth_service'
import { OAuthService } from '@bmm/proto/auth/v1/oauth_service'
import { z } from 'zod'
import { linkUrl } from './sign-in/magic-link.ts'
import {
  authorizationQuery,
  callback,
  codeForm,
  exchange,
  issuer,
  jsonBytes,
  jsonOf,
  randomIp,
  refreshForm,
  testResource,
  tokensOf,
} from './testing.ts'

const PARALLEL = 50
const START_TIMEOUT_MS = 20_000

let folder: string
let database: TestDatabase
let redis: TestRedis
let identities: TestIdentities
const children: Bun.Subprocess[] = []

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'bmm-auth-'))
  database = await testDatabase('auth', join(import.meta.dir, 'migrations'))
  redis = await testRedis()
  identities = await testIdentities()
  mkdirSync(join(folder, 'mailbox'))
  writeFileSync(join(folder, 'service.pem'), identities.privateKeyPem('auth'))
  writeFileSync(join(folder, 'user.pem'), identities.privateKeyPem('auth-user'))
  writeFileSync(join(folder, 'public-keys.json'), identities.publicKeys)
  writeFileSync(join(folder, 'kek'), randomBytes(32))
  await Promise.all([start('one'), start('two')])
}, START_TIMEOUT_MS * 2)

afterAll(async () => {
  for (const child of children) {
    child.kill('SIGTERM')
    expect(await child.exited).toBe(0)
  }
  await redis[Symbol.asyncDispose]()
  await database[Symbol.asyncDispose]()
  rmSync(folder, { recursive: true, force: true })
})

function environment(rpcDir: string): Record<string, string> {
  return {
    BMM_ENV: 'development',
    BMM_RPC_DIR: rpcDir,
    BMM_SERVICE_KEY: join(folder, 'service.pem'),
    BMM_SERVICE_PUBLIC_KEYS: join(folder, 'public-keys.json'),
    BMM_USER_TOKEN_KEY: join(folder, 'user.pem'),
    BMM_AUTH_KEK: join(folder, 'kek'),
    BMM_DATABASE_URL: database.url,
    BMM_REDIS_URL: redis.url,
    BMM_PUBLIC_URL: issuer,
    BMM_MAILBOX_DIR: join(folder, 'mailbox'),
  }
}

/** Starts the real process and waits until it says that it is healthy. */
async function start(name: string): Promise<void> {
  const rpcDir = join(folder, name)
  mkdirSync(join(rpcDir, 'auth'), { recursive: true })
  const child = Bun.spawn([process.execPath, join(import.meta.dir, 'main.ts')], {
    stdout: Bun.file(join(folder, `${name}.log`)),
    stderr: 'inherit',
    env: environment(rpcDir),
  })
  children.push(child)
  const unix = join(rpcDir, 'auth', 'rpc.sock')
  for (const end = Date.now() + START_TIMEOUT_MS; Date.now() < end; await Bun.sleep(50)) {
    const healthy = await fetch('http://localhost/health', { unix }).then(
      (response) => response.ok,
      () => false,
    )
    if (healthy) return
    if (child.exitCode !== null) throw new Error(`the process ended: ${child.exitCode}`)
  }
  throw new Error('the process did not become healthy')
}

function clientsOf(name: string) {
  const options = {
    identity: identities.of('gateway'),
    rpcDir: join(folder, name),
    to: 'auth' as const,
  }
  return { oauth: rpcClient(OAuthService, options), sessions: rpcClient(SessionService, options) }
}

const mailSchema = z.strictObject({
  to: z.string(),
  subject: z.string(),
  text: z.string(),
  html: z.string(),
  at: z.iso.datetime(),
})

/** Signs in through the mailbox folder, as `./bmm login` does. */
async function signIn(): Promise<{ sessionToken: string; orgId: string; linkToken: string }> {
  const { sessions } = clientsOf('one')
  await sessions.startMagicLink({ email: 'ada@example.com', clientIp: randomIp(), returnTo: '' })
  const [file = ''] = readdirSync(join(folder, 'mailbox')).sort().reverse()
  expect(file).toMatch(/^\d+-[0-9a-f]{16}\.json$/)
  const path = join(folder, 'mailbox', file)
  expect(statSync(path).mode & 0o777).toBe(0o600)
  const mail = mailSchema.parse(JSON.parse(readFileSync(path, 'utf8')))
  const start = linkUrl(issuer, '')
  const link = mail.text.split('\n').find((line) => line.startsWith(start)) ?? ''
  const linkToken = link.slice(start.length)
  const finished = await clientsOf('two').sessions.finishMagicLink({
    token: linkToken,
    userAgent: 'test',
  })
  const { sessionToken, session } = finished
  return { sessionToken, orgId: session?.org?.id ?? '', linkToken }
}

async function makeCode() {
  const { sessionToken, orgId, linkToken } = await signIn()
  const { oauth } = clientsOf('one')
  const registered = await oauth.registerClient({
    clientIp: randomIp(),
    metadata: jsonBytes({
      redirect_uris: [callback],
      token_endpoint_auth_method: 'none',
      grant_types: ['authorization_code', 'refresh_token'],
    }),
  })
  if (registered.outcome.case !== 'answer') throw new Error('not registered')
  const body = jsonOf(registered.outcome.value.body)
  const clientId = z.looseObject({ client_id: z.string() }).parse(body).client_id
  const resource = testResource(orgId)
  const { outcome } = await oauth.startAuthorization({
    parameters: authorizationQuery(clientId, resource),
    resource,
    sessionToken,
  })
  if (outcome.case !== 'consent') throw new Error('no consent page')
  const { requestId, csrfToken } = outcome.value
  const decision = { requestId, csrfToken, approved: true, sessionToken, resource }
  const decided = await clientsOf('two').oauth.decideConsent(decision)
  if (decided.outcome.case !== 'redirectUrl') throw new Error('no redirect')
  const code = new URL(decided.outcome.value).searchParams.get('code') ?? ''
  return { clientId, resource, code, linkToken, sessionToken }
}

/** The same request many times at once, half of it to each process. */
function storm(form: Record<string, string>, resource: ReturnType<typeof testResource>) {
  const targets = [clientsOf('one').oauth, clientsOf('two').oauth] as const
  return Promise.all(
    Array.from({ length: PARALLEL }, (_, index) =>
      exchange(targets[index % 2 === 0 ? 0 : 1], { form, resource }),
    ),
  )
}

describe('two processes', () => {
  test('redeem a code once among fifty requests at once, and the rest kills what it gave', async () => {
    const { clientId, resource, code } = await makeCode()
    const results = await storm(codeForm(clientId, code, resource), resource)
    const won = results.filter((result) => 'tokens' in result)
    expect(won).toHaveLength(1)
    const lost = results.filter((result) => 'error' in result && result.error === 'invalid_grant')
    expect(lost).toHaveLength(PARALLEL - 1)
    const [winner] = won
    if (winner === undefined) throw new Error('nobody won')
    const refreshToken = tokensOf(winner).refresh_token ?? ''
    const form = refreshForm(clientId, refreshToken, resource)
    expect(await exchange(clientsOf('two').oauth, { form, resource })).toMatchObject({
      error: 'invalid_grant',
    })
  })

  test('rotate a refresh token once: fifty requests at once get one successor', async () => {
    const { clientId, resource, code } = await makeCode()
    const { oauth } = clientsOf('one')
    const first = tokensOf(
      await exchange(oauth, { form: codeForm(clientId, code, resource), resource }),
    )
    const form = refreshForm(clientId, first.refresh_token ?? '', resource)
    const results = (await storm(form, resource)).map(tokensOf)
    const successors = new Set(results.map((tokens) => tokens.refresh_token))
    expect(successors.size).toBe(1)
    const stored = await database.sql`
      select 1 from refresh_tokens t join grants g on g.id = t.grant_id
      where g.client_id = ${clientId}`
    expect(stored).toHaveLength(2)
    const [successor = ''] = successors
    const next = refreshForm(clientId, successor, resource)
    expect(await exchange(oauth, { form: next, resource })).toHaveProperty('tokens')
  })

  test('sign by the same key and write no secret into their logs', async () => {
    const { sessionToken, linkToken, code } = await makeCode()
    const [one, two] = await Promise.all(
      ['one', 'two'].map(async (name) => jsonOf((await clientsOf(name).oauth.getJwks({})).jwks)),
    )
    expect(one).toEqual(two)
    const logs = ['one', 'two'].map((name) => readFileSync(join(folder, `${name}.log`), 'utf8'))
    expect(logs.join('')).toContain('a grant ended')
    for (const secret of [sessionToken, linkToken, code, 'ada@example.com']) {
      expect(logs.join('')).not.toContain(secret)
    }
  })
})

test('the process refuses to start with another key-encryption key, and in production without a sender', async () => {
  const rpcDir = join(folder, 'refused')
  mkdirSync(join(rpcDir, 'auth'), { recursive: true })
  writeFileSync(join(folder, 'other-kek'), randomBytes(32))
  const starting = async (changes: Record<string, string>) => {
    const child = Bun.spawn([process.execPath, join(import.meta.dir, 'main.ts')], {
      stdout: 'ignore',
      stderr: 'pipe',
      env: { ...environment(rpcDir), ...changes },
      timeout: START_TIMEOUT_MS,
    })
    const text = await new Response(child.stderr).text()
    return { code: await child.exited, text }
  }
  const foreign = await starting({ BMM_AUTH_KEK: join(folder, 'other-kek') })
  expect(foreign.code).toBe(1)
  expect(foreign.text).toContain('BMM_AUTH_KEK is not the key')
  const production = await starting({ BMM_ENV: 'production' })
  expect(production.code).toBe(CONFIG_EXIT_CODE)
  expect(production.text).toContain('BMM_SMTP_URL')
})
