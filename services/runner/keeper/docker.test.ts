/** The Docker driver by itself: what a container is given, an engine that goes away, and two stacks on one engine. Needs root and an engine. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { readTestEnv } from '@bmm/lib/env'
import { outcomeOf } from '@bmm/lib/testing-outcome'
import { until } from '@bmm/lib/testing-until'
import { z } from 'zod'
import { sandboxClasses, sandboxLimits } from '../sandbox/sandbox-limits.ts'
import { containerSpec, STACK_LABEL, USUAL_SHARES } from './docker.ts'
import { dockerEngine } from './docker-engine.ts'
import { probeDocker } from './probe.ts'
import { callTool, loadTools, startTestStack, type TestStack } from './testing.ts'

setDefaultTimeout(120_000)

const hostConfigSchema = z.object({ HostConfig: z.looseObject({ Runtime: z.string() }) })
let socket: string
beforeAll(() => {
  socket = readTestEnv('BMM_TEST_DOCKER_SOCKET')
})

const isAlive = (pid: number) => existsSync(`/proc/${pid}`)

/** Serves and ends a sandbox in this slot. */
async function works(stack: TestStack, slot: number): Promise<void> {
  const sandbox = await stack.sandbox(slot)
  await loadTools(sandbox, { a: "async () => 'well'" })
  expect((await callTool(sandbox, 'a')).result.content[0]?.text).toBe('well')
  sandbox.stop()
  await sandbox.gone
}

/** A relay to the engine that can be cut, as if the engine had died: the one of the machine is not ours to stop. */
async function openRelay() {
  const folder = mkdtempSync(join(tmpdir(), 'bmm-relay-'))
  const path = join(folder, 'docker.sock')
  const open = new Set<Socket>()
  let server: Server | undefined
  const relay = {
    path,
    async start() {
      server = createServer((client) => {
        const engine = connect(socket)
        client.pipe(engine).pipe(client)
        for (const end of [client, engine]) {
          open.add(end)
          end
            .on('error', () => {})
            .on('close', () => {
              open.delete(end)
              client.destroy()
              engine.destroy()
            })
        }
      })
      const { promise, resolve } = Promise.withResolvers<void>()
      server.listen(path, resolve)
      await promise
    },
    cut() {
      server?.close()
      for (const end of open) end.destroy()
      rmSync(path, { force: true })
    },
    [Symbol.dispose]() {
      relay.cut()
      rmSync(folder, { recursive: true, force: true })
    },
  }
  await relay.start()
  return relay
}

describe('an engine that goes away', () => {
  test('ends the sandboxes, refuses new ones with a sentence, and is used again when it is back', async () => {
    using relay = await openRelay()
    const env = { BMM_DOCKER_SOCKET: relay.path }
    const stack = await startTestStack('away', 'docker', { env })
    try {
      const sandbox = await stack.sandbox(0)
      await loadTools(sandbox, { spin: 'async () => { for (;;) {} }' })
      const spinning = callTool(sandbox, 'spin', {}, { timeoutMs: 100_000 })
      const guests = stack.processesOf(0)
      expect(guests).toHaveLength(1)
      relay.cut()
      expect((await spinning).outcome.code).toBe('sandbox_failed')
      expect((await sandbox.gone).detail).toContain('the container engine is gone')
      // By its process id: there was nobody to ask.
      await until(() => !guests.some(isAlive))
      const startedAt = performance.now()
      expect(await outcomeOf(stack.sandbox(0))).toThrow(
        `The container engine does not answer at unix://${relay.path}: is it installed and running? DOCKER_HOST names another socket.`,
      )
      expect(performance.now() - startedAt).toBeLessThan(5_000)
      await relay.start()
      // The container of the first one is still in the engine, under this slot's name.
      await works(stack, 0)
      expect(await stack.leftOf(0)).toEqual([])
    } finally {
      await stack.stop()
    }
  })

  test('that is away when the keeper starts is named', async () => {
    expect(await probeDocker('/run/bmm-no-engine.sock', undefined)).toEqual({
      ok: false,
      reason:
        'The container engine does not answer at unix:///run/bmm-no-engine.sock: is it installed and running? DOCKER_HOST names another socket.',
    })
  })

  test('is not replaced by whatever else listens there', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'bmm-engine-'))
    const unix = join(folder, 'e.sock')
    const server = Bun.serve({ unix, fetch: () => Response.json({ hello: 'world' }) })
    const reason = `What answers at unix://${unix} is no Docker engine.`
    expect(await probeDocker(unix, undefined)).toEqual({ ok: false, reason })
    await server.stop(true)
    rmSync(folder, { recursive: true })
  })
})

describe('two stacks on one engine', () => {
  let first: TestStack
  let second: TestStack
  beforeAll(async () => {
    ;[first, second] = await Promise.all([
      startTestStack('first', 'docker'),
      startTestStack('second', 'docker'),
    ])
  })
  afterAll(async () => {
    await first.stop()
    await second.stop()
  })

  test('never meet: one that is killed and swept leaves the sandboxes of the other alone', async () => {
    const [mine, theirs] = await Promise.all([first.sandbox(3), second.sandbox(3)])
    await loadTools(theirs, { a: "async () => 'still here'" })
    first.process.kill('SIGKILL')
    await mine.gone
    await first.restartKeeper()
    await until(async () => (await first.leftOf(3)).length === 0)
    expect((await callTool(theirs, 'a')).result.content[0]?.text).toBe('still here')
    theirs.stop()
    await theirs.gone
  })

  test('a container of somebody else that has a slot’s name is left alone, and named', async () => {
    const sandbox = await second.sandbox(6)
    const [name = ''] = await second.leftOf(6)
    sandbox.stop()
    await sandbox.gone
    const engine = dockerEngine(socket)
    const [Image] = await engine.listImages(name.slice(0, -'-6'.length))
    for (const Labels of [{}, { [STACK_LABEL]: 'another' }]) {
      const id = await engine.create(name, { Image, Labels, Cmd: ['none'], User: '1' })
      expect(await outcomeOf(second.sandbox(6))).toThrow(
        `The container ${name} is not a sandbox of this stack and has the name of one: remove or rename it, then try again.`,
      )
      expect((await engine.inspect(name)).id).toBe(id)
      await engine.remove(id)
    }
    await works(second, 6)
  })

  test('without keeper and reaper a guest ends with its connections; one that spins is swept by the next keeper', async () => {
    const [sandbox, idle] = await Promise.all([first.sandbox(4), first.sandbox(5)])
    const idleGuests = first.processesOf(5)
    expect(idleGuests).toHaveLength(1)
    await loadTools(sandbox, { spin: 'async () => { for (;;) {} }' })
    callTool(sandbox, 'spin', {}, { timeoutMs: 100_000 }).catch(() => {})
    const guests = first.processesOf(4)
    const reapers = reapersOf(first.process.pid)
    expect(reapers.length).toBeGreaterThan(0)
    for (const pid of reapers) process.kill(pid, 'SIGKILL')
    first.process.kill('SIGKILL')
    await sandbox.gone
    await idle.gone
    await until(() => !idleGuests.some(isAlive))
    expect([guests.some(isAlive), await first.leftOf(4)]).toEqual([true, [expect.any(String)]])
    await first.restartKeeper()
    expect([guests.some(isAlive), await first.leftOf(4)]).toEqual([false, []])
    await works(first, 4)
  })
})

/** Direct children of the keeper: the shells that wait for its end. */
function reapersOf(keeper: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        return (
          readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ')[1] ===
          String(keeper)
        )
      } catch {
        return false
      }
    })
}

describe('another runtime', () => {
  test('is refused by its name when the engine does not have it', async () => {
    const probe = await probeDocker(socket, 'no-such-runtime')
    expect(probe).toMatchObject({
      ok: false,
      reason: expect.stringMatching(/has no runtime no-such-runtime .*it has .*runc/),
    })
  })

  test('is the one that containers are given', async () => {
    const runtime = 'io.containerd.runc.v2'
    const env = { BMM_DOCKER_RUNTIME: runtime }
    const stack = await startTestStack('runtime', 'docker', { env })
    try {
      const sandbox = await stack.sandbox(0)
      const [name] = await stack.leftOf(0)
      const answer = await fetch(`http://docker/containers/${name}/json`, { unix: socket })
      const { HostConfig } = hostConfigSchema.parse(await answer.json())
      expect(HostConfig.Runtime).toBe(runtime)
      sandbox.stop()
      await sandbox.gone
    } finally {
      await stack.stop()
    }
  })
})

describe('a container is given', () => {
  const spec = z
    .looseObject({ Env: z.array(z.string()), User: z.string(), HostConfig: z.looseObject({}) })
    .parse(
      containerSpec({
        ...{ image: 'i:1', sandboxClass: 'hobby', uid: 70_000, labels: { [STACK_LABEL]: 's' } },
        ...{ callsDirectory: '/run/x/0/c', egressDirectory: '/run/x/0/e' },
      }),
    )

  test('every limit of the list', () => {
    const { memoryBytes } = sandboxClasses.hobby
    expect(spec.HostConfig).toMatchObject({
      ...{ Memory: memoryBytes, MemorySwap: memoryBytes, PidsLimit: sandboxLimits.processes },
      ...{ CpuPeriod: sandboxLimits.cpuPeriodUs, CpuQuota: sandboxLimits.cpuQuotaUs },
      CpuShares: USUAL_SHARES,
      Ulimits: [
        { Name: 'nofile', Soft: sandboxLimits.openFiles, Hard: sandboxLimits.openFiles },
        { Name: 'core', Soft: 0, Hard: 0 },
        { Name: 'fsize', Soft: sandboxLimits.fileBytes, Hard: sandboxLimits.fileBytes },
        { Name: 'msgqueue', Soft: 0, Hard: 0 },
      ],
    })
  })

  test('no network, no shared memory, no capability, no log, nothing to write, no value in the environment', () => {
    expect(spec).toMatchObject({ User: '70000:70000', NetworkDisabled: true })
    expect(spec.Env.filter((variable) => variable.includes('='))).toEqual([])
    expect(spec.HostConfig).toMatchObject({
      ...{ NetworkMode: 'none', IpcMode: 'none', ReadonlyRootfs: true, Privileged: false },
      ...{ CapDrop: ['ALL'], CapAdd: [], LogConfig: { Type: 'none' } },
      SecurityOpt: ['no-new-privileges', expect.stringMatching(/^seccomp=\{"defaultAction"/)],
      Mounts: [
        { Source: '/run/x/0/c', Target: '/run/bmm/c', ReadOnly: true },
        { Source: '/run/x/0/e', Target: '/run/bmm/e', ReadOnly: true },
      ],
    })
    expect(Object.keys(spec.HostConfig)).not.toContain('Tmpfs')
  })
})

test('nothing is pulled: an image that was not imported is an error of the engine', async () => {
  const engine = dockerEngine(socket)
  expect(await outcomeOf(engine.create('bmm-test-none', { Image: 'bmm-test-none:1' }))).toThrow(
    'The container engine refused: No such image: bmm-test-none:1',
  )
})
