/** Signing in through the generated client: links, limits, sessions and user tokens. */
import { describe, expect, test } from 'bun:test'
import { reasonOf, retryAfterOf } from '@bmm/lib/errors'
import { openIdentity } from '@bmm/lib/identity'
import { Service } from '@bmm/proto/v1/options'
import { Code, ConnectError } from '@connectrpc/connect'
import { authOfFile, claimsOf, linkTokenOf, randomEmail, randomIp, signIn } from '../testing.ts'

const auth = await authOfFile()

type Asked = { email?: string; clientIp?: string; returnTo?: string; browser?: string }
const ask = (changes: Asked = {}) =>
  auth.sessions.startMagicLink({
    email: randomEmail(),
    clientIp: randomIp(),
    returnTo: '',
    ...changes,
  })
const finish = (token: string, browser = '') =>
  auth.sessions.finishMagicLink({ token, userAgent: 'test', browser })
const failure = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => undefined,
    (error) => error,
  )
const reason = async (promise: Promise<unknown>) => reasonOf(await failure(promise))

describe('a magic link', () => {
  test('makes the user and a personal organisation at the first sign-in, and finds both later', async () => {
    const first = await signIn(auth)
    const again = await signIn(auth, first.email.toUpperCase())
    expect(first.userId).toMatch(/^usr_[0-9a-z]{26}$/)
    expect(first.orgId).toMatch(/^org_[0-9a-z]{26}$/)
    expect(again.userId).toBe(first.userId)
    expect(again.orgId).toBe(first.orgId)
    expect(again.sessionToken).not.toBe(first.sessionToken)
    const { session } = await auth.sessions.getSession({ sessionToken: again.sessionToken })
    expect(session).toMatchObject({
      role: 'owner',
      user: { id: first.userId, email: first.email },
      org: { id: first.orgId, name: first.email.split('@')[0] ?? '' },
    })
    const days = (Number(session?.expiresAt?.seconds) * 1000 - auth.clock.now()) / 86_400_000
    expect(Math.round(days)).toBe(30)
  })

  test('that cannot be mailed is an error that names no address, and the next one works', async () => {
    const email = randomEmail()
    auth.mailServer.isAway = true
    const thrown = await failure(ask({ email }))
    auth.mailServer.isAway = false
    expect(reasonOf(thrown)).toBe('mail_unavailable')
    expect(String(thrown)).not.toContain(email)
    expect((await signIn(auth, email)).email).toBe(email)
  })

  test('is asked for with the same answer, whether the address is known or not', async () => {
    const known = await signIn(auth)
    const before = auth.mails.length
    expect(await ask({ email: known.email })).toEqual(await ask({ email: randomEmail() }))
    const [one, two] = auth.mails.slice(before)
    const plain = (text = '') => text.replaceAll(/bml_[A-Za-z0-9_-]{43}/g, 'TOKEN')
    expect(plain(one?.text)).toBe(plain(two?.text))
    expect(one?.subject).toBe(two?.subject ?? '')
  })

  test('works once, also when it is opened twenty times at once', async () => {
    await ask()
    const token = linkTokenOf(auth.mails.at(-1))
    const results = await Promise.allSettled(Array.from({ length: 20 }, () => finish(token)))
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    expect(await reason(finish(token))).toBe('link_invalid')
  })

  test('is refused when unknown, and after fifteen minutes', async () => {
    expect(await reason(finish(`bml_${'x'.repeat(43)}`))).toBe('link_invalid')
    await ask()
    const token = linkTokenOf(auth.mails.at(-1))
    auth.clock.advance(15 * 60_000 + 1)
    expect(await reason(finish(token))).toBe('link_invalid')
  })

  test('brings the visitor back to a path of our own, and to no other place', async () => {
    await ask({ returnTo: '/oauth/authorize?client_id=x&state=a%2Fb', browser: 'hers' })
    const { returnTo } = await finish(linkTokenOf(auth.mails.at(-1)), 'hers')
    expect(returnTo).toBe('/oauth/authorize?client_id=x&state=a%2Fb')
    for (const evil of [
      '//evil.example',
      '/\\evil.example',
      'https://evil.example',
      '/a\nb',
      'x',
    ]) {
      expect(await reason(ask({ returnTo: evil }))).toBe('return_to_invalid')
    }
  })

  test('leads nowhere that somebody else chose: not in another browser, nor when none asked', async () => {
    const returnTo = '/oauth/authorize?client_id=lure'
    for (const [asked, finished] of [
      ['the sender’s', 'hers'],
      ['the sender’s', ''],
      ['', ''],
      ['', 'hers'],
    ]) {
      await ask({ returnTo, browser: asked ?? '' })
      const done = await finish(linkTokenOf(auth.mails.at(-1)), finished)
      expect([asked, finished, done.returnTo]).toEqual([asked, finished, ''])
      expect(done.sessionToken).toStartWith('bms_')
    }
  })

  test('is refused for what is no address', async () => {
    for (const email of ['', 'ada', 'a@b\r\nBcc: x@y.example', 'a@b, c@d']) {
      expect(await reason(ask({ email }))).toBe('invalid_request')
    }
  })
})

describe('the limits', () => {
  test('let an address get five mails a day, whoever asks and however it is written', async () => {
    const email = randomEmail()
    for (let mail = 0; mail < 5; mail++) await ask({ email })
    const before = auth.mails.length
    const refused = await failure(ask({ email: ` ${email.toUpperCase()} `.trim() }))
    expect(reasonOf(refused)).toBe('rate_limited')
    expect(retryAfterOf(refused)).toBeGreaterThan(0)
    expect(retryAfterOf(refused)).toBeLessThanOrEqual(86_400)
    expect(auth.mails).toHaveLength(before)
    auth.clock.advance(86_400_000)
    await ask({ email })
  })

  test('let a visitor ask ten times a day, and an IPv6 network is one visitor', async () => {
    for (let mail = 0; mail < 10; mail++) {
      await ask({ clientIp: `2001:db8:77:1::${(mail + 1).toString(16)}` })
    }
    expect(await reason(ask({ clientIp: '2001:db8:77:1:ffff::1' }))).toBe('rate_limited')
    await ask({ clientIp: '2001:db8:77:2::1' })
    for (let mail = 0; mail < 10; mail++) await ask({ clientIp: '203.0.113.7' })
    expect(await reason(ask({ clientIp: '::ffff:203.0.113.7' }))).toBe('rate_limited')
  })

  test('hold when many ask at once', async () => {
    const email = randomEmail()
    const results = await Promise.allSettled(Array.from({ length: 20 }, () => ask({ email })))
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(5)
  })

  test('refuse when nothing can be counted', async () => {
    const { sql } = auth.database
    await sql`alter table rate_counts rename to rate_counts_away`
    const before = auth.mails.length
    try {
      const refused = await failure(ask())
      expect(refused instanceof ConnectError && refused.code).toBe(Code.Internal)
      expect(auth.mails).toHaveLength(before)
    } finally {
      await sql`alter table rate_counts_away rename to rate_counts`
    }
  })
})

describe('a session', () => {
  test('ends when it is revoked, and revoking again is fine', async () => {
    const { sessionToken } = await signIn(auth)
    await auth.sessions.revokeSession({ sessionToken })
    await auth.sessions.revokeSession({ sessionToken })
    expect(await reason(auth.sessions.getSession({ sessionToken }))).toBe('session_invalid')
    const minting = auth.sessions.mintUserToken({ sessionToken, audiences: [Service.SECRETS] })
    expect(await reason(minting)).toBe('session_invalid')
  })

  test('is unknown by another token', async () => {
    const sessionToken = `bms_${'x'.repeat(43)}`
    expect(await reason(auth.sessions.getSession({ sessionToken }))).toBe('session_invalid')
  })

  test('loses its role when the membership goes', async () => {
    const { sessionToken, userId } = await signIn(auth)
    await auth.database.sql`update members set role = 'viewer' where user_id = ${userId}`
    const { session } = await auth.sessions.getSession({ sessionToken })
    expect(session?.role).toBe('viewer')
    await auth.database.sql`delete from members where user_id = ${userId}`
    expect(await reason(auth.sessions.getSession({ sessionToken }))).toBe('session_invalid')
  })

  test('ends after thirty days', async () => {
    const { sessionToken } = await signIn(auth)
    auth.clock.advance(30 * 86_400_000 + 1)
    expect(await reason(auth.sessions.getSession({ sessionToken }))).toBe('session_invalid')
  })
})

describe('a user token', () => {
  test('says who is behind a call, to the named services only, for five minutes', async () => {
    const person = await signIn(auth)
    const digest = `sha256:${'a'.repeat(64)}`
    const { token, expiresAt } = await auth.sessions.mintUserToken({
      sessionToken: person.sessionToken,
      audiences: [Service.SECRETS, Service.GENERATOR],
      confirmDigest: digest,
    })
    const { identities } = auth
    const { now } = auth.clock
    const at = (name: 'secrets' | 'runner', clock = now) =>
      openIdentity({
        name,
        privateKeyPem: identities.privateKeyPem(name),
        publicKeys: identities.publicKeys,
        now: clock,
      })
    const user = await (await at('secrets')).verifyUser(token)
    expect(user).toMatchObject({
      userId: person.userId,
      orgId: person.orgId,
      role: 'owner',
      confirmDigest: digest,
    })
    expect(await reason((await at('runner')).verifyUser(token))).toBe('user_token_invalid')
    const later = await at('secrets', () => now() + 310_000)
    expect(await reason(later.verifyUser(token))).toBe('user_token_invalid')
    const { exp = 0, iat = 0 } = claimsOf(token)
    expect(Number(exp) - Number(iat)).toBe(300)
    expect(Number(expiresAt?.seconds)).toBe(Number(exp))
  })

  test('is not minted for no service or an unknown one', async () => {
    const { sessionToken } = await signIn(auth)
    for (const audiences of [[], [Service.UNSPECIFIED], [99 as Service]]) {
      const minting = auth.sessions.mintUserToken({ sessionToken, audiences })
      expect(await reason(minting)).toBe('invalid_request')
    }
  })

  test('never outlives its session', async () => {
    const { sessionToken } = await signIn(auth)
    auth.clock.advance(30 * 86_400_000 - 60_000)
    const { token } = await auth.sessions.mintUserToken({
      sessionToken,
      audiences: [Service.SECRETS],
    })
    const { exp = 0, iat = 0 } = claimsOf(token)
    expect(Number(exp) - Number(iat)).toBeLessThanOrEqual(60)
  })
})

describe('the sessions of a person', () => {
  test('are listed to her alone, and ended one by one', async () => {
    const here = await signIn(auth)
    const second = await signIn(auth, here.email)
    const stranger = await signIn(auth)
    const list = async (sessionToken: string) =>
      (await auth.sessions.listSessions({ sessionToken })).sessions
    const seen = await list(here.sessionToken)
    expect(seen.map(({ userAgent, current }) => [userAgent, current]).sort()).toEqual([
      ['test', false],
      ['test', true],
    ])
    const other = seen.find(({ current }) => !current)?.id ?? ''
    const end = (sessionToken: string, sessionId: string) =>
      reason(auth.sessions.endSession({ sessionToken, sessionId }))
    expect(await end(stranger.sessionToken, other)).toBe('no_such_session')
    expect(await list(second.sessionToken)).toHaveLength(2)
    expect(await end(here.sessionToken, other)).toBeUndefined()
    expect(await end(here.sessionToken, other)).toBe('no_such_session')
    expect(await reason(auth.sessions.getSession({ sessionToken: second.sessionToken }))).toBe(
      'session_invalid',
    )
    expect(await reason(list(second.sessionToken))).toBe('session_invalid')
    expect(await end(second.sessionToken, other)).toBe('session_invalid')
    expect(await list(here.sessionToken)).toHaveLength(1)
    auth.clock.advance(31 * 86_400_000)
    expect(await reason(list(here.sessionToken))).toBe('session_invalid')
  })
})
