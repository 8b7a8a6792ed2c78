/** The whole gateway from its connections to its listeners, without the environment. */
import type { BlockList } from 'node:net'
import { join } from 'node:path'
import { rpcClient, rpcTransport } from '@bmm/lib/client'
import { createDeadlines } from '@bmm/lib/deadlines'
import { channels, revokedKey } from '@bmm/lib/hints'
import type { Identity, ServiceName } from '@bmm/lib/identity'
import type { ListenAddress } from '@bmm/lib/listen-addresses'
import type { Log } from '@bmm/lib/log'
import { type CollectMetrics, counter, gauge, tally } from '@bmm/lib/metrics'
import { type Redis, subscribe } from '@bmm/lib/redis'
import { SessionService } from '@bmm/proto/auth/v1/auth_service'
import { OAuthService } from '@bmm/proto/auth/v1/oauth_service'
import { ServiceTokenService } from '@bmm/proto/auth/v1/service_token_service'
import { RefusalService } from '@bmm/proto/broker/v1/broker_service'
import {
  BuildService,
  DraftService,
  ServerService,
  ServingService,
} from '@bmm/proto/generator/v1/generator_service'
import { LogService } from '@bmm/proto/runner/v1/runner_service'
import { StatsService } from '@bmm/proto/runner/v1/stats_service'
import { SecretsService, StatementService } from '@bmm/proto/secrets/v1/secrets_service'
import type { DescService } from '@bufbuild/protobuf'
import { accessTokens } from './access/access-token.ts'
import { keySet } from './access/key-set.ts'
import { openRevocations } from './access/revocation.ts'
import { serviceTokens } from './access/service-token.ts'
import { openArrivals } from './arrival/arrival.ts'
import { isTrusted } from './arrival/client-ip.ts'
import { listen } from './arrival/listener.ts'
import { openListeners } from './arrival/listeners.ts'
import { unnamedProxies } from './arrival/unnamed-proxies.ts'
import { openPeople } from './console/person.ts'
import { consolePlugin } from './console/plugin.ts'
import { edge } from './edge.ts'
import { confirmations } from './grpc/confirmed.ts'
import { openGrpcPort } from './grpc/port.ts'
import { grpcHandler } from './grpc/routes.ts'
import { type Checks, healthPlugin, serviceFault } from './health.ts'
import { fairTurns } from './limits/fair-turns.ts'
import { inFlight } from './limits/in-flight.ts'
import { type RateLimit, rateLimiter } from './limits/rate-limit.ts'
import { openRoom, type RoomLimits } from './limits/room.ts'
import type { CallTracing } from './mcp/call-span.ts'
import { mcpDoor } from './mcp/door.ts'
import { unreadAnswers, unreadLimits } from './mcp/unread-answers.ts'
import { oauthPlugin } from './oauth/plugin.ts'
import { pagesPlugin } from './pages/plugin.ts'
import { openRunnerLink } from './runner-link.ts'
import { openListings } from './serving/listing.ts'
import { openServings } from './serving/serving.ts'

const pageLimit = { burst: 120, perMinute: 240 }
/** Many clients refresh their tokens behind one address. */
const tokenLimit = { burst: 300, perMinute: 600 }
const strangerLimit = { burst: 60, perMinute: 60 }
/** One service token, over REST and gRPC together. */
const programLimit = { burst: 300, perMinute: 1_200 }
/** Calls through the gRPC port that one person's programs have open at a time. */
const MAX_GRPC_PER_USER = 64
/** Documents that are being sent or drafted: four of the largest by gRPC, two by REST, at a time for a person. */
const documentLimits = { perPerson: 144 * 1024 * 1024, total: 512 * 1024 * 1024 }
const MEBIBYTE = 1024 * 1024
/** Messages to MCP endpoints on their way here: as many of the largest as a person has calls at a time. */
const messageLimits = {
  perPerson: 64 * MEBIBYTE,
  total: 512 * MEBIBYTE,
  little: { each: 256 * 1024, total: 64 * MEBIBYTE },
}
/** Bodies of visitors of whom nobody knows yet who they are, for a network and in all. */
const visitorBodyLimits = {
  perPerson: 16 * MEBIBYTE,
  total: 128 * MEBIBYTE,
  little: { each: 64 * 1024, total: 16 * MEBIBYTE },
}
const MAX_SERVINGS_AGE_MS = 30_000

export type GatewayOptions = {
  identity: Identity
  rpcDir: string
  redis?: Redis
  publicUrl: string
  /** Origins that the platform had before it moved. */
  formerUrls?: readonly string[]
  port: number
  /** Of the second listener, for gRPC; 0 for any free one. */
  grpcPort: number
  trusted: BlockList
  /** What both ports listen on; loopback unless given. */
  addresses?: readonly ListenAddress[]
  log: Log
  tracing?: CallTracing
  /** The folder that mail goes to instead of to people, in development. */
  mailbox?: string
  /** Shorter in tests. */
  feedIntervalMs?: number
  callTimeoutMs?: number
  /** Smaller in tests. */
  unread?: RoomLimits
  messages?: RoomLimits
  pageTools?: number
}

export type Gateway = AsyncDisposable & {
  port: number
  grpcPort: number
  /** By name of the dependency; empty when all is well. */
  checks: Checks
  metrics: CollectMetrics
}

/** Asks for revocations and servings, then listens. Disposing lets answers under way finish for a moment. */
export async function openGateway(options: GatewayOptions): Promise<Gateway> {
  const { identity, rpcDir, redis, publicUrl, log } = options
  const client = <Desc extends DescService>(service: Desc, to: ServiceName) =>
    rpcClient(service, { identity, rpcDir, to })
  const oauth = client(OAuthService, 'auth')
  const sessions = client(SessionService, 'auth')
  const serving = client(ServingService, 'generator')
  const secrets = client(SecretsService, 'secrets')
  const statements = client(StatementService, 'secrets')
  const servers = client(ServerService, 'generator')
  const interval =
    options.feedIntervalMs === undefined ? {} : { intervalMs: options.feedIntervalMs }

  const running = inFlight()
  const programCalls = inFlight({ maxPerUser: MAX_GRPC_PER_USER })
  const arrivals = openArrivals()
  const revocations = await openRevocations({
    ...{ oauth, log, ...interval },
    onRevoked(grantId) {
      running.endGrant(grantId)
      programCalls.endGrant(grantId)
    },
    ...(redis === undefined
      ? {}
      : { findMark: async (grantId) => (await redis.exists(revokedKey(grantId))) === 1 }),
  })
  const servings = await openServings({
    ...{ serving, publicUrl, formerUrls: options.formerUrls ?? [], log, ...interval },
    statements,
  })
  const hints =
    redis === undefined
      ? []
      : await Promise.all([
          subscribe(redis, channels.serverUpdated, () => void servings.hint()),
          subscribe(redis, channels.tokenRevoked, () => void revocations.hint()),
        ])
  const runner = openRunnerLink({
    ...{ identity, log },
    socket: join(rpcDir, 'runner', 'calls.sock'),
  })
  const listings = openListings({
    serving,
    ...(options.pageTools === undefined ? {} : { pageTools: options.pageTools }),
  })
  const fetchJwks = async () => (await oauth.getJwks({})).jwks
  const tokens = accessTokens({ issuer: publicUrl, keys: keySet({ fetchJwks }) })
  const tooOften = tally()
  const refused = tally()
  const limiter = (limit: RateLimit, what: string) =>
    rateLimiter(limit, { onRefused: () => tooOften.add(what) })
  const visitors = limiter(pageLimit, 'pages')
  const programTokens = client(ServiceTokenService, 'auth')
  const programs = serviceTokens({
    ...{ revocations, tokens: programTokens },
    strangers: limiter(strangerLimit, 'programs'),
    rate: limiter(programLimit, 'programs'),
  })
  const people = openPeople({
    ...{ sessions, publicUrl, arrivals, programs },
    strangers: limiter(pageLimit, 'rest'),
  })
  const checks: Checks = {
    auth: () => serviceFault(rpcDir, 'auth'),
    secrets: () => serviceFault(rpcDir, 'secrets'),
    generator: () => serviceFault(rpcDir, 'generator'),
    runner: () => serviceFault(rpcDir, 'runner'),
    calls: () => (runner.isConnected() ? undefined : 'is not connected'),
    revocations: () => (revocations.isFresh() ? undefined : 'were not seen lately'),
    servings: () => (servings.ageMs() < MAX_SERVINGS_AGE_MS ? undefined : 'were not seen lately'),
    ...(redis === undefined ? {} : { redis: () => redis.ping().then(() => undefined) }),
  }
  const shared = { publicUrl, servings, listings, arrivals, log, oauth, sessions, visitors }
  const deadlines = createDeadlines()
  const unread = openRoom(options.unread ?? unreadLimits)
  const documents = openRoom(documentLimits)
  const bodies = {
    people: openRoom(options.messages ?? messageLimits),
    visitors: openRoom(visitorBodyLimits),
  }
  const door = mcpDoor({
    ...{ publicUrl, servings, listings, tokens, revocations, runner, log, inFlight: running },
    turns: fairTurns(),
    ...{ deadlines, refused, unread: unreadAnswers(unread), bodies },
    listeners: openListeners(redis),
    strangers: limiter(strangerLimit, 'mcp'),
    ...(options.tracing === undefined ? {} : { tracing: options.tracing }),
    ...(options.callTimeoutMs === undefined ? {} : { callTimeoutMs: options.callTimeoutMs }),
  })
  const { port, trusted, grpcPort } = options
  const unnamed = unnamedProxies({ trusted, log })
  const app = edge({ arrivals, log })
    .use(healthPlugin(checks, unnamed.warning))
    .use(oauthPlugin({ ...shared, visitors: limiter(tokenLimit, 'tokens') }))
    .use(
      pagesPlugin({
        ...shared,
        ...(options.mailbox === undefined ? {} : { mailbox: options.mailbox }),
      }),
    )
    .use(
      consolePlugin({
        ...{ ...shared, people, secrets, statements, servers, documents },
        tokens: programTokens,
        drafts: client(DraftService, 'generator'),
        builds: client(BuildService, 'generator'),
        logs: client(LogService, 'runner'),
        stats: client(StatsService, 'runner'),
        refusals: client(RefusalService, 'broker'),
      }),
    )
    .compile()
  const { addresses } = options
  const listener = listen({
    ...{ door, app, arrivals, publicUrl, port, trusted, unnamed, log },
    ...(addresses === undefined ? {} : { addresses }),
    bodies: bodies.visitors,
  })
  const grpc = await openGrpcPort({
    handler: grpcHandler({
      ...{
        servings,
        servers,
        listings,
        runner,
        deadlines,
        checks,
        log,
        trusted,
        unnamed,
        unread,
        documents,
      },
      tokens: programs,
      toolCalls: running,
      inFlight: programCalls,
      visitors: limiter(pageLimit, 'grpc'),
      confirmations: confirmations({ publicUrl, statements }),
      ...(options.tracing === undefined ? {} : { tracing: options.tracing }),
      transport: (to) => rpcTransport({ identity, rpcDir, to }),
      ...(options.callTimeoutMs === undefined ? {} : { callTimeoutMs: options.callTimeoutMs }),
    }),
    isProxy: (address) => isTrusted(address, trusted),
    port: grpcPort,
    log,
    ...(addresses === undefined ? {} : { addresses }),
  })
  return {
    port: listener.port,
    grpcPort: grpc.port,
    checks,
    metrics: () => [
      gauge('bmm_gateway_calls_in_flight', 'Calls that wait for their answer.', running.size()),
      gauge('bmm_runner_connected', 'Whether calls reach a runner.', runner.isConnected() ? 1 : 0),
      gauge('bmm_feed_age_seconds', 'Since a feed was last read.', [
        [revocations.ageMs() / 1_000, { feed: 'revocations' }],
        [servings.ageMs() / 1_000, { feed: 'servings' }],
      ]),
      counter(
        'bmm_unnamed_proxy_requests_total',
        'Requests with forwarding headers from a peer that is not in BMM_TRUSTED_PROXIES.',
        unnamed.count(),
      ),
      counter('bmm_rate_limited_total', 'Requests that came too often.', tooOften.by('what')),
      counter(
        'bmm_mcp_refused_total',
        'Requests to MCP endpoints that were refused before any message was looked at.',
        refused.by('status'),
      ),
    ],
    async [Symbol.asyncDispose]() {
      await Promise.all([
        listener.stop(() => running.endAll()),
        grpc.stop(() => programCalls.endAll()),
      ])
      for (const resource of [...hints, runner, servings, revocations]) {
        await resource[Symbol.asyncDispose]()
      }
    },
  }
}
