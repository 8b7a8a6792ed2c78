import { afterAll, beforeAll, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openQueue, openWorker } from './jobs.ts'
import { openRedis, subscribe } from './redis.ts'
import { findRedisServer, type TestRedis, testLog, testRedis } from './testing.ts'
import { outcomeOf } from './testing-outcome.ts'

let redis: TestRedis

beforeAll(async () => {
  redis = await testRedis()
})
afterAll(() => redis[Symbol.asyncDispose]())

test('a queued id reaches the worker, whose failure is not the end of it', async () => {
  const seen: string[] = []
  const both = Promise.withResolvers<void>()
  await using queue = openQueue('basic', redis.url, testLog)
  await using _worker = openWorker('basic', redis.url, testLog, 1, async (id) => {
    seen.push(id)
    if (seen.length === 2) both.resolve()
    if (id === 'bad') throw new Error('this one fails')
  })
  await queue.add('bad')
  await queue.add('good')
  await both.promise
  expect(seen).toEqual(['bad', 'good'])
})

test('subscribers hear messages', async () => {
  const heard = Promise.withResolvers<string>()
  await using _subscription = await subscribe(redis.redis, 'hints', heard.resolve)
  await redis.redis.publish('hints', 'srv_1')
  expect(await heard.promise).toBe('srv_1')
})

test('workers and queues go on after Redis was killed and came back', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'bmm-redis-'))
  const socket = join(folder, 'redis.sock')
  const url = `unix://${socket}`
  const start = async () => {
    const child = Bun.spawn(
      [...findRedisServer(), '--port', '0', '--unixsocket', socket, '--save', '', '--dir', folder],
      { stdout: 'ignore', stderr: 'ignore', argv0: 'redis-server' },
    )
    const probe = openRedis(url, { log: testLog, blocking: true })
    await probe.ping()
    probe.disconnect()
    return child
  }
  let server = await start()
  const seen: string[] = []
  let arrived = Promise.withResolvers<void>()
  const worker = openWorker('killed', url, testLog, 1, async (id) => {
    seen.push(id)
    arrived.resolve()
  })
  const queue = openQueue('killed', url, testLog)
  try {
    await queue.add('before')
    await arrived.promise
    server.kill('SIGKILL')
    await server.exited
    expect(await outcomeOf(queue.add('meanwhile'))).toThrow()
    arrived = Promise.withResolvers<void>()
    server = await start()
    await queue.add('after')
    await arrived.promise
    expect(seen).toEqual(['before', 'after'])
  } finally {
    await queue[Symbol.asyncDispose]()
    await worker[Symbol.asyncDispose]()
    server.kill('SIGKILL')
    await server.exited
    rmSync(folder, { recursive: true, force: true })
  }
})
