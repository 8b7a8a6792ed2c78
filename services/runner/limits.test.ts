/** The runner's limits and its neighbours' deaths, with real sandboxes: admission, idle ends, floods, lost links, restarts. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { newId } from '@bmm/lib/ids'
import { until } from '@bmm/lib/testing-until'
import { testDrivers } from './keeper/testing-process.ts'
import { type CallUnderWay, toRun } from './testing-stack.ts'
import { type DeployedServer, openWorld, type World } from './testing-world.ts'

const START_MS = 120_000
const PER_SANDBOX = 4
const PER_ORG = 8
const PER_CONNECTION = 10
const ORG_SANDBOXES = 2
/** Of which the last eighth is for organisations that have none. */
const CAPACITY = 8
const WARM = 2
for (const driver of testDrivers) {
  describe(`by ${driver}`, () => {
    let world: World

    beforeAll(async () => {
      world = await openWorld(
        driver,
        {
          idleMs: 700,
          admission: {
            memoryBytes: CAPACITY,
            bytesPerSandbox: 1,
            sandboxesPerOrg: ORG_SANDBOXES,
            wakeBurst: 1_000,
            wakesPerSecond: 1_000,
          },
        },
        { perSandbox: PER_SANDBOX, perOrg: PER_ORG, perConnection: PER_CONNECTION },
      )
    }, START_MS)
    afterAll(() => world[Symbol.asyncDispose](), START_MS)

    const tools = {
      echo: 'async (input) => input.text',
      wait: `async (input, ctx) => {
    ctx.progress(1)
    await new Promise((resolve) => { ctx.signal.addEventListener('abort', resolve); setTimeout(resolve, input.ms ?? 1e6) })
    return 'waited'
  }`,
    }

    function begin(
      server: DeployedServer,
      tool: string,
      input: unknown = {},
      userId = server.userId,
    ) {
      const { serverId, orgId, epoch } = server
      return world.gateway.call({ serverId, orgId, epoch, userId, tool, input, progress: true })
    }
    const call = (...parameters: Parameters<typeof begin>) => begin(...parameters).outcome
    const assignmentsOf = (server: DeployedServer) =>
      world.broker.assignments.filter(({ serverId }) => serverId === server.serverId)
    async function warmSandboxes(): Promise<number> {
      const figures = (await world.runner.metrics()).find(({ name }) => name === 'bmm_sandboxes')
      return figures?.values.find(({ labels }) => labels?.state === 'warm')?.value ?? 0
    }
    /** Not before their tools run: a sandbox that is still waking makes no room for another. */
    async function cancelAll(calls: readonly CallUnderWay[]): Promise<void> {
      await toRun(...calls)
      for (const { id } of calls) world.gateway.cancel(id)
      await Promise.all(calls.map(({ outcome }) => outcome))
    }

    describe('sandboxes', () => {
      test('end when they are idle, give their slot back, and are woken again', async () => {
        const server = await world.deploy(tools)
        await call(server, 'echo', { text: 'one' })
        const slot = assignmentsOf(server)[0]?.slot ?? -1
        await until(() => world.broker.released.includes(slot), 'the idle sandbox to end')
        expect(await call(server, 'echo', { text: 'two' })).toMatchObject({ text: 'two' })
        expect(assignmentsOf(server).length).toBe(2)
      })

      test('do not end while a call runs, however long', async () => {
        const server = await world.deploy(tools)
        expect(await call(server, 'wait', { ms: 2_500 })).toMatchObject({ text: 'waited' })
        expect(assignmentsOf(server).length).toBe(1)
      })

      test('are taken from the pool, which fills again', async () => {
        const server = await world.deploy(tools)
        const { expected } = world.broker
        await until(async () => (await warmSandboxes()) >= WARM, 'the pool to be full')
        const started = expected.length
        await call(server, 'echo', { text: 'x' })
        const slot = assignmentsOf(server)[0]?.slot ?? -1
        expect(expected.lastIndexOf(slot)).toBeWithin(0, started)
        await until(() => expected.length > started, 'another one to be started')
      })

      test('of one organisation are bounded: a busy one refuses, an idle one makes room', async () => {
        const server = await world.deploy(tools)
        const users = [newId('usr'), newId('usr'), newId('usr')]
        const calls = users.slice(0, 2).map((user) => begin(server, 'wait', {}, user))
        await toRun(...calls)
        const third = await call(server, 'echo', { text: 'x' }, users[2])
        expect([third.code, third.message]).toEqual([
          'busy',
          'The organisation uses all of its sandboxes. Try again when a call has ended.',
        ])
        await cancelAll(calls.slice(0, 1))
        expect(await call(server, 'echo', { text: 'room' }, users[2])).toMatchObject({
          text: 'room',
        })
        await cancelAll(calls.slice(1))
      })

      test('that are idle make room, for one more of an organisation as well', async () => {
        const servers = await Promise.all(
          Array.from({ length: CAPACITY }, () => world.deploy(tools)),
        )
        const answers = await Promise.all(servers.map((each) => call(each, 'echo', { text: 'x' })))
        expect(answers.map(({ text }) => text)).toEqual(servers.map(() => 'x'))
        const [server = await world.deploy(tools)] = servers
        const more = call(server, 'echo', { text: 'one more' }, newId('usr'))
        expect(await more).toMatchObject({ text: 'one more' })
      })

      test('of all organisations are bounded by the memory share', async () => {
        const servers = await Promise.all(
          Array.from({ length: CAPACITY }, () => world.deploy(tools)),
        )
        const running = servers.map((server) => begin(server, 'wait'))
        await toRun(...running)
        const refused = await call(await world.deploy(tools), 'echo')
        expect([refused.code, refused.message]).toEqual([
          'busy',
          'All sandboxes of this installation are in use. Try again shortly.',
        ])
        await cancelAll(running)
      })
    })

    describe('calls in flight', () => {
      test('are bounded for a sandbox, and one user cannot hold up the organisation', async () => {
        const server = await world.deploy(tools)
        const flood = Array.from({ length: PER_SANDBOX + 3 }, () => begin(server, 'wait'))
        const refused = await Promise.all(flood.slice(PER_SANDBOX).map(({ outcome }) => outcome))
        expect(new Set(refused.map(({ code }) => code))).toEqual(new Set(['busy']))
        expect(await call(server, 'echo', { text: 'me' }, newId('usr'))).toMatchObject({
          text: 'me',
        })
        await cancelAll(flood.slice(0, PER_SANDBOX))
      })

      test('are bounded for a connection, and another connection is still served', async () => {
        const servers = [
          await world.deploy(tools),
          await world.deploy(tools),
          await world.deploy(tools),
        ]
        const flood = servers.flatMap((server) =>
          Array.from({ length: PER_SANDBOX }, () => begin(server, 'wait')),
        )
        const late = await Promise.all(flood.slice(PER_CONNECTION).map(({ outcome }) => outcome))
        expect(late.map(({ message }) => message)).toEqual(
          late.map(() => 'Too many calls are under way. Try again shortly.'),
        )
        const other = await world.dial()
        const { serverId, orgId, epoch } = await world.deploy(tools)
        const input = { text: 'other' }
        const userId = newId('usr')
        const answer = other.call({ serverId, orgId, epoch, userId, tool: 'echo', input }).outcome
        expect(await answer).toMatchObject({ text: 'other' })
        other.connection.end('done')
        await cancelAll(flood.slice(0, PER_CONNECTION))
      })
    })

    describe('when a neighbour dies', () => {
      test(
        'the keeper: running calls fail clearly, and later ones are served by a new one',
        async () => {
          const server = await world.deploy(tools)
          const waiting = begin(server, 'wait')
          await toRun(waiting)
          world.keeper.process.kill('SIGKILL')
          expect(await waiting.outcome).toMatchObject({
            code: 'sandbox_failed',
            message: 'The keeper of the sandboxes has restarted. Try again.',
          })
          expect((await call(server, 'echo')).message).toMatch(/keeper.+Try again/)
          await world.keeper.restart()
          await until(() => world.runner.fault() === undefined, 'the runner to be whole again')
          expect(await call(server, 'echo', { text: 'back' })).toMatchObject({ text: 'back' })
        },
        START_MS,
      )

      test(
        'the broker: no sandbox is left that could not ask it, and a new broker serves',
        async () => {
          const server = await world.deploy(tools)
          const waiting = begin(server, 'wait')
          await toRun(waiting)
          world.broker.stop()
          expect(await waiting.outcome).toMatchObject({ code: 'sandbox_failed' })
          await until(() => world.keeper.occupied().length === 0, 'all sandboxes to be gone')
          const refused = await call(server, 'echo')
          expect([refused.code, refused.message]).toEqual([
            'sandbox_failed',
            expect.stringContaining('broker'),
          ])
          await world.newBroker()
          expect(await call(server, 'echo', { text: 'back' })).toMatchObject({ text: 'back' })
        },
        START_MS,
      )

      test(
        'a runner that stops tells its calls, leaves nothing, and the next one starts clean',
        async () => {
          const server = await world.deploy(tools)
          const waiting = begin(server, 'wait')
          await toRun(waiting)
          const stopping = world.runner.stop()
          expect((await waiting.outcome).code).toBe('runner_stopping')
          await stopping
          await until(() => world.keeper.occupied().length === 0, 'every sandbox to be gone')
          await world.reopen()
          expect(await call(server, 'echo', { text: 'kept' })).toMatchObject({ text: 'kept' })
        },
        START_MS,
      )
    })
  })
}
