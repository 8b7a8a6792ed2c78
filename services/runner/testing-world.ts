/** An open runner between stand-ins of its neighbours: secrets' keys, generator's feed, broker and gateway. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { CALLS_METHOD } from '@bmm/lib/call-frames'
import { newId } from '@bmm/lib/ids'
import {
  type TestDatabase,
  type TestIdentities,
  type TestRpc,
  testDatabase,
  testIdentities,
  testLog,
  testRpc,
} from '@bmm/lib/testing'
import { until } from '@bmm/lib/testing-until'
import { ServingService } from '@bmm/proto/generator/v1/generator_service'
import { DeploymentService } from '@bmm/proto/runner/v1/runner_service'
import { StatementService } from '@bmm/proto/secrets/v1/secrets_service'
import type { SignedStatement } from '@bmm/spec/statement'
import { Code, ConnectError, type ConnectRouter } from '@connectrpc/connect'
import type { InFlightLimits } from './calls/in-flight.ts'
import type { EngineConfig } from './fleet/engine.ts'
import type { DriverName } from './keeper/driver.ts'
import { openRunner, type Runner } from './runner.ts'
import { serveStatement, signedBy, type TestServer, testServer, testSigner } from './testing.ts'
import {
  dialAsGateway,
  startTestBroker,
  startTestKeeper,
  type TestBroker,
  type TestGateway,
  type TestKeeper,
} from './testing-stack.ts'

const SLOTS = 12
export const signer = testSigner()

/** What the stand-in of the generator says; tests change it. */
export type TestFeed = {
  servings: { serverId: string; statement: SignedStatement; epoch: bigint; seq: bigint }[]
  artefacts: Map<string, TestServer['artefacts']>
  down: boolean
}

/** What a runner needs around it; secrets and generator are stand-ins. */
export type Neighbours = AsyncDisposable & {
  database: TestDatabase
  identities: TestIdentities
  rpc: TestRpc
  keeper: TestKeeper
  feed: TestFeed
  socketDir: string
}

export type World = Neighbours & {
  runner: Runner
  broker: TestBroker
  gateway: TestGateway
  sandboxes: EngineConfig
  /** Another gateway's connection. */
  dial(): Promise<TestGateway>
  /** A runner on the same database, keeper and sockets, after the last one was stopped. */
  reopen(): Promise<void>
  newBroker(): Promise<void>
  /** Deploys a server of code tools at epoch 1. */
  deploy(implementations?: Record<string, string>): Promise<DeployedServer>
}

export type DeployedServer = TestServer & {
  epoch: number
  userId: string
}

export async function openNeighbours(driver: DriverName): Promise<Neighbours> {
  const database = await testDatabase('runner', join(import.meta.dir, 'migrations'))
  const identities = await testIdentities()
  const rpc = testRpc(identities)
  const keeper = await startTestKeeper(SLOTS, driver)
  const socketDir = join(rpc.rpcDir, 'runner')
  mkdirSync(socketDir, { recursive: true })
  const feed: TestFeed = { servings: [], artefacts: new Map(), down: false }
  rpc.serve('secrets', secretsRoutes)
  rpc.serve('generator', generatorRoutes(feed))
  return {
    ...{ database, identities, rpc, keeper, feed, socketDir },
    async [Symbol.asyncDispose]() {
      await rpc[Symbol.asyncDispose]()
      await keeper.stop()
      await database[Symbol.asyncDispose]()
    },
  }
}

export async function openWorld(
  driver: DriverName,
  changes: Partial<EngineConfig> = {},
  inFlight?: InFlightLimits,
): Promise<World> {
  const neighbours = await openNeighbours(driver)
  const { database, identities, rpc, keeper, socketDir } = neighbours
  const sandboxes: EngineConfig = {
    keeperSocket: keeper.socket,
    slotsDir: keeper.slotsDir,
    slots: SLOTS,
    pool: { min: 2, max: 3 },
    admission: {
      memoryBytes: 10,
      bytesPerSandbox: 1,
      sandboxesPerOrg: 6,
      wakeBurst: 1_000,
      wakesPerSecond: 1_000,
    },
    idleMs: 60_000,
    ...changes,
  }
  const openOne = () =>
    openRunner({
      identity: identities.of('runner'),
      sql: database.sql,
      log: testLog,
      sandboxes,
      statements: rpc.client(StatementService, 'secrets', 'runner'),
      servings: rpc.client(ServingService, 'generator', 'runner'),
      socketDir,
      now: Date.now,
      ...(inFlight === undefined ? {} : { inFlight }),
    })
  const dial = async () => {
    const jwt = await identities.of('gateway').sign('runner', CALLS_METHOD)
    return dialAsGateway(join(socketDir, 'calls.sock'), jwt)
  }
  const dialBroker = () =>
    startTestBroker(join(socketDir, 'link.sock'), keeper.slotsDir, identities)
  const whole = () => until(() => world.runner.fault() === undefined, 'the runner to be whole')

  const runner = openOne()
  let serving = rpc.serve('runner', runner.routes)
  await runner.start()
  const world: World = {
    ...neighbours,
    ...{ runner, sandboxes, dial },
    broker: await dialBroker(),
    gateway: await dial(),
    async reopen() {
      await serving[Symbol.asyncDispose]()
      world.runner = openOne()
      serving = rpc.serve('runner', world.runner.routes)
      await world.runner.start()
      world.broker = await dialBroker()
      world.gateway = await dial()
      await whole()
    },
    async newBroker() {
      world.broker = await dialBroker()
      await whole()
    },
    async deploy(implementations) {
      const server = testServer(implementations)
      const statement = signedBy(signer, serveStatement(server, 1))
      const client = rpc.client(DeploymentService, 'runner', 'generator')
      await client.deploy({ statement, ...server.artefacts })
      return { ...server, epoch: 1, userId: newId('usr') }
    },
    async [Symbol.asyncDispose]() {
      world.gateway.connection.end('the test is over')
      await world.runner.stop()
      world.broker.stop()
      await neighbours[Symbol.asyncDispose]()
    },
  }
  await whole()
  return world
}

function secretsRoutes(router: ConnectRouter): void {
  router.rpc(StatementService.method.listStatementKeys, () => ({
    keys: [...signer.keys].map(([keyId, publicKey]) => ({ keyId, publicKey })),
  }))
}

function generatorRoutes(feed: TestFeed) {
  return (router: ConnectRouter): void => {
    router.rpc(ServingService.method.listServings, ({ afterSeq }) => {
      if (feed.down) throw new ConnectError('down', Code.Unavailable)
      return { servings: feed.servings.filter(({ seq }) => seq > afterSeq) }
    })
    router.rpc(ServingService.method.getArtefact, ({ serverId }) => {
      const found = feed.artefacts.get(serverId)
      if (found === undefined) throw new ConnectError('no artefact', Code.NotFound)
      return found
    })
  }
}
