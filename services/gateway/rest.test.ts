/** The REST API: sessions, drafts, its description, and bad input that is never repeated. */
import { describe, expect, test } from 'bun:test'
import { newId } from '@bmm/lib/ids'
import { until } from '@bmm/lib/testing-until'
import { Service } from '@bmm/proto/v1/options'
import { atText, canary, digest, ids, restWorldOfFile, session, spec } from './testing-rest.ts'

const world = await restWorldOfFile()
const { call, answer } = world
const { origin } = world.gw

describe('sessions', () => {
  test('signing in mails a link and redeems it', async () => {
    const mailed = await answer('/v1/login', { method: 'POST', body: { email: 'ada@example.com' } })
    expect(mailed.status).toBe(202)
    expect(await answer('/v1/login/finish', { method: 'POST', body: { token: 'x' } })).toEqual({
      status: 200,
      session,
      user: { id: 'usr_1', email: 'ada@example.com' },
    })
  })

  test('me says who, for which organisation and until when', async () => {
    expect(await answer('/v1/me')).toEqual({
      status: 200,
      user: { id: 'usr_1', email: 'ada@example.com' },
      org: { id: ids.org, name: 'Ada' },
      role: 'owner',
      session: { id: 'ses_1', expiresAt: atText },
    })
  })

  test('me says for whom a service token acts, with any scope, and nothing to an unknown one', async () => {
    const program = world.programs.make(['tools:call'])
    const by = (value: string) => ({ headers: { authorization: `Bearer ${value}` } })
    expect(await answer('/v1/me', by(program.value))).toEqual({
      status: 200,
      user: { id: program.user.userId, email: 'ada@example.com' },
      org: { id: program.user.orgId, name: 'Ada' },
      role: program.user.role,
      token: { id: program.tokenId, name: 'ci', scopes: ['tools:call'], expiresAt: atText },
    })
    expect(await answer('/v1/me', by(`bmm_${'x'.repeat(49)}`))).toMatchObject({
      status: 401,
      code: 'token_invalid',
    })
    expect(await answer('/v1/tokens', by(program.value))).toMatchObject({ code: 'session_needed' })
  })

  test('sessions are listed and ended by who is signed in, and by no service token', async () => {
    const own = { id: 'ses_1', userAgent: 'a browser', current: true }
    const times = { createdAt: atText, expiresAt: atText }
    expect(await answer('/v1/sessions')).toEqual({ status: 200, sessions: [{ ...own, ...times }] })
    const end = (id: string, headers = {}) =>
      call(`/v1/sessions/${id}`, { method: 'DELETE', headers })
    expect((await end('ses_2')).status).toBe(204)
    const unknown = await answer('/v1/sessions/ses_3', { method: 'DELETE' })
    expect(unknown).toMatchObject({ status: 404, code: 'no_such_session' })
    for (const authorization of [
      '',
      `Bearer bms_${'x'.repeat(43)}`,
      `Bearer bmm_${'x'.repeat(43)}`,
    ]) {
      expect([401, 403]).toContain((await end('ses_2', { authorization })).status)
      expect([401, 403]).toContain(
        (await call('/v1/sessions', { headers: { authorization } })).status,
      )
    }
  })

  test('signing out takes the cookie away', async () => {
    const response = await call('/v1/logout', { method: 'POST' })
    expect(response.headers.get('set-cookie')).toContain('__Host-bmm=; ')
  })

  const refused: [string, Record<string, string>, number, string][] = [
    ['nobody', { authorization: '' }, 401, 'session_missing'],
    ['a token of another kind', { authorization: 'Bearer eyJhbGciOi' }, 401, 'session_missing'],
    ['an ended session', { authorization: `Bearer bms_${'x'.repeat(43)}` }, 401, 'session_invalid'],
    ['a page of another origin', { origin: 'https://evil.example' }, 403, 'origin_refused'],
    ['a sandboxed page', { origin: 'null' }, 403, 'origin_refused'],
  ]
  for (const [who, headers, status, code] of refused) {
    test(`${who} is refused with ${status}`, async () => {
      const problem = await answer('/v1/servers', { headers })
      expect(problem).toMatchObject({ status, code, type: 'about:blank' })
      expect(problem.requestId).toMatch(/^req_/)
      expect(world.asked.minted).toHaveLength(0)
    })
  }

  test('a cookie changes something only from our own pages', async () => {
    const withCookie = (method: string, origin?: string) =>
      fetch(`${world.gw.origin}/v1/servers/pets/pause`, {
        method,
        headers: {
          cookie: `other=1; __Host-bmm=${session}`,
          ...(origin === undefined ? {} : { origin }),
        },
      })
    expect((await withCookie('POST')).status).toBe(403)
    expect((await withCookie('POST', 'https://evil.example')).status).toBe(403)
    expect((await withCookie('POST', world.gw.origin)).status).toBe(200)
    const read = await fetch(`${origin}/v1/servers`, {
      headers: { cookie: `__Host-bmm=${session}` },
    })
    expect(read.status).toBe(200)
  })
})

describe('drafts', () => {
  const upload = (query: string, body: Uint8Array, type = 'application/octet-stream') =>
    fetch(`${origin}/v1/drafts/upload${query}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${session}`, 'content-type': type },
      body: new Blob([new Uint8Array(body)]),
    })

  test('a document becomes a draft with its notes', async () => {
    const body = { document: 'openapi: 3.1.0', only: ['tag:pets'], baseUrl: 'https://x.example' }
    expect(await answer('/v1/drafts', { method: 'POST', body })).toEqual({
      status: 201,
      id: ids.draft,
      digest,
      spec: JSON.parse(new TextDecoder().decode(spec)),
      tools: 1,
      warnings: [{ refused: true, path: '/paths/~1x', message: 'Left out.' }],
      tags: [{ name: 'pets', tools: 1 }],
      expiresAt: atText,
    })
    expect(world.asked.drafts[0]).toMatchObject({
      source: { case: 'document', value: new TextEncoder().encode('openapi: 3.1.0') },
      only: ['tag:pets'],
      baseUrl: 'https://x.example',
    })
    expect(world.asked.minted[0]?.audiences).toEqual([Service.GENERATOR])
  })

  test('ten megabytes of document pass', async () => {
    const document = `# ${'x'.repeat(10 * 1024 * 1024)}`
    expect((await answer('/v1/drafts', { method: 'POST', body: { document } })).status).toBe(201)
  })

  test('an upload passes its bytes and options on as they are', async () => {
    const document = new Uint8Array([0xff, 0xfe, 0x6f, 0x00])
    const drafted = await upload('?name=N&only=tag:a&only=GET%20/b', document)
    expect(drafted.status).toBe(201)
    expect(world.asked.drafts[0]).toMatchObject({
      source: { case: 'document', value: document },
      name: 'N',
      only: ['tag:a', 'GET /b'],
    })
    expect((await upload('?kind=spec', spec)).status).toBe(201)
    expect(world.asked.drafts[1]?.source).toMatchObject({ case: 'spec', value: spec })
  })

  test('an upload that is empty, too large, of an unknown kind or no bytes is refused', async () => {
    const codes = await Promise.all([
      upload('', new Uint8Array()),
      upload('?kind=spec', new Uint8Array(8 * 1024 * 1024 + 1)),
      upload('?kind=else', spec),
      upload('', spec, 'application/json'),
    ])
    expect(codes.map(({ status }) => status)).toEqual([400, 413, 400, 415])
    expect(world.asked.drafts).toEqual([])
  })

  test('JSON with very many keys or bytes is refused before it is parsed', async () => {
    const keys = Object.fromEntries(Array.from({ length: 60_000 }, (_, at) => [`k${at}`, 0]))
    for (const body of [{ spec: keys }, { document: 'x', junk: keys }]) {
      const refused = await answer('/v1/drafts', { method: 'POST', body })
      expect(refused).toMatchObject({ status: 400, code: 'json_too_many_values' })
    }
    const large = { document: 'x'.repeat(17 * 1024 * 1024) }
    expect(await answer('/v1/drafts', { method: 'POST', body: large })).toMatchObject({
      status: 413,
      code: 'body_too_large',
      detail: expect.stringContaining('/v1/drafts/upload'),
    })
  })

  test('a fault of the document comes with its place', async () => {
    const body = { document: 'x', name: 'invalid' }
    expect(await answer('/v1/drafts', { method: 'POST', body })).toMatchObject({
      status: 400,
      code: 'document_invalid',
      detail: 'Line 3: a key is missing.',
      errors: [{ path: '/paths', message: 'is missing' }],
    })
  })

  test('a bug of a service is told by its request id and nothing else', async () => {
    const problem = await answer('/v1/drafts', {
      method: 'POST',
      body: { document: 'x', name: 'bug' },
    })
    expect(problem).toMatchObject({ status: 500, code: 'internal_error' })
    expect(JSON.stringify(problem)).not.toContain(canary)
  })

  test('a part that is down is 503', async () => {
    const body = { document: 'x', name: 'down' }
    expect((await answer('/v1/drafts', { method: 'POST', body })).status).toBe(503)
  })
})

describe('bad input', () => {
  const bodies: [string, unknown, number, string][] = [
    ['no source', {}, 400, 'invalid_request'],
    ['two sources', { document: 'x', url: 'https://x.example' }, 400, 'invalid_request'],
    ['an unknown field', { document: 'x', [canary]: 1 }, 400, 'invalid_request'],
    ['a wrong type', { document: 'x', only: canary }, 400, 'invalid_request'],
    ['no object', [canary], 400, 'invalid_request'],
    ['broken JSON', `{"document":"${canary}`, 400, 'json_syntax'],
    ['a repeated key', `{"url":"${canary}","url":"b"}`, 400, 'json_duplicate_key'],
    ['a deep nest', `{"spec":${'['.repeat(1000)}`, 400, 'json_too_deep'],
  ]
  for (const [what, body, status, code] of bodies) {
    test(`${what} is refused with a place and without being repeated`, async () => {
      const problem = await answer('/v1/drafts', { method: 'POST', body })
      expect(problem).toMatchObject({ status, code })
      expect(JSON.stringify(problem)).not.toContain(canary)
    })
  }

  test('an error names the field', async () => {
    const problem = await answer('/v1/login', { method: 'POST', body: { email: canary } })
    expect(problem.errors).toEqual([{ path: 'email', message: expect.any(String) }])
    expect(JSON.stringify(problem)).not.toContain(canary)
  })

  test('a secret in a refused request is not in the answer', async () => {
    const body = { value: canary, origins: [canary], extra: canary }
    const problem = await answer('/v1/servers/pets/credentials/API_KEY', { method: 'PUT', body })
    expect(problem.status).toBe(400)
    expect(JSON.stringify(problem)).not.toContain(canary)
  })

  test('the wrong media type, a huge body and a bad query are refused', async () => {
    const form = await call('/v1/login', {
      method: 'POST',
      body: 'email=a',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
    })
    expect(form.status).toBe(415)
    const packed = await call('/v1/login', {
      method: 'POST',
      body: 'packed',
      headers: { 'content-encoding': 'br' },
    })
    expect([packed.status, packed.headers.get('accept-encoding')]).toEqual([415, 'identity'])
    const huge = await call('/v1/login', { method: 'POST', body: { email: 'x'.repeat(300_000) } })
    expect(huge.status).toBe(413)
    const query = await answer(`/v1/servers?limit=${canary}`)
    expect(query).toMatchObject({ status: 400, errors: [{ path: 'limit' }] })
    expect(JSON.stringify(query)).not.toContain(canary)
  })

  test('a malformed id is told in the words of whoever gave it', async () => {
    expect(await answer('/v1/builds/bld_x')).toMatchObject({
      status: 400,
      detail: 'That is not the id of a build: those begin with bld_.',
    })
    expect(await answer('/v1/builds/bld_x')).not.toHaveProperty('errors')
    for (const part of ['logs', 'refusals', 'stats', 'credentials']) {
      expect(await answer(`/v1/servers/srv_x/${part}`)).toMatchObject({ code: 'server_not_found' })
    }
    const name = await answer('/v1/servers/pets/credentials/lower', { method: 'DELETE' })
    expect(name).toMatchObject({ status: 400, detail: expect.stringContaining('UPPER_SNAKE_CASE') })
  })

  test('refusals of a server of somebody else are 404, as is the server', async () => {
    for (const part of ['', '/refusals']) {
      const foreign = await answer(`/v1/servers/${newId('srv')}${part}`)
      expect(foreign).toMatchObject({ status: 404, code: 'server_not_found' })
    }
  })

  test('an unknown address is a problem too', async () => {
    expect(await answer(`/v1/${canary}`)).toMatchObject({ status: 404, code: 'not_found' })
  })
})

describe('the description', () => {
  test('names every route, with schemas as components that all resolve', async () => {
    const document = await answer('/openapi.json')
    const text = JSON.stringify(document)
    const paths = Object.entries(document.paths as Record<string, Record<string, unknown>>)
    const operations = paths.flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method} ${path}`),
    )
    expect(operations.sort()).toEqual(
      [
        'post /v1/login',
        'post /v1/login/finish',
        'post /v1/logout',
        'get /v1/me',
        'get /v1/sessions',
        'delete /v1/sessions/{session}',
        'post /v1/drafts',
        'post /v1/drafts/upload',
        'get /v1/drafts/{draft}',
        'post /v1/servers',
        'get /v1/servers',
        'get /v1/servers/{server}',
        'delete /v1/servers/{server}',
        'post /v1/servers/{server}/pause',
        'post /v1/servers/{server}/resume',
        'post /v1/tokens',
        'get /v1/servers/{server}/credentials',
        'put /v1/servers/{server}/credentials/{name}',
        'delete /v1/servers/{server}/credentials/{name}',
        'delete /v1/tokens/{token}',
        'get /v1/builds/{build}',
        'post /v1/builds/{build}/cancel',
        'post /v1/builds/{build}/retry',
        'get /v1/builds/{build}/events',
        'get /v1/servers/{server}/logs',
        'get /v1/servers/{server}/logs/follow',
        'get /v1/servers/{server}/refusals',
        'get /v1/servers/{server}/stats',
        'get /v1/servers/{server}/tools',
        'get /v1/tokens',
        'get /v1/usage',
      ].sort(),
    )
    const { schemas } = document.components as { schemas: Record<string, unknown> }
    for (const [, name = ''] of text.matchAll(/"#\/components\/schemas\/([A-Za-z]+)"/g)) {
      expect(Object.keys(schemas)).toContain(name)
    }
    expect(text).not.toContain('$defs')
    const ids = [...text.matchAll(/"operationId":"([A-Za-z]+)"/g)].map(([, id]) => id)
    expect(new Set(ids).size).toBe(operations.length)
  })
})

describe('readiness', () => {
  test('is there when every part answers, and names the one that does not', async () => {
    await until(async () => (await fetch(`${origin}/health/ready`)).status === 200)
    world.gw.stopRunner()
    await until(async () => (await fetch(`${origin}/health/ready`)).status === 503)
    expect(await answer('/health/ready')).toMatchObject({
      faults: { calls: 'is not connected' },
    })
    world.gw.startRunner()
    await until(async () => (await fetch(`${origin}/health/ready`)).status === 200)
  })
})
