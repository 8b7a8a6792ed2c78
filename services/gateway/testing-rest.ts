/** A gateway whose services answer what a test of the REST API tells them. */
import { afterAll, beforeEach } from 'bun:test'
import {
  conflict,
  denied,
  invalid,
  limited,
  notFound,
  unauthenticated,
  unavailable,
} from '@bmm/lib/errors'
import { userOf } from '@bmm/lib/identity'
import { newId } from '@bmm/lib/ids'
import { testIdentities } from '@bmm/lib/testing'
import { type MintUserTokenRequest, SessionService } from '@bmm/proto/auth/v1/auth_service'
import { RefusalService } from '@bmm/proto/broker/v1/broker_service'
import {
  BuildService,
  type CreateDraftRequest,
  type CreateServerRequest,
  DraftService,
  ServerService,
} from '@bmm/proto/generator/v1/generator_service'
import { BuildState, BuildStep, ServerState } from '@bmm/proto/generator/v1/server'
import { LogService } from '@bmm/proto/runner/v1/runner_service'
import type { GetCallStatsRequest } from '@bmm/proto/runner/v1/stats_service'
import { Scheme } from '@bmm/proto/secrets/v1/secret'
import { type PutSecretRequest, SecretsService } from '@bmm/proto/secrets/v1/secrets_service'
import { digestOf } from '@bmm/spec/digest'
import { serverSpecBytes } from '@bmm/spec/server-spec'
import { timestampFromMs } from '@bufbuild/protobuf/wkt'
import type { ConnectRouter } from '@connectrpc/connect'
import { type TestGateway, testGateway, testSpec } from './testing.ts'
import { type StandInPrograms, standInPrograms } from './testing-programs.ts'
import { statsStandIn } from './testing-stats.ts'

export const session = `bms_${'s'.repeat(43)}`
export const canary = 'hunter2-canary'
const at = timestampFromMs(Date.UTC(2026, 10, 22, 1, 2, 3, 4))
export const atText = '2026-11-22T01:02:03.004Z'
export const ids = {
  draft: newId('dft'),
  server: newId('srv'),
  build: newId('bld'),
  retried: newId('bld'),
  org: newId('org'),
}
export const spec = serverSpecBytes(
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
export const digest = digestOf(spec)

export type AskedOfServices = ReturnType<typeof nothingAsked>

export type RestWorld = {
  gw: TestGateway
  /** Service tokens that the authorization server knows. */
  programs: StandInPrograms
  asked: AskedOfServices
  /** What the stand-ins are to fail at. */
  failing: { part: 'nothing' | 'secrets' }
  reset(): void
  call(path: string, options?: RestRequest): Promise<Response>
  /** Status and JSON of an answer. */
  answer(path: string, options?: RestRequest): Promise<Record<string, unknown>>
}

export type RestRequest = { method?: string; body?: unknown; headers?: Record<string, string> }

/** What the signer remembers; the generator's row of the same server says otherwise. */
export const confirmedBefore = {
  specDigest: digest,
  resourceUrl: 'http://localhost/s/pets/mcp',
  access: '{"kind":"people","people":["usr_1"]}',
}

/** The gateway that all tests of a file share; each begins with nothing asked and nothing failing. */
export async function restWorldOfFile(): Promise<RestWorld> {
  const world = await restWorld()
  beforeEach(() => world.reset())
  afterAll(() => world.gw[Symbol.asyncDispose]())
  return world
}

async function restWorld(): Promise<RestWorld> {
  const asked = nothingAsked()
  const failing: RestWorld['failing'] = { part: 'nothing' }
  const identities = await testIdentities()
  const mint = (confirmDigest: string) =>
    identities.mintUser({ userId: 'usr_1' }, confirmDigest === '' ? {} : { confirmDigest })
  const programs = standInPrograms(identities)
  const gw = await testGateway({
    identities,
    statements: { getConfirmed: () => confirmedBefore },
    routes(name, router) {
      if (name === 'auth') {
        sessions(router, asked, mint)
        programs.serve(router)
      }
      if (name === 'generator') generator(router, asked)
      if (name === 'secrets') secrets(router, asked, failing)
      if (name === 'runner') {
        logs(router, asked)
        statsStandIn(router, asked, at)
      }
      if (name === 'broker') router.service(RefusalService, { listRefusals: () => ({ refusals }) })
    },
  })
  const world: RestWorld = {
    ...{ gw, asked, failing, programs },
    reset() {
      failing.part = 'nothing'
      Object.assign(asked, nothingAsked())
    },
    call(path, { method = 'GET', body, headers = {} } = {}) {
      const sent = typeof body === 'string' ? body : JSON.stringify(body)
      return fetch(`${gw.origin}${path}`, {
        method,
        headers: {
          authorization: `Bearer ${session}`,
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          ...headers,
        },
        ...(body === undefined ? {} : { body: sent }),
      })
    },
    async answer(path, options) {
      const response = await world.call(path, options)
      return { status: response.status, ...((await response.json()) as object) }
    },
  }
  return world
}

const refusals = [{ at, reason: 'origin_not_allowed', host: 'evil.example', method: 'GET' }]

function nothingAsked() {
  return {
    minted: [] as MintUserTokenRequest[],
    drafts: [] as CreateDraftRequest[],
    created: [] as CreateServerRequest[],
    put: [] as PutSecretRequest[],
    confirmed: [] as (string | undefined)[],
    deleted: [] as string[],
    stats: [] as GetCallStatsRequest[],
    /** Metadata of the calls that list servers. */
    headers: [] as Headers[],
    watches: [] as ('begun' | 'build ended' | 'log ended')[],
    /** Given by the log that has very much to give. */
    logLines: 0,
  }
}

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

function sessions(
  router: ConnectRouter,
  asked: AskedOfServices,
  mint: (confirmDigest: string) => Promise<string>,
): void {
  const check = (token: string) => {
    if (token !== session) throw unauthenticated('session_invalid', 'The session has ended.')
  }
  router.service(SessionService, {
    startMagicLink: () => ({}),
    finishMagicLink: () => ({
      sessionToken: session,
      session: { user: { id: 'usr_1', email: 'ada@example.com' } },
    }),
    listSessions({ sessionToken }) {
      check(sessionToken)
      const own = { id: 'ses_1', userAgent: 'a browser', createdAt: at, expiresAt: at }
      return { sessions: [{ ...own, current: true }] }
    },
    endSession({ sessionToken, sessionId }) {
      check(sessionToken)
      if (sessionId !== 'ses_2') throw notFound('no_such_session', 'You have no such session.')
      return {}
    },
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
      return { token: await mint(request.confirmDigest) }
    },
  })
}

function generator(router: ConnectRouter, asked: AskedOfServices): void {
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
    listServers({ cursor }, { requestHeader }) {
      asked.headers.push(requestHeader)
      return { servers: [server], nextCursor: cursor === '' ? 'more' : '' }
    },
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
  builds(router, asked)
}

/** After event 7 a watch lasts until its reader goes away. */
function builds(router: ConnectRouter, asked: AskedOfServices): void {
  router.service(BuildService, {
    getBuild({ buildId }) {
      if (buildId !== ids.build) throw notFound('build_not_found', 'There is no such build.')
      return { build }
    },
    cancelBuild: () => {
      throw denied('permission_missing', 'The role viewer does not permit this.')
    },
    retryBuild: () => ({ build: { ...build, id: ids.retried } }),
    async *watchBuild({ afterSeq }, context) {
      asked.watches.push('begun')
      if (afterSeq < 1n) {
        yield { event: { seq: 1n, state: BuildState.RUNNING, elapsedMs: 1n, at } }
      }
      yield { event: { seq: 2n, step: BuildStep.SCAN, elapsedMs: 5n, line: 'scanning', at } }
      if (afterSeq === 7n) {
        await new Promise((resolve) => context.signal.addEventListener('abort', resolve))
        asked.watches.push('build ended')
      }
    },
  })
}

function secrets(
  router: ConnectRouter,
  asked: AskedOfServices,
  failing: RestWorld['failing'],
): void {
  router.service(SecretsService, {
    putSecret(request) {
      if (failing.part === 'secrets') throw unavailable('down', 'The vault does not answer.')
      asked.put.push(request)
      return { secret: secretOf(request.name) }
    },
    listSecrets: () => ({ secrets: [secretOf('API_KEY')] }),
    deleteSecret({ name }) {
      if (name !== 'API_KEY') throw notFound('secret_not_found', 'There is none.')
      return {}
    },
  })
}

/** The cursor after which the log has more than any buffer on the way takes. */
export const LONG_LOG = 1_000_000n
export const LONG_LOG_LINES = 4_000
/** Cursors of logs that are somebody else's, that too many follow, and that say nothing. */
export const FOREIGN_LOG = 1_000_001n
export const BUSY_LOG = 1_000_002n
export const QUIET_LOG = 1_000_003n

function logs(router: ConnectRouter, asked: AskedOfServices): void {
  const line = (seq: bigint) => ({ seq, at, level: 'info', tool: 'echo', message: 'hello' })
  router.service(LogService, {
    listLogs: ({ afterSeq }) => ({ lines: [line(afterSeq + 1n)] }),
    async *watchLogs({ afterSeq, announce }, context) {
      if (afterSeq === FOREIGN_LOG) throw notFound('server_not_found', 'There is no such server.')
      if (afterSeq === BUSY_LOG) throw limited('too_many_followers', 'Too many people follow.')
      try {
        if (announce) yield {}
        if (afterSeq === QUIET_LOG) {
          await new Promise((resolve) => context.signal.addEventListener('abort', resolve))
        }
        yield { line: line(afterSeq + 1n) }
        const message = 'x'.repeat(8_192)
        while (afterSeq === LONG_LOG && asked.logLines < LONG_LOG_LINES) {
          asked.logLines++
          yield { line: { ...line(afterSeq + BigInt(asked.logLines)), message } }
        }
        await new Promise((resolve) => context.signal.addEventListener('abort', resolve))
      } finally {
        asked.watches.push('log ended')
      }
    },
  })
}

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
