/** Who gets to a server: tokens of every wrong kind, ended grants, access rules, and what is served at all. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { createHmac, generateKeyPairSync } from 'node:crypto'
import { newId } from '@bmm/lib/ids'
import { until } from '@bmm/lib/testing-until'
import { SignJWT } from 'jose'
import {
  flippedStatement,
  foreignStatement,
  rpcAnswer,
  type TestGateway,
  type TestServer,
  testGateway,
  testSpec,
} from '../testing.ts'
import { NORMAL_SCOPES } from './access-token.ts'

let gw: TestGateway
let server: TestServer
let other: TestServer

beforeAll(async () => {
  gw = await testGateway()
  server = gw.addServer('pets', testSpec(['echo', 'slow']))
  other = gw.addServer('others', testSpec(['echo']))
  gw.world.tools.set('slow', async ({ signal, progress }) => {
    progress({ progress: 1 })
    await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
    return { code: 'cancelled', message: 'cancelled' }
  })
})
afterAll(async () => {
  await gw[Symbol.asyncDispose]()
})

const list = { jsonrpc: '2.0', id: 1, method: 'tools/list' }
/** Some seconds, and the time of a loaded machine; by itself the token ends in minutes. */
const SOON_MS = 20_000

function post(target: TestServer, token?: string, body: unknown = list) {
  return gw.post(target, body, token === undefined ? {} : { authorization: `Bearer ${token}` })
}

function claimsFor(target: TestServer): Record<string, unknown> {
  return {
    iss: gw.origin,
    aud: target.url,
    sub: gw.person.userId,
    org: gw.person.orgId,
    server: target.serverId,
    grant: newId('grt'),
    client_id: 'cli_test',
    scope: NORMAL_SCOPES,
  }
}

describe('without a token', () => {
  test('the challenge names the metadata and the scope of calls alone', async () => {
    const response = await post(server)
    expect(response.status).toBe(401)
    expect(response.headers.get('www-authenticate')).toBe(
      `Bearer resource_metadata="${gw.origin}/.well-known/oauth-protected-resource/s/pets/mcp", scope="mcp:tools"`,
    )
  })

  test('the metadata leads to the authorization server and back to this server', async () => {
    const resource = await fetch(
      `${gw.origin}/.well-known/oauth-protected-resource/s/pets/mcp`,
    ).then((answer) => answer.json())
    expect(resource).toEqual({
      resource: server.url,
      resource_name: 'Test server',
      authorization_servers: [gw.origin],
      scopes_supported: ['mcp:tools'],
      bearer_methods_supported: ['header'],
    })
  })

  test('a token in the address is refused, even a good one', async () => {
    const token = await gw.token(server)
    const response = await fetch(`${server.url}?access_token=${token}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
      body: JSON.stringify(list),
    })
    expect(response.status).toBe(400)
  })
})

describe('a token is refused when', () => {
  const es256 = () => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
  const seconds = () => Math.floor(Date.now() / 1_000)
  const forged: [string, () => Promise<string> | string][] = [
    ['it is no token', () => 'nonsense'],
    ['it is empty', () => ''],
    ['it is for another server', () => gw.token(other)],
    ['it names another audience', () => gw.token(server, { aud: `${server.url}/` })],
    ['it has several audiences', () => gw.token(server, { aud: [server.url, other.url] })],
    ['it names another issuer', () => gw.token(server, { iss: 'https://evil.example' })],
    [
      'its server is another one at the same address',
      () => gw.token(server, { server: newId('srv') }),
    ],
    ['it has ended', () => gw.token(server, { iat: seconds() - 400, exp: seconds() - 100 })],
    ['it lives longer than any of ours', () => gw.token(server, { exp: seconds() + 86_400 })],
    ['it has no grant', () => gw.token(server, { grant: undefined })],
    ['it has no end', () => gw.token(server, { exp: undefined })],
    ['its type is another one', () => gw.token(server, {}, { typ: 'JWT' })],
    ['its key is unknown', () => gw.token(server, {}, { kid: 'unknown' })],
    ['it has no key id', () => gw.token(server, {}, { kid: undefined })],
    [
      'somebody else signed it under our key id',
      () =>
        new SignJWT({ ...claimsFor(server), iat: seconds(), exp: seconds() + 60, jti: '1' })
          .setProtectedHeader({ alg: 'ES256', typ: 'at+jwt', kid: String(gw.publicJwk.kid) })
          .sign(es256()),
    ],
    ['it is not signed at all', () => unsigned('none', '')],
    [
      'it is signed with our public key as an HMAC secret',
      () => unsigned('HS256', JSON.stringify(gw.publicJwk)),
    ],
    ['its payload was changed', async () => tampered(await gw.token(server))],
  ]
  for (const [why, make] of forged) {
    test(why, async () => {
      const response = await post(server, await make())
      expect(response.status).toBe(401)
      expect(response.headers.get('www-authenticate')).toContain('error="invalid_token"')
    })
  }

  function unsigned(alg: string, secret: string): string {
    const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
    const head = part({ alg, typ: 'at+jwt', kid: gw.publicJwk.kid })
    const body = part({
      ...claimsFor(server),
      iat: seconds(),
      exp: seconds() + 60,
      jti: 'x',
    })
    const signature =
      secret === ''
        ? ''
        : createHmac('sha256', secret).update(`${head}.${body}`).digest('base64url')
    return `${head}.${body}.${signature}`
  }

  function tampered(token: string): string {
    const [head = '', body = '', signature = ''] = token.split('.')
    const claims = JSON.parse(Buffer.from(body, 'base64url').toString('utf8'))
    const changed = Buffer.from(JSON.stringify({ ...claims, sub: newId('usr') }))
    return `${head}.${changed.toString('base64url')}.${signature}`
  }

  test('it does not permit calling tools, which is 403', async () => {
    const response = await post(server, await gw.token(server, { scope: 'offline_access' }))
    expect(response.status).toBe(403)
    expect(response.headers.get('www-authenticate')).toContain('error="insufficient_scope"')
  })
})

describe('keys', () => {
  test('a new key of the authorization server is learnt from its first token', async () => {
    await Bun.sleep(2_100)
    await gw.rotateKey()
    expect((await post(server, await gw.token(server))).status).toBe(200)
  }, 30_000)
})

describe('the access rule', () => {
  const cases = [
    ['org', 'a member', { kind: 'org' }, 'same', 200],
    ['org', 'a member of another organisation', { kind: 'org' }, 'foreign', 403],
    ['anyone', 'a stranger', { kind: 'anyone' }, 'foreign', 200],
    ['people', 'somebody who is not named', { kind: 'people', people: [] }, 'same', 403],
  ] as const
  for (const [kind, who, access, org, status] of cases) {
    test(`${kind}: ${who} gets ${status}`, async () => {
      const rule = access.kind === 'people' ? { ...access, people: [newId('usr')] } : access
      const target = gw.addServer(`rule-${kind}-${status}`, testSpec(['echo']), { access: rule })
      const token = await gw.token(target, org === 'same' ? {} : { org: newId('org') })
      expect((await post(target, token)).status).toBe(status)
    })
  }

  test('people: who is named gets 200 from whatever organisation', async () => {
    const access = { kind: 'people' as const, people: [gw.person.userId] }
    const target = gw.addServer('rule-named', testSpec(['echo']), { access, orgId: newId('org') })
    expect((await post(target, await gw.token(target))).status).toBe(200)
  })
})

describe('pages of other origins', () => {
  test('are refused with 403, our own and programs are not', async () => {
    const token = await gw.token(server)
    const from = (origin?: string) =>
      gw.post(server, list, {
        authorization: `Bearer ${token}`,
        ...(origin === undefined ? {} : { origin }),
      })
    expect((await from('https://evil.example')).status).toBe(403)
    expect((await from('null')).status).toBe(403)
    expect((await from(gw.origin.replace('localhost', '127.0.0.1'))).status).toBe(403)
    expect((await from(gw.origin)).status).toBe(200)
    expect((await from()).status).toBe(200)
  })

  test('a rebound host name is refused whatever it asks for', async () => {
    const { port } = new URL(gw.origin)
    for (const path of ['/s/pets/mcp', '/oauth/jwks', '/v1/me', '/login']) {
      for (const host of [`evil.example:${port}`, `127.0.0.1:${port}`, 'localhost']) {
        const response = await fetch(`${gw.origin}${path}`, { headers: { host } })
        expect([path, host, response.status]).toEqual([path, host, 421])
      }
    }
  })

  test('health answers under any host name', async () => {
    const response = await fetch(`${gw.origin}/health/live`, { headers: { host: '10.0.0.7' } })
    expect([response.status, await response.json()]).toEqual([200, { status: 'ok' }])
  })
})

describe('revocation', () => {
  test('ends calls, running streams included, within seconds', async () => {
    const grant = newId('grt')
    const token = await gw.token(server, { grant })
    expect((await post(server, token)).status).toBe(200)
    const stream = await post(server, token, {
      ...{ jsonrpc: '2.0', id: 2, method: 'tools/call' },
      params: { name: 'slow', _meta: { progressToken: 1 } },
    })
    expect(stream.headers.get('content-type')).toBe('text/event-stream')
    const since = performance.now()
    gw.world.revoked.push({ grantId: grant, at: Date.now() })
    expect(await stream.text()).toContain('"reason":"revoked"')
    await until(async () => (await post(server, token)).status === 401)
    expect(performance.now() - since).toBeLessThan(SOON_MS)
    const refused = await post(server, token)
    expect(refused.headers.get('www-authenticate')).toContain('error="invalid_token"')
    expect((await post(server, await gw.token(server))).status).toBe(200)
  })

  test('that nobody can tell of refuses every call with 503 until somebody can', async () => {
    const token = await gw.token(server)
    gw.world.broken.add('revocations')
    await until(async () => (await post(server, token)).status === 503)
    const { error } = await rpcAnswer(await post(server, token))
    expect(error.message).toContain('Try again')
    gw.world.broken.delete('revocations')
    await until(async () => (await post(server, token)).status === 200)
  }, 60_000)
})

describe('servings', () => {
  test('an unknown server is 404, its metadata too', async () => {
    const unknown = { ...server, url: `${gw.origin}/s/nobody/mcp` }
    expect((await post(unknown)).status).toBe(404)
    const document = `${gw.origin}/.well-known/oauth-protected-resource/s/nobody/mcp`
    expect((await fetch(document)).status).toBe(404)
  })

  test('a server is found before the feed brings it, and again after a first miss', async () => {
    const early = gw.addServer('early-bird', testSpec(['echo']))
    expect((await post(early, await gw.token(early))).status).toBe(200)
  })

  for (const [reason, status, word] of [
    ['paused', 404, 'paused'],
    ['deleted', 410, 'deleted'],
    ['takedown', 410, 'taken down'],
  ] as const) {
    test(`${reason} answers ${status} with a sentence`, async () => {
      const target = gw.addServer(`stop-${reason}`, testSpec(['echo']))
      const token = await gw.token(target)
      expect((await post(target, token)).status).toBe(200)
      gw.stop(target, reason)
      await until(async () => (await post(target, token)).status === status)
      const { error } = await rpcAnswer(await post(target, token))
      expect(error.message).toContain(word)
    })
  }

  test('an older statement never comes back', async () => {
    const target = gw.addServer('no-way-back', testSpec(['echo']))
    const token = await gw.token(target)
    expect((await post(target, token)).status).toBe(200)
    gw.stop(target, 'deleted', 5)
    await until(async () => (await post(target, token)).status === 410)
    const [first] = target.statements
    if (first === undefined) throw new Error('no statement')
    gw.publish(target, first, 6)
    await Bun.sleep(500)
    expect((await post(target, token)).status).toBe(410)
  })

  test('a stop of an earlier server does not hide the live one that has its slug now', async () => {
    const earlier = gw.addServer('heir', testSpec(['echo']))
    expect((await post(earlier, await gw.token(earlier))).status).toBe(200)
    gw.stop(earlier, 'deleted')
    await until(async () => (await post(earlier)).status === 410)
    const heir = gw.addServer('heir', testSpec(['echo']))
    const token = await gw.token(heir)
    await until(async () => (await post(heir, token)).status === 200)
    gw.stop(earlier, 'takedown', 9)
    await Bun.sleep(500)
    expect((await post(heir, token)).status).toBe(200)
    expect((await post(heir, await gw.token(earlier))).status).toBe(401)
  })

  test('a changed or foreign statement is not served', async () => {
    const target = gw.addServer('honest', testSpec(['echo']))
    const [honest] = target.statements
    if (honest === undefined) throw new Error('no statement')
    for (const [slug, statement] of [
      ['flipped', flippedStatement(honest)],
      ['foreign', foreignStatement(honest)],
      ['unknown-key', { ...honest, keyId: 'key-2' }],
      ['other-slug', honest],
    ] as const) {
      const fake = { ...target, slug, url: `${gw.origin}/s/${slug}/mcp`, serverId: newId('srv') }
      gw.publish(fake, statement, 1)
      expect([slug, (await post(fake)).status]).toEqual([slug, 404])
    }
  })

  test('a spec that is not the signed one is not shown', async () => {
    const target = gw.addServer('swapped', testSpec(['echo'], { name: 'Swapped' }))
    const digest = [...gw.world.artefacts.keys()].at(-1) ?? ''
    gw.world.artefacts.set(digest, new TextEncoder().encode(JSON.stringify(testSpec(['evil']))))
    const response = await post(target, await gw.token(target))
    expect(response.status).toBe(503)
    expect(await response.text()).not.toContain('evil')
  })

  test('a spec is fetched once for many lists', async () => {
    const target = gw.addServer('popular', testSpec(['echo'], { name: 'Popular' }))
    const token = await gw.token(target)
    const before = gw.world.artefactRequests
    await Promise.all(Array.from({ length: 20 }, () => post(target, token)))
    expect(gw.world.artefactRequests - before).toBe(1)
  })
})

describe('limits', () => {
  test('guessing tokens is slowed down by visitor', async () => {
    const guarded = await testGateway({ trustedProxies: ['127.0.0.1', '::1'] })
    try {
      const target = guarded.addServer('guarded', testSpec(['echo']))
      const guess = (visitor: string) =>
        guarded.post(target, list, {
          authorization: 'Bearer guess',
          'x-forwarded-for': visitor,
        })
      const statuses: number[] = []
      for (let tries = 0; tries < 80; tries++) {
        statuses.push((await guess(`198.51.100.1:${40_000 + tries}`)).status)
      }
      expect(statuses[0]).toBe(401)
      expect(statuses.at(-1)).toBe(429)
      expect((await guess('198.51.100.1')).headers.get('retry-after')).toMatch(/^\d+$/)
      for (let at = 0; at < 70; at++) {
        expect((await guess(`203.0.113.${at}:41234`)).status).toBe(401)
      }
    } finally {
      await guarded[Symbol.asyncDispose]()
    }
  }, 60_000)

  test('one person has a limited number of calls at a time', async () => {
    const crowd = gw.addServer('crowd', testSpec(['slow']))
    const token = await gw.token(crowd)
    const controller = new AbortController()
    const call = (id: number) =>
      fetch(crowd.url, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
        body: JSON.stringify({
          jsonrpc: '2.0',
          id,
          method: 'tools/call',
          params: { name: 'slow' },
        }),
        signal: controller.signal,
      })
    const before = gw.world.calls.length
    const waiting = Array.from({ length: 64 }, (_, id) => call(id).catch(() => undefined))
    await until(() => gw.world.calls.length === before + 64)
    const askedAt = performance.now()
    const refused = await call(99)
    expect(refused.status).toBe(429)
    // Asking again at once costs the neighbours little, since no refusal comes at once.
    expect(performance.now() - askedAt).toBeGreaterThan(200)
    expect((await rpcAnswer(refused)).error.data.reason).toBe('too_many_calls')
    controller.abort()
    await Promise.all(waiting)
  }, 60_000)
})
