import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { outcomeOf } from '@bmm/lib/testing-outcome'
import { until } from '@bmm/lib/testing-until'
import {
  type Account,
  type Answer,
  callTool,
  obtainCode,
  obtainTokens,
  postForm,
  redeem,
  redirectUri,
  refresh,
  registerClient,
  type Served,
  serve,
  signUp,
  succeeded,
  type Tokens,
  tokensFrom,
} from './account.ts'
import { isGoodCall } from './patient-clients.ts'
import { type Stack, startStack } from './stack.ts'
import { openStackSql } from './traces.ts'
import { startUpstream, type Upstream } from './upstream.ts'

const apiKey = 'tokens-51c0de'
/** ARCHITECTURE.md promises five seconds; a loaded machine may take longer, and everything else ends in minutes. */
const REVOKED_WITHIN_MS = 15_000

let stack: Stack
let upstream: Upstream
let ann: Account
let bob: Account
let annsServer: Served
let bobsServer: Served

beforeAll(async () => {
  upstream = startUpstream(apiKey)
  stack = await startStack()
  await stack.run('targets', 'allow', upstream.target, '--everyone')
  ann = await signUp(stack, 'ann@example.com')
  bob = await signUp(stack, 'bob@example.com')
  annsServer = await serve(ann, wanted('anns-items'))
  bobsServer = await serve(bob, wanted('bobs-items'))
}, 180_000)
afterAll(async () => {
  await stack?.[Symbol.asyncDispose]()
  await upstream?.[Symbol.asyncDispose]()
})

function wanted(slug: string) {
  const source = { document: upstream.document }
  return { source, slug, credentials: [{ name: 'KEY', value: apiKey }] }
}

const call = (server: Served, tokens: Pick<Tokens, 'accessToken'>) =>
  callTool(server.url, tokens.accessToken, { name: 'getItem', args: { id: '1' } })

const errorOf = ({ status, json }: Answer) => [
  status,
  typeof json === 'object' && json !== null && 'error' in json ? json.error : undefined,
]

/** Works now; throws with the answer when it does not. */
async function expectGood(server: Served, tokens: Pick<Tokens, 'accessToken'>): Promise<void> {
  const answer = await call(server, tokens)
  if (!isGoodCall(answer)) throw new Error(`${answer.status} ${answer.text}`)
}

/** Refused with 401 soon, counted from the answer to what took the right away; and refused from then on. */
async function expectEnded(server: Served, tokens: Pick<Tokens, 'accessToken'>): Promise<void> {
  const endedAt = performance.now()
  await until(
    async () => (await call(server, tokens)).status === 401,
    'the access token is refused',
  )
  expect(performance.now() - endedAt).toBeLessThan(REVOKED_WITHIN_MS)
  expect((await call(server, tokens)).headers.get('www-authenticate')).toContain('invalid_token')
}

describe('a token is for one server', () => {
  test('of another organisation’s server it is refused, by call and by refresh', async () => {
    const anns = await obtainTokens(stack, ann, annsServer.url)
    const bobs = await obtainTokens(stack, bob, bobsServer.url)
    await expectGood(annsServer, anns)
    await expectGood(bobsServer, bobs)
    expect((await call(bobsServer, anns)).status).toBe(401)
    expect((await call(annsServer, bobs)).status).toBe(401)
    const crossed = await refresh(stack.gateway, { ...anns, resource: bobsServer.url })
    expect(errorOf(crossed)).toEqual([400, 'invalid_target'])
    // A refusal uses nothing up.
    expect((await refresh(stack.gateway, anns)).status).toBe(200)
  })

  test('a code for one server redeems nothing at another', async () => {
    const clientId = await registerClient(stack.gateway)
    const given = { clientId, resource: annsServer.url }
    const code = await obtainCode(stack, ann, given)
    const crossed = await redeem(stack.gateway, { ...given, ...code, resource: bobsServer.url })
    expect(errorOf(crossed)).toEqual([400, 'invalid_target'])
    expect((await redeem(stack.gateway, { ...given, ...code })).status).toBe(200)
  })

  test('who is not of the organisation gets no code', async () => {
    const clientId = await registerClient(stack.gateway)
    const attempt = obtainCode(stack, bob, { clientId, resource: annsServer.url })
    expect(await outcomeOf(attempt)).toThrow(/access_denied|may not use/)
  })

  test('another client revokes nothing, and a refresh token in its hands has leaked: it ends', async () => {
    const tokens = await obtainTokens(stack, ann, annsServer.url)
    const clientId = await registerClient(stack.gateway)
    expect(errorOf(await revoke({ ...tokens, clientId }))).toEqual([400, 'invalid_grant'])
    await expectGood(annsServer, tokens)
    const stolen = await refresh(stack.gateway, { ...tokens, clientId })
    expect(errorOf(stolen)).toEqual([400, 'invalid_grant'])
    await expectEnded(annsServer, tokens)
  })
})

function revoke({ clientId, refreshToken }: Tokens): Promise<Answer> {
  return postForm(`${stack.gateway}/oauth/revoke`, { client_id: clientId, token: refreshToken })
}

describe('what is taken away is gone within seconds', () => {
  test('a revoked grant, with the call that is running', async () => {
    const tokens = await obtainTokens(stack, ann, annsServer.url)
    await expectGood(annsServer, tokens)
    const startedAt = performance.now()
    const running = callTool(annsServer.url, tokens.accessToken, {
      name: 'slow',
      args: { ms: 30_000 },
    })
    await until(
      () => upstream.seen.some((request) => request.path === '/slow?ms=30000'),
      'the call is under way',
    )
    expect((await revoke(tokens)).status).toBe(200)
    await expectEnded(annsServer, tokens)
    const ended = await running
    expect([isGoodCall(ended), ended.text]).toEqual([false, expect.stringMatching(/taken back/)])
    expect(performance.now() - startedAt).toBeLessThan(25_000)
    expect(errorOf(await refresh(stack.gateway, tokens))).toEqual([400, 'invalid_grant'])
    // Nobody else's: another grant of the same person goes on.
    await expectGood(annsServer, await obtainTokens(stack, ann, annsServer.url))
  }, 90_000)

  test('a grant whose code comes twice', async () => {
    const clientId = await registerClient(stack.gateway)
    const resource = annsServer.url
    const given = { clientId, resource, ...(await obtainCode(stack, ann, { clientId, resource })) }
    const tokens = tokensFrom(await redeem(stack.gateway, given))
    await expectGood(annsServer, tokens)
    expect(errorOf(await redeem(stack.gateway, given))).toEqual([400, 'invalid_grant'])
    await expectEnded(annsServer, tokens)
    const again = await refresh(stack.gateway, { clientId, ...tokens })
    expect(errorOf(again)).toEqual([400, 'invalid_grant'])
  })

  test('a grant whose refresh token is replayed; the honest retry gets its answer again', async () => {
    const tokens = await obtainTokens(stack, ann, annsServer.url)
    const first = tokensFrom(await refresh(stack.gateway, tokens))
    const retried = tokensFrom(await refresh(stack.gateway, tokens))
    expect(retried.refreshToken).toBe(first.refreshToken)
    await using sql = openStackSqlFor()
    await sql.query`update auth.refresh_tokens set consumed_at = consumed_at - interval '1 minute'
      where consumed_at is not null`
    expect(errorOf(await refresh(stack.gateway, tokens))).toEqual([400, 'invalid_grant'])
    await expectEnded(annsServer, first)
    const successor = { clientId: tokens.clientId, refreshToken: first.refreshToken }
    expect(errorOf(await refresh(stack.gateway, successor))).toEqual([400, 'invalid_grant'])
  })

  test('the right of somebody who left the organisation, at the next refresh', async () => {
    await using sql = openStackSqlFor()
    const [row] = await sql.query<{ org: string; member: string }[]>`
      select o.id as org, u.id as member from auth.orgs o, auth.users u
      where o.personal_of = (select id from auth.users where email = ${ann.email})
        and u.email = ${bob.email}`
    if (row === undefined) throw new Error('they are not there')
    await sql.query`insert into auth.members (org_id, user_id, role, created_at)
      values (${row.org}, ${row.member}, 'viewer', now())`
    const tokens = await obtainTokens(stack, bob, annsServer.url)
    const renewed = tokensFrom(await refresh(stack.gateway, tokens))
    await sql.query`delete from auth.members where org_id = ${row.org} and user_id = ${row.member}`
    const refused = await refresh(stack.gateway, { clientId: tokens.clientId, ...renewed })
    expect(errorOf(refused)).toEqual([400, 'invalid_grant'])
    await expectEnded(annsServer, renewed)
  })

  test('a credential: deleted or replaced it is sent no more, long before opened ones end of age', async () => {
    const tokens = await obtainTokens(stack, ann, annsServer.url)
    const path = '/v1/servers/anns-items/credentials/KEY'
    const sent = async () => (await call(annsServer, tokens)).text
    await expectGood(annsServer, tokens)
    const startedAt = performance.now()
    succeeded(await ann.ask('DELETE', path))
    await until(async () => (await sent()).includes('has no value yet'), 'the value is missing')
    succeeded(await ann.ask('PUT', path, { body: { value: 'another-key' } }))
    await until(async () => !isGoodCall(await call(annsServer, tokens)), 'the other value is sent')
    succeeded(await ann.ask('PUT', path, { body: { value: apiKey } }))
    await until(async () => isGoodCall(await call(annsServer, tokens)), 'the value is back')
    expect(performance.now() - startedAt).toBeLessThan(REVOKED_WITHIN_MS)
  })

  test('a session that was signed out, at once', async () => {
    const carol = await signUp(stack, 'carol@example.com')
    succeeded(await carol.ask('POST', '/v1/logout'))
    expect((await carol.ask('GET', '/v1/me')).status).toBe(401)
  })
})

describe('what stops a server ends its tokens', () => {
  test('pausing: calls and refreshes are refused, and after the resume old tokens stay dead', async () => {
    const tokens = await obtainTokens(stack, bob, bobsServer.url)
    await expectGood(bobsServer, tokens)
    succeeded(await bob.ask('POST', '/v1/servers/bobs-items/pause'))
    await until(async () => (await call(bobsServer, tokens)).status === 404, 'the server is paused')
    expect((await refresh(stack.gateway, tokens)).status).toBe(400)
    const server = succeeded(await bob.ask('GET', '/v1/servers/bobs-items'))
    const { specDigest } = server as { specDigest: string }
    succeeded(await bob.ask('POST', '/v1/servers/bobs-items/resume', { body: { specDigest } }))
    await expectEnded(bobsServer, tokens)
    expect((await refresh(stack.gateway, tokens)).status).toBe(400)
    await expectGood(bobsServer, await obtainTokens(stack, bob, bobsServer.url))
  })

  test('deleting: nothing is left to call, to refresh or to authorize', async () => {
    const tokens = await obtainTokens(stack, bob, bobsServer.url)
    await expectGood(bobsServer, tokens)
    succeeded(await bob.ask('DELETE', '/v1/servers/bobs-items'))
    await until(
      async () => [404, 410].includes((await call(bobsServer, tokens)).status),
      'the server is gone',
    )
    expect((await refresh(stack.gateway, tokens)).status).toBe(400)
    const clientId = await registerClient(stack.gateway)
    const attempt = obtainCode(stack, bob, { clientId, resource: bobsServer.url })
    expect(await outcomeOf(attempt)).toThrow(/invalid_target/)
    const known = await postForm(`${stack.gateway}/oauth/introspect`, {
      client_id: tokens.clientId,
      token: tokens.refreshToken,
    })
    expect([known.status, known.json]).toEqual([200, { active: false }])
  })
})

describe('a code', () => {
  test('redeemed by many at once gives tokens to one at most, and never two pairs that work', async () => {
    const clientId = await registerClient(stack.gateway)
    const resource = annsServer.url
    const given = { clientId, resource, ...(await obtainCode(stack, ann, { clientId, resource })) }
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => redeem(stack.gateway, given)),
    )
    const good = answers.filter(({ status }) => status === 200)
    expect(good.length).toBeLessThanOrEqual(1)
    for (const answer of answers.filter(({ status }) => status !== 200)) {
      expect(errorOf(answer)).toEqual([400, 'invalid_grant'])
    }
  })

  test.each<[string, Record<string, string>]>([
    ['without its verifier', { code_verifier: '' }],
    ['with another verifier', { code_verifier: 'v'.repeat(43) }],
    ['with another redirect', { redirect_uri: `${redirectUri}/other` }],
  ])('%s redeems nothing', async (_, changed) => {
    const clientId = await registerClient(stack.gateway)
    const resource = annsServer.url
    const { code, verifier } = await obtainCode(stack, ann, { clientId, resource })
    const answer = await postForm(`${stack.gateway}/oauth/token`, {
      grant_type: 'authorization_code',
      code,
      code_verifier: verifier,
      client_id: clientId,
      redirect_uri: redirectUri,
      resource,
      ...changed,
    })
    expect(answer.status).toBe(400)
    expect((answer.json as { error: string }).error).toMatch(/invalid_(grant|request)/)
  })
})

/** The database behind auth, for what takes longer in life than a test may. */
function openStackSqlFor() {
  const query = openStackSql(stack)
  return { query, [Symbol.asyncDispose]: () => query.end({ timeout: 5 }) }
}
