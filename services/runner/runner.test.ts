/** The runner with real sandboxes: calls, keys, limits, stops, crashes, and what survives which death. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { CALLS_METHOD } from '@bmm/lib/call-frames'
import { newId } from '@bmm/lib/ids'
import { until } from '@bmm/lib/testing-until'
import { DeploymentService } from '@bmm/proto/runner/v1/runner_service'
import { testDrivers } from './keeper/testing-process.ts'
import { listNewestRunLines } from './store.ts'
import { serveStatement, signedBy, stopStatement, testServer } from './testing.ts'
import { dialAsGateway, toRun } from './testing-stack.ts'
import { type DeployedServer, openWorld, signer, type World } from './testing-world.ts'

const START_MS = 120_000
/** A tool that waits for its end, and one that says whether it came. */
const listening = {
  wait: `async (input, ctx) => {
    ctx.progress(1)
    await new Promise((resolve) => ctx.signal.addEventListener('abort', resolve))
    globalThis.heard = true
  }`,
  heard: 'async () => String(globalThis.heard === true)',
}

for (const driver of testDrivers) {
  describe(`by ${driver}`, () => {
    let world: World

    beforeAll(async () => {
      world = await openWorld(driver)
    }, START_MS)
    afterAll(() => world[Symbol.asyncDispose](), START_MS)

    type Options = { timeoutMs?: number; progress?: boolean; userId?: string; epoch?: number }

    function begin(
      server: DeployedServer,
      tool: string,
      input: unknown = {},
      options: Options = {},
    ) {
      const { serverId, orgId, epoch, userId } = server
      return world.gateway.call({ serverId, orgId, epoch, userId, tool, input, ...options })
    }
    const call = (...parameters: Parameters<typeof begin>) => begin(...parameters).outcome

    describe('a call', () => {
      test('wakes a sandbox, answers, and finds the same one the next time', async () => {
        const server = await world.deploy({
          echo: 'async (input) => input.text',
          count:
            'async () => { globalThis.n = (globalThis.n ?? 0) + 1; return String(globalThis.n) }',
        })
        const first = await call(server, 'echo', { text: 'hello' })
        expect([first.code, first.text]).toEqual(['ok', 'hello'])
        expect(await call(server, 'count')).toMatchObject({ text: '1' })
        expect(await call(server, 'count')).toMatchObject({ text: '2' })
      })

      test('of another user runs in another process', async () => {
        const server = await world.deploy({
          leave: 'async (input) => { globalThis.left = input.text; return "left" }',
          look: 'async () => String(globalThis.left)',
        })
        await call(server, 'leave', { text: 'mine' })
        expect(await call(server, 'look')).toMatchObject({ text: 'mine' })
        expect(await call(server, 'look', {}, { userId: newId('usr') })).toMatchObject({
          text: 'undefined',
        })
      })

      test('tells the broker whose it is before any code runs', async () => {
        const server = await world.deploy()
        await call(server, 'echo', { text: 'x' })
        const { serverId, userId } = server
        const mine = world.broker.assignments.filter((one) => one.userId === userId)
        expect(mine.map((one) => one.serverId)).toEqual([serverId])
      })

      test('is in flight for the broker while it runs, and no longer', async () => {
        const server = await world.deploy({
          fetch: `async (input, ctx) => {
        const answer = await ctx.fetch('https://example.com/slow')
        await new Promise((resolve) => { globalThis.finish = resolve })
        return await answer.text()
      }`,
          finish: 'async () => globalThis.finish()',
        })
        const { outcome } = begin(server, 'fetch')
        await until(() => world.broker.fetches.length > 0, 'the request to arrive')
        const { slot, call: id } = world.broker.fetches.at(-1) ?? { slot: -1, call: -1 }
        expect(await world.broker.isInFlight(slot, id)).toBe(true)
        expect(await world.broker.isInFlight(slot, id + 1)).toBe(false)
        const finished = async () => (await call(server, 'finish')).text === ''
        await until(finished, 'the answer to be there')
        expect(await outcome).toMatchObject({ code: 'ok', text: 'https://example.com/slow' })
        expect(await world.broker.isInFlight(slot, id)).toBe(false)
      })

      test('streams a large result and progress, but only when progress was asked for', async () => {
        const server = await world.deploy({
          big: 'async (input, ctx) => { for (let n = 1; n <= 3; n++) ctx.progress(n, 3); return "x".repeat(5e6) }',
        })
        const asked = await call(server, 'big', {}, { progress: true })
        expect([asked.code, asked.text.length]).toEqual(['ok', 5_000_000])
        expect(asked.progress.at(-1)).toEqual({ progress: 3, total: 3 })
        expect((await call(server, 'big')).progress).toEqual([])
      })

      test('whose result is larger than 8 MiB fails and says so', async () => {
        const server = await world.deploy({ huge: 'async () => "x".repeat(9 * 1024 * 1024)' })
        expect((await call(server, 'huge')).code).toBe('result_too_large')
      })

      test('that misses its deadline fails, busy loop or not, and the next one is served', async () => {
        const server = await world.deploy({
          sleep: 'async () => new Promise(() => {})',
          spin: 'async () => { for (;;) {} }',
          echo: 'async (input) => input.text',
        })
        for (const tool of ['sleep', 'spin']) {
          const missed = await call(server, tool, {}, { timeoutMs: 300 })
          expect(missed.code).toBe('deadline')
          expect(missed.elapsedMs).toBeGreaterThanOrEqual(290)
        }
        await until(
          async () => (await call(server, 'echo', { text: 'on' })).text === 'on',
          'an answer',
        )
      })

      test('that is cancelled ends at once, and its tool hears of it', async () => {
        const server = await world.deploy(listening)
        const waiting = begin(server, 'wait', {}, { progress: true })
        await toRun(waiting)
        world.gateway.cancel(waiting.id)
        expect((await waiting.outcome).code).toBe('cancelled')
        await until(async () => (await call(server, 'heard')).text === 'true', 'the tool to hear')
      })

      test('for an unknown server, an older or a newer epoch is refused', async () => {
        const server = await world.deploy()
        expect((await call({ ...server, serverId: newId('srv') }, 'echo')).code).toBe('stale_epoch')
        const statement = signedBy(signer, serveStatement(server, 2))
        const client = world.rpc.client(DeploymentService, 'runner', 'generator')
        await client.deploy({ statement, ...server.artefacts })
        expect((await call(server, 'echo', {}, { epoch: 1 })).code).toBe('stale_epoch')
        expect((await call(server, 'echo', {}, { epoch: 3 })).code).toBe('stale_epoch')
        expect(await call(server, 'echo', { text: 'new' }, { epoch: 2 })).toMatchObject({
          text: 'new',
        })
      })

      test('that a newer version interrupts may have had its effect: it is not called stale', async () => {
        const server = await world.deploy({
          work: 'async (input, ctx) => { ctx.progress(1); return new Promise(() => {}) }',
          echo: 'async (input) => input.text',
        })
        await call(server, 'echo', { text: 'awake' })
        const running = begin(server, 'work', {}, { progress: true })
        await toRun(running)
        const statement = signedBy(signer, serveStatement(server, 2))
        const client = world.rpc.client(DeploymentService, 'runner', 'generator')
        await client.deploy({ statement, ...server.artefacts })
        const { code, message, progress } = await running.outcome
        expect([code, message, progress.length]).toEqual([
          'sandbox_failed',
          'A newer version of the server took over while the call ran.',
          1,
        ])
      })

      test('by a person whom the statement does not let in is refused here as well', async () => {
        const server = await world.deploy()
        const foreign = await call({ ...server, orgId: newId('org') }, 'echo')
        expect([foreign.code, foreign.message]).toEqual([
          'unknown_server',
          'This person may not call the server.',
        ])
        const client = world.rpc.client(DeploymentService, 'runner', 'generator')
        const people = { access: { kind: 'people' as const, people: [server.userId] } }
        const statement = signedBy(signer, serveStatement(server, 2, people))
        await client.deploy({ statement, ...server.artefacts })
        const elsewhere = { ...server, orgId: newId('org'), epoch: 2 }
        expect(await call(elsewhere, 'echo', { text: 'in' })).toMatchObject({ text: 'in' })
        expect((await call({ ...elsewhere, userId: newId('usr') }, 'echo')).code).toBe(
          'unknown_server',
        )
      })

      test('writes what its tool logs to the run log', async () => {
        const server = await world.deploy({
          talk: 'async (input, ctx) => { ctx.log("a line"); return "ok" }',
        })
        await call(server, 'talk')
        const { serverId, orgId } = server
        const lines = () =>
          listNewestRunLines(world.database.sql, { serverId, orgId, limit: 10 }).then((all) =>
            all.map(({ level, tool, message }) => [level, tool, message]),
          )
        await until(async () => (await lines()).length === 2, 'both lines to be stored')
        expect(await lines()).toEqual([
          ['platform', '', expect.stringMatching(/^A sandbox was woken in [0-9.]+ ms\.$/)],
          ['info', 'talk', 'a line'],
        ])
      })
    })

    describe('the door for gateways', () => {
      const refusedWith = async (jwt: string) => {
        const other = await dialAsGateway(`${world.socketDir}/calls.sock`, jwt)
        return await other.connection.closed
      }

      test('stays shut for other services, other methods, and a token that was used before', async () => {
        const { identities } = world
        const broker = await identities.of('broker').sign('runner', CALLS_METHOD)
        expect(await refusedWith(broker)).toContain('ended')
        const method = await identities.of('gateway').sign('runner', '/frames/link')
        expect(await refusedWith(method)).toContain('ended')
        const once = await identities.of('gateway').sign('runner', CALLS_METHOD)
        const first = await dialAsGateway(`${world.socketDir}/calls.sock`, once)
        const nobody = { serverId: newId('srv'), orgId: newId('org'), userId: newId('usr') }
        const answered = await first.call({ ...nobody, epoch: 1, tool: 'x' }).outcome
        expect(answered.code).toBe('stale_epoch')
        expect(await refusedWith(once)).toContain('ended')
        expect(first.connection.ended).toBe(false)
        first.connection.end('done')
      })

      test('a gateway that goes away takes its calls along', async () => {
        const server = await world.deploy(listening)
        await call(server, 'heard')
        const other = await world.dial()
        const { serverId, orgId, epoch, userId } = server
        await toRun(other.call({ serverId, orgId, epoch, userId, tool: 'wait', progress: true }))
        other.connection.end('going away')
        await until(async () => (await call(server, 'heard')).text === 'true', 'the tool to hear')
      })
    })

    describe('a sandbox that crashes', () => {
      test('fails its call with a sentence, the next call gets a new one', async () => {
        const server = await world.deploy({
          die: 'async () => { process.exit(3) }',
          echo: 'async (input) => input.text',
        })
        expect((await call(server, 'die')).code).toBe('sandbox_failed')
        expect(await call(server, 'echo', { text: 'again' })).toMatchObject({ text: 'again' })
      })

      test('again and again is made to wait, and the run log says what happened', async () => {
        const server = await world.deploy({ die: 'async () => { process.exit(3) }' })
        let message = ''
        for (let n = 0; n < 6 && !message.includes('in a row'); n++) {
          message = (await call(server, 'die')).message
        }
        expect(message).toContain('times in a row')
        const { serverId, orgId } = server
        const place = { serverId, orgId, limit: 10 }
        const platform = async () =>
          (await listNewestRunLines(world.database.sql, place)).some(
            (line) => line.level === 'platform' && line.message === 'The sandbox ended by itself.',
          )
        await until(platform, 'the event to be stored')
      })

      test(
        'for want of memory says so',
        async () => {
          const server = await world.deploy({
            hog: 'async () => { const all = []; for (;;) all.push(new Uint8Array(3e7).fill(1)) }',
          })
          const { code, message } = await call(server, 'hog', {}, { timeoutMs: 60_000 })
          expect([code, message]).toEqual([
            'sandbox_failed',
            expect.stringContaining('MB of memory'),
          ])
        },
        START_MS,
      )

      test('while loading is a clear error', async () => {
        const server = testServer({ broken: 'async () => 1' })
        const module = new TextEncoder().encode('throw new Error("boom")')
        const broken = { ...server, artefacts: { ...server.artefacts, module } }
        const statement = signedBy(signer, serveStatement(broken, 1))
        const client = world.rpc.client(DeploymentService, 'runner', 'generator')
        await client.deploy({ statement, ...broken.artefacts })
        const outcome = await call({ ...broken, epoch: 1, userId: newId('usr') }, 'broken')
        expect(outcome.code).toBe('sandbox_failed')
        expect(outcome.message).toContain('boom')
      })
    })

    describe('stopping a server', () => {
      test('ends its running calls at once with a clear error, and leaves no sandbox', async () => {
        const server = await world.deploy({
          wait: 'async (input, ctx) => { ctx.progress(1); return new Promise(() => {}) }',
        })
        const running = [newId('usr'), newId('usr')].map((userId) =>
          begin(server, 'wait', {}, { userId, progress: true }),
        )
        await toRun(...running)
        const mine = world.broker.assignments.filter((one) => one.serverId === server.serverId)
        const client = world.rpc.client(DeploymentService, 'runner', 'generator')
        const stopped = await client.stop({ statement: signedBy(signer, stopStatement(server, 2)) })
        expect(stopped.sandboxesEnded).toBe(2)
        for (const outcome of await Promise.all(running.map((each) => each.outcome))) {
          expect([outcome.code, outcome.message]).toEqual([
            'unknown_server',
            'The server was stopped while the call ran.',
          ])
        }
        const slots = mine.map(({ slot }) => slot)
        await until(
          () => slots.every((slot) => world.broker.released.includes(slot)),
          'both slots to be given back',
        )
        expect((await call(server, 'wait', {}, { epoch: 2 })).code).toBe('unknown_server')
      })
    })

    describe('deleting a server', () => {
      test('leaves no line of it, not even one that was still on its way', async () => {
        const talk = 'async (input, ctx) => { ctx.log("x"); return "" }'
        const [server, later] = [await world.deploy({ talk }), await world.deploy({ talk })]
        const linesOf = ({ serverId, orgId }: DeployedServer) =>
          listNewestRunLines(world.database.sql, { serverId, orgId, limit: 10 })
        await call(server, 'talk')
        const client = world.rpc.client(DeploymentService, 'runner', 'generator')
        await client.stop({ statement: signedBy(signer, stopStatement(server, 2, 'deleted')) })
        await call(later, 'talk')
        // They are stored one after another.
        await until(async () => (await linesOf(later)).some(({ message }) => message === 'x'))
        expect(await linesOf(server)).toEqual([])
      })
    })

    describe('trying a version', () => {
      const client = () => world.rpc.client(DeploymentService, 'runner', 'generator')

      test('says yes when every tool is there, without telling the broker of anyone', async () => {
        const assigned = world.broker.assignments.length
        const outcome = await client().tryVersion(testServer().artefacts)
        expect([outcome.ok, outcome.message]).toEqual([true, ''])
        expect(world.broker.assignments.length).toBe(assigned)
      })

      test('names the tool that the module lacks, or what it threw', async () => {
        const { spec } = testServer({ echo: 'async () => 1', lost: 'async () => 1' }).artefacts
        const { module } = testServer({ echo: 'async () => 1' }).artefacts
        const lacking = await client().tryVersion({ spec, module })
        expect([lacking.ok, lacking.message]).toEqual([false, expect.stringContaining('lost')])
        const bad = new TextEncoder().encode('export const tools = {')
        const broken = await client().tryVersion({ spec, module: bad })
        expect([broken.ok, broken.message]).toEqual([false, expect.stringContaining('loaded')])
      })
    })

    describe('the feed of the generator', () => {
      test('brings what was missed, and stops what must not run', async () => {
        const server = { ...testServer(), epoch: 1, userId: newId('usr') }
        const { serverId } = server
        world.feed.artefacts.set(serverId, server.artefacts)
        const notice = (statement: ReturnType<typeof signedBy>, epoch: bigint, seq: bigint) =>
          world.feed.servings.push({ serverId, statement, epoch, seq })
        notice(signedBy(signer, serveStatement(server, 1)), 1n, 1n)
        const answers = async () => (await call(server, 'echo', { text: 'fed' })).text === 'fed'
        await until(answers, 'the missed deployment to answer')
        notice(signedBy(signer, stopStatement(server, 2, 'takedown')), 2n, 2n)
        const gone = async () => (await call(server, 'echo')).code !== 'ok'
        await until(gone, 'the missed stop to act')
      })

      test('a forged entry changes nothing and holds nobody else up', async () => {
        const server = await world.deploy()
        const forged = signedBy(
          { ...signer, privateKey: (await import('./testing.ts')).testSigner().privateKey },
          stopStatement(server, 5),
        )
        const other = { ...testServer(), epoch: 1, userId: newId('usr') }
        world.feed.artefacts.set(other.serverId, other.artefacts)
        const { serverId } = server
        world.feed.servings.push({ serverId, statement: forged, epoch: 5n, seq: 10n })
        const statement = signedBy(signer, serveStatement(other, 1))
        world.feed.servings.push({ serverId: other.serverId, statement, epoch: 1n, seq: 11n })
        await until(
          async () => (await call(other, 'echo', { text: 'ok' })).text === 'ok',
          'the other',
        )
        expect(await call(server, 'echo', { text: 'still' })).toMatchObject({ text: 'still' })
      })
    })
  })
}
