/** Real processes of the generator, killed in the middle: the next one finishes what was begun. */
import { expect, test } from 'bun:test'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { findRedisServer } from '@bmm/lib/testing'
import { reason } from '@bmm/lib/testing-outcome'
import { BuildState, BuildStep, ServerState } from '@bmm/proto/generator/v1/server'
import { holdStep, spawnService, testPublicUrl } from './testing.ts'
import { generatorOfFile } from './testing-calls.ts'

const { generator, calls, owner } = await generatorOfFile({ works: false, serves: false })

const succeeded = async (buildId: string, serverId: string) => {
  expect((await calls.buildOf(buildId)).state).toBe(BuildState.SUCCEEDED)
  expect((await calls.serverOf(serverId)).state).toBe(ServerState.LIVE)
  // Asking the runner again for the same statement is harmless; another one would be another deployment.
  const statements = generator.neighbours.deployed.map(({ statement }) => Buffer.from(statement))
  expect(new Set(statements.map((bytes) => bytes.toString())).size).toBe(1)
  const seen = await calls.events(buildId)
  expect(seen.map((event) => Number(event.seq))).toEqual(seen.map((_, index) => index + 1))
  const ends = seen.filter(
    (event) => event.step === BuildStep.UNSPECIFIED && event.state === BuildState.SUCCEEDED,
  )
  expect(ends.length).toBe(1)
  return seen
}

const start = (redisUrl = generator.redis.url) =>
  spawnService('generator', {
    rpc: generator.rpc,
    identities: generator.identities,
    env: {
      BMM_DATABASE_URL: generator.database.url,
      BMM_REDIS_URL: redisUrl,
      BMM_PUBLIC_URL: testPublicUrl,
      BMM_OWN_LISTENERS: 'localhost:8787',
    },
  })

for (const step of ['onTry', 'onDeploy'] as const) {
  test(`a build whose process is killed in ${step} is finished by the next process`, async () => {
    const held = holdStep(generator, step)
    const first = await start()
    const { serverId, buildId } = await calls.queued()
    await held.reached
    await first.kill()
    held.release()
    generator.neighbours[step] = async () => ''
    await using _second = await start()
    await calls.events(buildId)
    await succeeded(buildId, serverId)
  })
}

test('a build whose process was killed and whose queue was lost is found again', async () => {
  const held = holdStep(generator, 'onTry')
  const first = await start()
  const { serverId, buildId } = await calls.queued()
  await held.reached
  await first.kill()
  held.release()
  generator.neighbours.onTry = async () => ''
  await generator.redis.redis.flushdb()
  await using _second = await start()
  await calls.events(buildId)
  await succeeded(buildId, serverId)
})
test('a deletion whose process is killed is finished by the next process', async () => {
  const reached = Promise.withResolvers<void>()
  const first = await start()
  const { serverId, buildId } = await calls.queued()
  await calls.events(buildId)
  await succeeded(buildId, serverId)
  generator.neighbours.onStop = async () => {
    reached.resolve()
    await new Promise(() => {})
  }
  const deleting = calls.servers
    .deleteServer({ serverId }, await generator.as(owner))
    .catch(() => undefined)
  await reached.promise
  await first.kill()
  await deleting
  generator.neighbours.onStop = async () => {}
  await using _second = await start()
  const { sql } = generator.database
  let state = ''
  for (let i = 0; i < 600 && state !== 'deleted'; i++) {
    const [row] = await sql<{ state: string }[]>`select state from servers where id = ${serverId}`
    state = row?.state ?? ''
    await Bun.sleep(50)
  }
  expect(state).toBe('deleted')
})

test('a process that is told to stop ends at once and leaves its build to the next', async () => {
  const held = holdStep(generator, 'onTry')
  const first = await start()
  const { serverId, buildId } = await calls.queued()
  await held.reached
  const following = reason(calls.events(buildId))
  const from = performance.now()
  await first[Symbol.asyncDispose]()
  expect(performance.now() - from).toBeLessThan(11_000)
  expect(await following).not.toBe('done')
  held.release()
  generator.neighbours.onTry = async () => ''
  await using _second = await start()
  await calls.events(buildId)
  await succeeded(buildId, serverId)
})

test('a server that is made while Redis is away is built all the same', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'bmm-redis-'))
  const socket = join(folder, 'redis.sock')
  const startRedis = async () => {
    const options = ['--port', '0', '--unixsocket', socket, '--save', '', '--dir', folder]
    const child = Bun.spawn([...findRedisServer(), ...options], {
      argv0: 'redis-server',
      stdout: 'ignore',
      stderr: 'ignore',
    })
    while (!existsSync(socket)) await Bun.sleep(20)
    return async () => {
      child.kill('SIGKILL')
      await child.exited
      rmSync(socket, { force: true })
    }
  }
  const stopRedis = await startRedis()
  try {
    await using running = await start(`unix://${socket}`)
    await stopRedis()
    const { serverId, buildId } = await calls.queued()
    await calls.events(buildId)
    await succeeded(buildId, serverId)
    await running.kill()
  } finally {
    await stopRedis()
    rmSync(folder, { recursive: true, force: true })
  }
})
