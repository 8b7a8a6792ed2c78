/** The runner as a process: its configuration, and what is left when it is killed. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { CALLS_METHOD } from '@bmm/lib/call-frames'
import { newId } from '@bmm/lib/ids'
import { testIdentities } from '@bmm/lib/testing'
import { until } from '@bmm/lib/testing-until'
import { DeploymentService } from '@bmm/proto/runner/v1/runner_service'
import type { Subprocess } from 'bun'
import { configFrom } from './config.ts'
import { testDrivers } from './keeper/testing-process.ts'
import { serveStatement, signedBy, testServer } from './testing.ts'
import { dialAsGateway, startTestBroker } from './testing-stack.ts'
import { type Neighbours, openNeighbours, signer } from './testing-world.ts'

const START_MS = 120_000
for (const driver of testDrivers) {
  describe(`by ${driver}`, () => {
    let neighbours: Neighbours
    let runner: Subprocess | undefined

    beforeAll(async () => {
      neighbours = await openNeighbours(driver)
    }, START_MS)
    afterAll(async () => {
      runner?.kill('SIGKILL')
      await runner?.exited
      await neighbours[Symbol.asyncDispose]()
    }, START_MS)

    async function isHealthy(): Promise<boolean> {
      const unix = join(neighbours.socketDir, 'rpc.sock')
      const answer = await fetch('http://localhost/health', { unix }).catch(() => undefined)
      return answer?.status === 200
    }

    /** Starts the process and gives it a broker; resolves when it is healthy. */
    async function startRunner(): Promise<Subprocess> {
      const { identities, keeper, rpc, database, socketDir } = neighbours
      const keyFile = join(keeper.runDirectory, 'runner.pem')
      const publicKeysFile = join(keeper.runDirectory, 'public-keys.json')
      writeFileSync(keyFile, identities.privateKeyPem('runner'))
      writeFileSync(publicKeysFile, identities.publicKeys)
      mkdirSync(socketDir, { recursive: true })
      const child = Bun.spawn([process.execPath, join(import.meta.dir, 'main.ts')], {
        env: {
          PATH: '/usr/local/bin:/usr/bin:/bin',
          BMM_ENV: 'development',
          BMM_LOG_LEVEL: 'error',
          BMM_RPC_DIR: rpc.rpcDir,
          BMM_SERVICE_KEY: keyFile,
          BMM_SERVICE_PUBLIC_KEYS: publicKeysFile,
          BMM_DATABASE_URL: database.url,
          BMM_KEEPER_SOCKET: keeper.socket,
          BMM_SLOTS_DIR: keeper.slotsDir,
          BMM_SLOTS: String(keeper.slots),
          BMM_POOL_SIZE: '2',
        },
        stdio: ['ignore', 'inherit', 'inherit'],
      })
      const link = join(socketDir, 'link.sock')
      const dialBroker = () => startTestBroker(link, keeper.slotsDir, identities).then(() => true)
      await until(() => dialBroker().catch(() => false), 'the runner to listen for the broker')
      await until(isHealthy, 'the runner to be healthy')
      return child
    }

    async function dial() {
      const jwt = await neighbours.identities.of('gateway').sign('runner', CALLS_METHOD)
      return dialAsGateway(join(neighbours.socketDir, 'calls.sock'), jwt)
    }

    test(
      'kill -9 of the runner leaves no sandbox, and the next runner serves what was deployed',
      async () => {
        const { keeper, rpc } = neighbours
        const server = testServer({
          wait: 'async () => new Promise(() => {})',
          echo: 'async (input) => input.text',
        })
        const { serverId, orgId, artefacts } = server
        const base = { serverId, orgId, epoch: 1, userId: newId('usr') }
        runner = await startRunner()
        const statement = signedBy(signer, serveStatement(server, 1))
        await rpc
          .client(DeploymentService, 'runner', 'generator')
          .deploy({ statement, ...artefacts })
        const gateway = await dial()
        const { outcome } = gateway.call({ ...base, tool: 'wait' })
        await until(() => keeper.occupied().length >= 3, 'pool and sandbox')
        runner.kill('SIGKILL')
        expect((await outcome).code).toBe('lost')
        await until(() => keeper.occupied().length === 0, 'every sandbox to be gone')

        runner = await startRunner()
        const again = (await dial()).call({ ...base, tool: 'echo', input: { text: 'kept' } })
        expect(await again.outcome).toMatchObject({ text: 'kept' })
        runner.kill('SIGTERM')
        expect(await runner.exited).toBe(0)
        await until(() => keeper.occupied().length === 0, 'every sandbox to be gone')
      },
      START_MS,
    )

    describe('the configuration', () => {
      test('names every fault at once', () => {
        const faults = () =>
          configFrom({ BMM_ENV: 'staging', BMM_SLOTS: '0', BMM_POOL_SIZE: 'many' })
        const names = [
          'BMM_ENV',
          'BMM_SLOTS',
          'BMM_POOL_SIZE',
          'BMM_DATABASE_URL',
          'BMM_KEEPER_SOCKET',
        ]
        for (const name of names) expect(faults).toThrow(name)
      })

      test('derives pool and shares from the slots', async () => {
        const { privateKeyPem, publicKeys } = await testIdentities()
        const { runDirectory } = neighbours.keeper
        writeFileSync(join(runDirectory, 'key'), privateKeyPem('runner'))
        writeFileSync(join(runDirectory, 'keys'), publicKeys)
        const { sandboxes } = configFrom({
          BMM_ENV: 'production',
          BMM_RPC_DIR: '/run/x',
          BMM_SERVICE_KEY: join(runDirectory, 'key'),
          BMM_SERVICE_PUBLIC_KEYS: join(runDirectory, 'keys'),
          BMM_DATABASE_URL: 'postgres://x',
          BMM_KEEPER_SOCKET: '/run/k',
          BMM_SLOTS_DIR: '/run/s',
          BMM_SLOTS: '64',
          BMM_POOL_SIZE: '4',
        })
        expect(sandboxes.pool).toEqual({ min: 4, max: 16 })
        expect(sandboxes.admission.sandboxesPerOrg).toBe(48)
        expect(sandboxes.idleMs).toBe(60_000)
      })
    })
  })
}
