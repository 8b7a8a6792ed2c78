import { expect, test } from 'bun:test'
import { openRedis } from './redis.ts'
import { testLog, testRedis } from './testing.ts'
import { startWay } from './testing-way.ts'

test('a connection that leads nowhere any more is given up, and a new one serves', async () => {
  await using store = await testRedis()
  const url = new URL(store.url)
  await using way = await startWay(url.pathname)
  url.pathname = way.socket
  const redis = openRedis(url.href, { log: testLog, silenceMs: 500 })
  let closed = 0
  redis.on('close', () => closed++)
  try {
    expect(await redis.ping()).toBe('PONG')
    way.break()
    // What was not answered is asked again, once.
    expect(await redis.ping()).toBe('PONG')
    expect(closed).toBe(1)
    // Nothing is asked, so nothing has to come.
    await Bun.sleep(1_000)
    expect(closed).toBe(1)
  } finally {
    redis.disconnect()
  }
})
