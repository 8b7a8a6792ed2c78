/** What the generator's tests start from: the real service and the real signer, beside a runner, an auth and a broker that are told what to answer. */
import { randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { asUser, rpcClient } from '@bmm/lib/client'
import { type JobQueue, openQueue, openWorker } from '@bmm/lib/jobs'
import {
  type TestDatabase,
  type TestIdentities,
  type TestRedis,
  type TestRpc,
  type TestUser,
  testDatabase,
  testIdentities,
  testLog,
  testRedis,
  testRpc,
} from '@bmm/lib/testing'
import { OAuthService } from '@bmm/proto/auth/v1/oauth_service'
import { TargetService } from '@bmm/proto/broker/v1/broker_service'
import { DeploymentService } from '@bmm/proto/runner/v1/runner_service'
import type { CallOptions } from '@connectrpc/connect'
import { BUILD_QUEUE, buildQueue } from './build/build-queue.ts'
import { buildWatch } from './build/build-watch.ts'
import { type BuildTimes, buildWorker } from './build/build-worker.ts'
import {
  type Downstream,
  openDownstream,
  type StatementCheck,
  signedOf,
  statementCheck,
} from './downstream.ts'
import { documentSource, policySource } from './draft/document-source.ts'
import { drafting } from './draft/drafting.ts'
import { type Hints, openHints } from './hints.ts'
import { type Stopping, stopping } from './server/stopping.ts'
import { generatorRoutes } from './service.ts'
import { openSpareChildren } from './spare-children.ts'
import { type SweepOptions, sweepOnce } from './sweep.ts'

const HEALTH_TIMEOUT_MS = 60_000
const HEALTH_PAUSE_MS = 50

/** The origin that every server of a test has its address under. */
export const testPublicUrl = 'http://localhost:8787'

/** What the fake neighbours saw, and what they answer; a test changes the answers. */
export type Neighbours = {
  tried: { spec: Uint8Array; module: Uint8Array }[]
  deployed: { statement: Uint8Array; spec: Uint8Array; module: Uint8Array }[]
  stopped: Uint8Array[]
  grantsEnded: string[]
  /** Resolves to what is wrong, empty for nothing. */
  onTry: (signal: AbortSignal) => Promise<string>
  onDeploy: (signal: AbortSignal) => Promise<unknown>
  onStop: () => Promise<void>
  onEndGrants: () => Promise<void>
  targets: { host: string; port: number; orgId: string }[]
}

/** They saw nothing yet, do what they are asked, and no private target is allowed. */
export function quietNeighbours(): Neighbours {
  return {
    tried: [],
    deployed: [],
    stopped: [],
    grantsEnded: [],
    onTry: async () => '',
    onDeploy: async () => {},
    onStop: async () => {},
    onEndGrants: async () => {},
    targets: [],
  }
}

/** Serves the neighbours over the real transport, with the real interceptors. */
function serveNeighbours(rpc: TestRpc, neighbours: Neighbours): void {
  rpc.serve('runner', (router) => {
    router.service(DeploymentService, {
      async tryVersion({ spec, module }, context) {
        neighbours.tried.push({ spec, module })
        const message = await neighbours.onTry(context.signal)
        return { ok: message === '', message, elapsedMs: 3n }
      },
      async deploy({ statement, spec, module }, context) {
        await neighbours.onDeploy(context.signal)
        neighbours.deployed.push({ statement: signedOf(statement).bytes, spec, module })
        return {}
      },
      async stop({ statement }) {
        await neighbours.onStop()
        neighbours.stopped.push(signedOf(statement).bytes)
        return { sandboxesEnded: 1 }
      },
    })
  })
  rpc.serve('auth', (router) => {
    router.service(OAuthService, {
      async endServerGrants({ serverId }) {
        await neighbours.onEndGrants()
        neighbours.grantsEnded.push(serverId)
        return { ended: 1 }
      },
    })
  })
  rpc.serve('broker', (router) => {
    router.service(TargetService, { listTargets: () => ({ targets: neighbours.targets }) })
  })
}

/** Makes the runner wait in a step until released, and tells when a build is there. */
export function holdStep(
  { neighbours }: Pick<TestGenerator, 'neighbours'>,
  step: 'onTry' | 'onDeploy',
) {
  const reached = Promise.withResolvers<void>()
  const release = Promise.withResolvers<void>()
  neighbours[step] = async () => {
    reached.resolve()
    await release.promise
    return ''
  }
  return { reached: reached.promise, release: () => release.resolve() }
}

export type Spawned = AsyncDisposable & { kill(): Promise<void> }

/** Starts a service's real process on the test's sockets, database and keys, and waits until it is healthy. */
export async function spawnService(
  name: 'secrets' | 'generator',
  place: { rpc: TestRpc; identities: TestIdentities; env: Record<string, string> },
): Promise<Spawned> {
  const { rpc, identities } = place
  const folder = mkdtempSync(join(tmpdir(), `bmm-${name}-`))
  writeFileSync(join(folder, 'key.pem'), identities.privateKeyPem(name), { mode: 0o600 })
  writeFileSync(join(folder, 'public-keys.json'), identities.publicKeys)
  mkdirSync(join(rpc.rpcDir, name), { recursive: true })
  const child = Bun.spawn([process.execPath, join(import.meta.dir, '..', name, 'main.ts')], {
    env: {
      BMM_ENV: 'development',
      BMM_LOG_LEVEL: 'silent',
      BMM_RPC_DIR: rpc.rpcDir,
      BMM_SERVICE_KEY: join(folder, 'key.pem'),
      BMM_SERVICE_PUBLIC_KEYS: join(folder, 'public-keys.json'),
      ...place.env,
    },
    stdout: 'inherit',
    stderr: 'inherit',
  })
  const end = async (signal: 'SIGTERM' | 'SIGKILL') => {
    child.kill(signal)
    await child.exited
    rmSync(folder, { recursive: true, force: true })
  }
  try {
    await untilHealthy(join(rpc.rpcDir, name, 'rpc.sock'), child)
  } catch (error) {
    await end('SIGKILL')
    throw error
  }
  return {
    kill: () => end('SIGKILL'),
    [Symbol.asyncDispose]: () => end('SIGTERM'),
  }
}

async function untilHealthy(unix: string, child: Bun.Subprocess): Promise<void> {
  const end = performance.now() + HEALTH_TIMEOUT_MS
  while (performance.now() < end && child.exitCode === null) {
    const answer = await fetch('http://localhost/health', { unix }).catch(() => undefined)
    if (answer?.ok === true) return
    await Bun.sleep(HEALTH_PAUSE_MS)
  }
  throw new Error(`the process behind ${unix} did not become healthy`)
}

export type TestGenerator = AsyncDisposable & {
  database: TestDatabase
  redis: TestRedis
  identities: TestIdentities
  rpc: TestRpc
  neighbours: Neighbours
  downstream: Downstream
  hints: Hints
  stops: Stopping
  queue: JobQueue
  /** Call options of a person; `confirmDigest` is what they just confirmed. */
  as(user: TestUser, confirmDigest?: string): Promise<CallOptions>
  /** One round of the sweep. */
  sweep(options?: Partial<SweepOptions>): Promise<void>
  /** Ends the streams of followers, as the end of the process does. */
  endStreams(): void
  /** A worker of this process, as another process would have one. */
  newWorker(times?: Partial<BuildTimes>, check?: StatementCheck): ReturnType<typeof buildWorker>
  check: StatementCheck
}

export type TestGeneratorOptions = {
  /** Whether this process serves the generator; a test of killed processes starts real ones instead. */
  serves?: boolean
  /** Whether builds are worked on as they come. */
  works: boolean
  patienceMs?: number
  maxWatchersOfOrg?: number
}

export async function openTestGenerator(options: TestGeneratorOptions): Promise<TestGenerator> {
  const stack = new AsyncDisposableStack()
  const database = stack.use(await testDatabase('generator', join(import.meta.dir, 'migrations')))
  const redis = stack.use(await testRedis())
  const identities = await testIdentities()
  const rpc = stack.use(testRpc(identities))
  const neighbours = quietNeighbours()
  serveNeighbours(rpc, neighbours)
  stack.use(
    await spawnService('secrets', {
      rpc,
      identities,
      env: {
        BMM_DATABASE_URL: database.url,
        BMM_KEK: `base64:${randomBytes(32).toString('base64')}`,
      },
    }),
  )
  const { sql } = database
  const identity = identities.of('generator')
  const { rpcDir } = rpc
  const log = testLog
  const downstream = openDownstream({ identity, rpcDir })
  const targets = rpcClient(TargetService, { identity, rpcDir, to: 'broker' })
  const policyOf = policySource(targets, ['localhost:8787'])
  const hints = stack.use(openHints(redis.url, log))
  const check = statementCheck(downstream.statements)
  const now = () => new Date()
  const publicUrl = testPublicUrl
  const parts = { sql, hints, log, now, downstream, check, publicUrl }
  const children = stack.use(openSpareChildren())
  const patienceMs = options.patienceMs ?? 20_000
  const newWorker: TestGenerator['newWorker'] = (times = {}, other = check) => {
    const allTimes = { leaseMs: 3_000, beatMs: 100, ...times }
    return buildWorker({ ...parts, ...children, check: other, patienceMs, times: allTimes })
  }
  const queue = openQueue(BUILD_QUEUE, redis.url, log)
  const builds = stack.use(buildQueue(queue, { work: newWorker().work, log }))
  const shared = { ...parts, ...children, builds }
  const stops = stopping(shared)
  const { maxWatchersOfOrg } = options
  const ending = new AbortController()
  const routes = generatorRoutes({
    ...shared,
    stopping: stops,
    statements: downstream.statements,
    draft: drafting({ ...shared, policyOf, fetchDocument: documentSource(policyOf) }),
    watch: buildWatch({
      ...shared,
      ending: ending.signal,
      ...(maxWatchersOfOrg === undefined ? {} : { maxWatchersOfOrg }),
    }),
  })
  if (options.serves !== false) rpc.serve('generator', routes)
  if (options.works) {
    const worker = newWorker()
    stack.use(openWorker(BUILD_QUEUE, redis.url, log, 4, worker.work))
    stack.defer(worker.stop)
  }
  return {
    database,
    redis,
    identities,
    rpc,
    neighbours,
    downstream,
    hints,
    stops,
    queue: builds,
    newWorker,
    check,
    endStreams: () => ending.abort(),
    async as(user, confirmDigest) {
      const confirmed = confirmDigest === undefined ? {} : { confirmDigest }
      return asUser(await identities.mintUser(user, confirmed))
    },
    sweep: (given = {}) => sweepOnce({ ...shared, stopping: stops, ...given }),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}
