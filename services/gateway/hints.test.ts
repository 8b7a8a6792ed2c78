/** Redis beside the feeds: hints that make changes quick, and marks that speak while the authorization server cannot. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { channels, revokedKey } from '@bmm/lib/hints'
import { newId } from '@bmm/lib/ids'
import { type TestRedis, testRedis } from '@bmm/lib/testing'
import { until } from '@bmm/lib/testing-until'
import { type TestGateway, testGateway, testSpec } from './testing.ts'

let redis: TestRedis
let gw: TestGateway

beforeAll(async () => {
  redis = await testRedis()
  gw = await testGateway({ redis: redis.redis, feedIntervalMs: 600_000 })
})
afterAll(async () => {
  await gw[Symbol.asyncDispose]()
  await redis[Symbol.asyncDispose]()
})

const list = { jsonrpc: '2.0', id: 1, method: 'tools/list' }

test('a hint makes the gateway look again at once, where its own turn would be minutes away', async () => {
  const server = gw.addServer('hinted', testSpec(['echo']))
  const grant = newId('grt')
  const headers = { authorization: `Bearer ${await gw.token(server, { grant })}` }
  const status = async () => (await gw.post(server, list, headers)).status
  expect(await status()).toBe(200)
  gw.world.revoked.push({ grantId: grant, at: Date.now() })
  expect(await status()).toBe(200)
  await redis.redis.publish(channels.tokenRevoked, grant)
  await until(async () => (await status()) === 401)
  const other = { authorization: `Bearer ${await gw.token(server)}` }
  gw.stop(server, 'paused')
  expect((await gw.post(server, list, other)).status).toBe(200)
  await redis.redis.publish(channels.serverUpdated, server.serverId)
  await until(async () => (await gw.post(server, list, other)).status === 404)
})

test('a hint that lies ends nothing: only the authorization server can', async () => {
  const server = gw.addServer('honest-hints', testSpec(['echo']))
  const grant = newId('grt')
  const headers = { authorization: `Bearer ${await gw.token(server, { grant })}` }
  await redis.redis.publish(channels.tokenRevoked, grant)
  await redis.redis.publish(channels.serverUpdated, server.serverId)
  await Bun.sleep(200)
  expect((await gw.post(server, list, headers)).status).toBe(200)
})

test('while the authorization server is away, Redis says which grants have ended', async () => {
  const server = gw.addServer('marks', testSpec(['echo']))
  const [ended, live] = [newId('grt'), newId('grt')]
  const post = async (grant: string) =>
    gw.post(server, list, { authorization: `Bearer ${await gw.token(server, { grant })}` })
  await redis.redis.set(revokedKey(ended), '1', 'EX', 900)
  gw.world.broken.add('revocations')
  await until(async () => (await post(ended)).status === 401)
  expect((await post(live)).status).toBe(200)
}, 60_000)
