/** The REST API: sessions, drafts, servers, credentials, builds and logs, with every refusal at the edge. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { conflict, denied, invalid, notFound, unauthenticated, unavailable } from '@bmm/lib/errors'
import { userOf } from '@bmm/lib/identity'
import { newId } from '@bmm/lib/ids'
import { testIdentities } from '@bmm/lib/testing'
import { type MintUserTokenRequest, SessionService } from '@bmm/proto/auth/v1/auth_service'
import {
  BuildService,
  type CreateDraftRequest,
  type CreateServerRequest,
  DraftService,
  ServerService,
} from '@bmm/proto/generator/v1/generator_service'
import { BuildState, BuildStep, ServerState } from '@bmm/proto/generator/v1/server'
import { LogService } from '@bmm/proto/runner/v1/runner_service'
import { Scheme } from '@bmm/proto/secrets/v1/secret'
import { type PutSecretRequest, SecretsService } from '@bmm/proto/secrets/v1/secrets_service'
import { Service } from '@bmm/proto/v1/options'
import { digestOf } from '@bmm/spec/digest'
import { serverSpecBytes } from '@bmm/spec/server-spec'
import { timestampFromMs } from '@bufbuild/protobuf/wkt'
import { eventually, type TestGateway, testGateway, testSpec } from './testing.ts'

const session = `bms_${'s'.repeat(43)}`
const canary = 'hunter2-canary'
const at = timestampFromMs(Date.UTC(2026, 10, 22, 1, 2, 3, 4))
const atText = '2026-11-22T01:02:03.004Z'
const ids = { draft: newId('dft'), server: newId('srv'), build: newId('bld'), org: newId('org') }
const spec = serverSpecBytes(
  testSpec(['echo'], {
    credentials: [
      {
        name: 'API_KEY',
        description: 'The key.',
        scheme: 'header',
        parameter: 'X-Key',
        origins: ['https://api.example.com'],
      },
    ],
  }),
)
const digest = digestOf(spec)

const asked = {
  minted: [] as MintUserTokenRequest[],
  drafts: [] as CreateDraftRequest[],
  created: [] as CreateServerRequest[],
  put: [] as PutSecretRequest[],
  confirmed: [] as (string | undefined)[],
  deleted: [] as string[],
  watched: 0,
}
let failing: 'nothing' | 'secrets' = 'nothing'
let gw: TestGateway
const identities = await testIdentities()

const draft = {
  id: ids.draft,
  spec,
  specDigest: digest,
  notes: [{ refused: true, path: '/paths/~1x', message: 'Left out.' }],
  tags: [{ name: 'pets', tools: 1 }],
  expiresAt: at,
  tools: 1,
}
const server = {
  id: ids.server,
  orgId: ids.org,
  slug: 'pets',
  name: 'Pets',
  state: ServerState.LIVE,
  version: 1,
  resourceUrl: 'http://localhost/s/pets/mcp',
  tools: 1,
  specDigest: digest,
  access: '{"kind":"org"}',
  createdAt: at,
  createdBy: 'usr_1',
  latestBuildId: ids.build,
}
const build = {
  id: ids.build,
  serverId: ids.server,
  version: 1,
  state: BuildState.RUNNING,
  steps: [{ step: BuildStep.TRY, state: BuildState.RUNNING, elapsedMs: 12n }],
  createdAt: at,
}

beforeAll(async () => {
  gw = await testGateway({
    identities,
    routes(name, router) {
      if (name === 'auth') {
        router.service(SessionService, {
          startMagicLink: () => ({}),
          finishMagicLink: () => ({
            sessionToken: session,
            session: { user: { id: 'usr_1', email: 'ada@example.com' } },
          }),
          getSession({ sessionToken }) {
            check(sessionToken)
            return {
              session: {
                id: 'ses_1',
                user: { id: 'usr_1', email: 'ada@example.com' },
                org: { id: ids.org, name: 'Ada' },
                role: 'owner',
                expiresAt: at,
              },
            }
          },
          revokeSession: () => ({}),
          async mintUserToken(request) {
            check(request.sessionToken)
            asked.minted.push(request)
            const { confirmDigest } = request
            return { token: await identities.mintUser({}, confirmDigest ? { confirmDigest } : {}) }
          },
        })
      }
      if (name === 'generator') {
        router.service(DraftService, {
          createDraft(request) {
            asked.drafts.push(request)
            if (request.name === 'invalid') {
              throw invalid('document_invalid', 'Line 3: a key is missing.', {
                fields: [{ path: '/paths', message: 'is missing' }],
              })
            }
            if (request.name === 'bug') throw new Error(canary)
            if (request.name === 'down') throw unavailable('fetch_failed', 'It did not answer.')
            return { draft }
          },
          getDraft: () => ({ draft }),
        })
        router.service(ServerService, {
          createServer(request, context) {
            asked.created.push(request)
            asked.confirmed.push(userOf(context).confirmDigest)
            if (request.slug === 'taken') throw conflict('slug_taken', 'That slug is taken.')
            return { server, build }
          },
          getServer({ server: reference }) {
            if (reference !== 'pets' && reference !== ids.server) {
              throw notFound('server_not_found', 'There is no such server.')
            }
            return { server }
          },
          listServers: ({ cursor }) => ({
            servers: [server],
            nextCursor: cursor === '' ? 'more' : '',
          }),
          getServerSpec: () => ({ spec, specDigest: digest }),
          pauseServer: () => ({ server: { ...server, state: ServerState.PAUSED } }),
          resumeServer(_, context) {
            asked.confirmed.push(userOf(context).confirmDigest)
            return { server }
          },
          deleteServer({ serverId }) {
            asked.deleted.push(serverId)
            return { finished: true }
          },
        })
        router.service(BuildService, {
          getBuild({ buildId }) {
            if (buildId !== ids.build) throw notFound('build_not_found', 'There is no such build.')
            return { build }
          },
          cancelBuild: () => {
            throw denied('permission_missing', 'The role viewer does not permit this.')
          },
          async *watchBuild({ afterSeq }, context) {
            asked.watched++
            if (afterSeq < 1n) {
              yield { event: { seq: 1n, state: BuildState.RUNNING, elapsedMs: 1n, at } }
            }
            yield {
              event: { seq: 2n, step: BuildStep.SCAN, elapsedMs: 5n, line: 'scanning', at },
            }
            if (afterSeq === 7n) {
              await new Promise((resolve) => context.signal.addEventListener('abort', resolve))
              asked.watched = 100
            }
          },
        })
      }
      if (name === 'secrets') {
        router.service(SecretsService, {
          putSecret(request) {
            if (failing === 'secrets') throw unavailable('down', 'The vault does not answer.')
            asked.put.push(request)
            return { secret: secretOf(request.name) }
          },
          listSecrets: () => ({ secrets: [secretOf('API_KEY')] }),
          deleteSecret({ name: secret }) {
            if (secret !== 'API_KEY') throw notFound('secret_not_found', 'There is none.')
            return {}
          },
        })
      }
      if (name === 'runner') {
        router.service(LogService, {
          listLogs: ({ afterSeq }) => ({ lines: [line(afterSeq + 1n)] }),
          async *watchLogs({ afterSeq }, context) {
            yield { line: line(afterSeq + 1n) }
            await new Promise((resolve) => context.signal.addEventListener('abort', resolve))
            asked.watched = 200
          },
        })
      }
    },
  })
})
afterAll(async () => {
  await gw[Symbol.asyncDispose]()
})
beforeEach(() => {
  failing = 'nothing'
  asked.watched = 0
  for (const list of Object.values(asked)) if (Array.isArray(list)) list.length = 0
})

function check(token: string): void {
  if (token !== session) throw unauthenticated('session_invalid', 'The session has ended.')
}

const line = (seq: bigint) => ({ seq, at, level: 'info', tool: 'echo', message: 'hello' })

function secretOf(name: string) {
  return {
    serverId: ids.server,
    name,
    destination: {
      scheme: Scheme.HEADER,
      parameter: 'X-Key',
      origins: ['https://api.example.com'],
    },
    lastFour: '4321',
    valueVersion: 1,
    updatedAt: at,
    updatedBy: 'usr_1',
  }
}

type Options = { method?: string; body?: unknown; headers?: Record<string, string> }

function call(path: string, { method = 'GET', body, headers = {} }: Options = {}) {
  return fetch(`${gw.origin}${path}`, {
    method,
    headers: {
      authorization: `Bearer ${session}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  })
}

async function answer(path: string, options?: Options): Promise<Record<string, unknown>> {
  const response = await call(path, options)
  return { status: response.status, ...((await response.json()) as object) }
}

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
      expect(asked.minted).toHaveLength(0)
    })
  }

  test('a cookie changes something only from our own pages', async () => {
    const withCookie = (method: string, origin?: string) =>
      fetch(`${gw.origin}/v1/servers/pets/pause`, {
        method,
        headers: {
          cookie: `other=1; __Host-bmm=${session}`,
          ...(origin === undefined ? {} : { origin }),
        },
      })
    expect((await withCookie('POST')).status).toBe(403)
    expect((await withCookie('POST', 'https://evil.example')).status).toBe(403)
    expect((await withCookie('POST', gw.origin)).status).toBe(200)
    const read = await fetch(`${gw.origin}/v1/servers`, {
      headers: { cookie: `__Host-bmm=${session}` },
    })
    expect(read.status).toBe(200)
  })
})

describe('drafts', () => {
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
    expect(asked.drafts[0]).toMatchObject({
      source: { case: 'document', value: new TextEncoder().encode('openapi: 3.1.0') },
      only: ['tag:pets'],
      baseUrl: 'https://x.example',
    })
    expect(asked.minted[0]?.audiences).toEqual([Service.GENERATOR])
  })

  test('ten megabytes of document pass', async () => {
    const document = `# ${'x'.repeat(10 * 1024 * 1024)}`
    expect((await answer('/v1/drafts', { method: 'POST', body: { document } })).status).toBe(201)
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
    const huge = await call('/v1/login', { method: 'POST', body: { email: 'x'.repeat(300_000) } })
    expect(huge.status).toBe(413)
    const query = await answer(`/v1/servers?limit=${canary}`)
    expect(query).toMatchObject({ status: 400, errors: [{ path: 'limit' }] })
    expect(JSON.stringify(query)).not.toContain(canary)
  })

  test('an unknown address is a problem too', async () => {
    expect(await answer(`/v1/${canary}`)).toMatchObject({ status: 404, code: 'not_found' })
  })
})

describe('servers', () => {
  const create = (more: Record<string, unknown> = {}, headers: Record<string, string> = {}) =>
    answer('/v1/servers', {
      method: 'POST',
      body: { draftId: ids.draft, digest, slug: 'pets', ...more },
      headers,
    })

  test('creating confirms exactly the digest and stores the values for their destinations', async () => {
    const created = await create(
      { credentials: [{ name: 'API_KEY', value: canary }], access: { kind: 'anyone' } },
      { 'idempotency-key': 'once' },
    )
    expect(created).toMatchObject({
      status: 201,
      server: { id: ids.server, slug: 'pets', state: 'live', access: { kind: 'org' } },
      build: {
        id: ids.build,
        state: 'running',
        steps: [{ step: 'try', state: 'running', elapsedMs: 12 }],
      },
    })
    expect(asked.confirmed).toEqual([digest])
    expect(asked.created[0]).toMatchObject({
      specDigest: digest,
      idempotencyKey: 'once',
      access: '{"kind":"anyone"}',
    })
    expect(asked.put[0]).toMatchObject({
      serverId: ids.server,
      name: 'API_KEY',
      value: new TextEncoder().encode(canary),
      destination: {
        scheme: Scheme.HEADER,
        parameter: 'X-Key',
        origins: ['https://api.example.com'],
      },
    })
    expect(JSON.stringify(created)).not.toContain(canary)
  })

  test('nothing is created when a value has no place in the spec or the draft has changed', async () => {
    const credentials = [{ name: 'OTHER', value: canary }]
    expect(await create({ credentials })).toMatchObject({ status: 400, code: 'credential_unknown' })
    const changed = await create({
      digest: digestOf('other'),
      credentials: [{ name: 'API_KEY', value: canary }],
    })
    expect(changed).toMatchObject({ status: 409, code: 'draft_changed' })
    expect(asked.created).toHaveLength(0)
  })

  test('a value that could not be stored is said, with the server that it was for', async () => {
    failing = 'secrets'
    const problem = await create({ credentials: [{ name: 'API_KEY', value: canary }] })
    expect(problem).toMatchObject({
      status: 503,
      code: 'credential_not_stored',
      serverId: ids.server,
    })
    expect(JSON.stringify(problem)).not.toContain(canary)
  })

  test('a taken slug is a conflict', async () => {
    expect(await create({ slug: 'taken' })).toMatchObject({ status: 409, code: 'slug_taken' })
  })

  test('are listed by pages and found by id and slug', async () => {
    expect(await answer('/v1/servers')).toMatchObject({ nextCursor: 'more' })
    expect(await answer('/v1/servers?cursor=more')).not.toHaveProperty('nextCursor')
    for (const reference of ['pets', ids.server]) {
      expect(await answer(`/v1/servers/${reference}`)).toEqual({
        status: 200,
        id: ids.server,
        orgId: ids.org,
        slug: 'pets',
        name: 'Pets',
        state: 'live',
        version: 1,
        url: 'http://localhost/s/pets/mcp',
        tools: 1,
        specDigest: digest,
        access: { kind: 'org' },
        createdAt: atText,
        createdBy: 'usr_1',
        latestBuildId: ids.build,
      })
    }
    expect(await answer('/v1/servers/nobody')).toMatchObject({ code: 'server_not_found' })
  })

  test('pause, resume with the confirmed digest, delete', async () => {
    expect(await answer('/v1/servers/pets/pause', { method: 'POST' })).toMatchObject({
      state: 'paused',
    })
    const body = { specDigest: digest }
    expect((await answer('/v1/servers/pets/resume', { method: 'POST', body })).status).toBe(200)
    expect(asked.confirmed).toEqual([digest])
    const blind = await answer('/v1/servers/pets/resume', { method: 'POST', body: {} })
    expect(blind.status).toBe(400)
    expect(await answer('/v1/servers/pets', { method: 'DELETE' })).toEqual({
      status: 200,
      finished: true,
    })
    expect(asked.deleted).toEqual([ids.server])
  })
})

describe('credentials', () => {
  const path = '/v1/servers/pets/credentials'
  const described = {
    name: 'API_KEY',
    destination: {
      scheme: 'header',
      parameter: 'X-Key',
      origins: ['https://api.example.com'],
    },
    optional: false,
    description: 'The key.',
    stored: true,
    lastFour: '4321',
    updatedAt: atText,
    updatedBy: 'usr_1',
  }

  test('are listed with their destination and without a value', async () => {
    expect(await answer(path)).toEqual({ status: 200, credentials: [described] })
  })

  test('a value is stored for the destination of the spec, which is shown', async () => {
    const body = { value: canary, origins: ['https://api.example.com'] }
    const stored = await answer(`${path}/API_KEY`, { method: 'PUT', body })
    expect(stored).toEqual({ status: 200, ...described })
    expect(asked.put[0]?.destination).toMatchObject({ origins: ['https://api.example.com'] })
    expect(asked.minted.at(-1)?.audiences).toEqual([Service.GENERATOR, Service.SECRETS])
  })

  test('no caller can choose another destination', async () => {
    const body = { value: canary, origins: ['https://evil.example'] }
    expect(await answer(`${path}/API_KEY`, { method: 'PUT', body })).toMatchObject({
      status: 409,
      code: 'destination_changed',
    })
    const scheme = await answer(`${path}/API_KEY`, {
      method: 'PUT',
      body: { value: canary, scheme: 'bearer' },
    })
    expect(scheme.status).toBe(400)
    expect(asked.put).toHaveLength(0)
  })

  test('a name that the spec does not have is refused', async () => {
    const body = { value: canary }
    expect(await answer(`${path}/OTHER`, { method: 'PUT', body })).toMatchObject({ status: 404 })
  })

  test('are deleted once', async () => {
    expect((await call(`${path}/API_KEY`, { method: 'DELETE' })).status).toBe(204)
    expect(await answer(`${path}/GONE`, { method: 'DELETE' })).toMatchObject({ status: 404 })
  })
})

describe('builds', () => {
  const socketUrl = (more = '') =>
    `${gw.origin.replace('http', 'ws')}/v1/builds/${ids.build}/events${more}`

  /** Messages and the code of the end; headers are Bun's extension of WebSocket. */
  function follow(url: string, headers: Record<string, string>) {
    const messages: unknown[] = []
    const end = Promise.withResolvers<number>()
    const socket = new WebSocket(url, { headers } as unknown as string[])
    socket.onmessage = ({ data }) => void messages.push(JSON.parse(String(data)))
    socket.onclose = ({ code }) => end.resolve(code)
    return { socket, messages, end: end.promise }
  }

  test('events come over a WebSocket, from where one left off, and end with 1000', async () => {
    const headers = { authorization: `Bearer ${session}` }
    const whole = follow(socketUrl(), headers)
    expect(await whole.end).toBe(1000)
    expect(whole.messages).toEqual([
      { seq: 1, state: 'running', elapsedMs: 1, at: atText },
      { seq: 2, step: 'scan', elapsedMs: 5, line: 'scanning', at: atText },
    ])
    const rest = follow(socketUrl('?after=1'), headers)
    expect(await rest.end).toBe(1000)
    expect(rest.messages).toHaveLength(1)
  })

  test('a browser of ours may follow with its cookie', async () => {
    const followed = follow(socketUrl(), { cookie: `__Host-bmm=${session}`, origin: gw.origin })
    expect(await followed.end).toBe(1000)
  })

  test('a follower that goes away ends the watch', async () => {
    const followed = follow(socketUrl('?after=7'), { authorization: `Bearer ${session}` })
    await eventually(() => followed.messages.length === 1)
    followed.socket.close()
    await eventually(() => asked.watched === 100)
  })

  const upgrade = {
    connection: 'Upgrade',
    upgrade: 'websocket',
    'sec-websocket-version': '13',
    'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
  }
  const refusals: [string, Record<string, string>, number][] = [
    ['nobody', {}, 401],
    ['an ended session', { authorization: `Bearer bms_${'x'.repeat(43)}` }, 401],
    [
      'a foreign page with our cookie',
      { cookie: `__Host-bmm=${session}`, origin: 'https://evil.example' },
      403,
    ],
    ['a cookie without an Origin', { cookie: `__Host-bmm=${session}` }, 403],
    [
      'a foreign page with a bearer',
      { authorization: `Bearer ${session}`, origin: 'https://evil.example' },
      403,
    ],
  ]
  for (const [who, headers, status] of refusals) {
    test(`${who} gets ${status} instead of a WebSocket`, async () => {
      const response = await fetch(socketUrl().replace('ws', 'http'), {
        headers: { ...upgrade, ...headers },
      })
      expect(response.status).toBe(status)
      expect(asked.watched).toBe(0)
    })
  }

  test('a build of somebody else gets 404 instead of a WebSocket', async () => {
    const url = `${gw.origin}/v1/builds/${newId('bld')}/events`
    const headers = { ...upgrade, authorization: `Bearer ${session}` }
    expect((await fetch(url, { headers })).status).toBe(404)
  })

  test('a plain request is told to upgrade', async () => {
    expect(await answer(`/v1/builds/${ids.build}/events`)).toMatchObject({ status: 426 })
  })

  test('a missing permission is 403', async () => {
    const problem = await answer(`/v1/builds/${ids.build}/cancel`, { method: 'POST' })
    expect(problem).toMatchObject({ status: 403, code: 'permission_missing' })
  })
})

describe('logs', () => {
  test('come by pages', async () => {
    expect(await answer('/v1/servers/pets/logs?cursor=4')).toEqual({
      status: 200,
      lines: [{ seq: 5, at: atText, level: 'info', tool: 'echo', message: 'hello' }],
      nextCursor: 5,
    })
  })

  test('are followed as events, from the last one seen, until the reader goes away', async () => {
    const response = await call('/v1/servers/pets/logs/follow?cursor=1', {
      headers: { 'last-event-id': '8' },
    })
    expect(response.headers.get('content-type')).toBe('text/event-stream')
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader()
    let text = ''
    while (!text.includes('data:')) text += (await reader?.read())?.value ?? ''
    expect(text).toContain('id: 9\ndata: {"seq":9,')
    await reader?.cancel()
    await eventually(() => asked.watched === 200)
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
        'post /v1/drafts',
        'get /v1/drafts/{draft}',
        'post /v1/servers',
        'get /v1/servers',
        'get /v1/servers/{server}',
        'delete /v1/servers/{server}',
        'post /v1/servers/{server}/pause',
        'post /v1/servers/{server}/resume',
        'get /v1/servers/{server}/credentials',
        'put /v1/servers/{server}/credentials/{name}',
        'delete /v1/servers/{server}/credentials/{name}',
        'get /v1/builds/{build}',
        'post /v1/builds/{build}/cancel',
        'get /v1/builds/{build}/events',
        'get /v1/servers/{server}/logs',
        'get /v1/servers/{server}/logs/follow',
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
    await eventually(async () => (await fetch(`${gw.origin}/health/ready`)).status === 200)
    gw.stopRunner()
    await eventually(async () => (await fetch(`${gw.origin}/health/ready`)).status === 503)
    expect(await answer('/health/ready')).toMatchObject({
      faults: { calls: 'is not connected' },
    })
    gw.startRunner()
    await eventually(async () => (await fetch(`${gw.origin}/health/ready`)).status === 200)
  })
})
