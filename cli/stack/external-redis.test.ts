import { afterAll, beforeAll, expect, test } from 'bun:test'
import { type TestRedis, testRedis } from '@bmm/lib/testing'
import { outcomeOf } from '@bmm/lib/testing-outcome'
import { claimRedis, requireUsable } from './external-redis.ts'

const user = `claimer-${crypto.randomUUID()}`
let store: TestRedis

beforeAll(async () => {
  store = await testRedis()
})
afterAll(async () => {
  await store.redis.call('ACL', 'DELUSER', user)
  await store[Symbol.asyncDispose]()
})

/** The same database for an account with these rights. */
async function urlWith(...rights: string[]): Promise<string> {
  await store.redis.call('ACL', 'SETUSER', user, 'reset', 'on', '>canary', ...rights)
  const url = new URL(store.url)
  url.searchParams.set('username', user)
  url.searchParams.set('password', 'canary')
  return url.href
}

const documented = ['~bmm:*', '~bull:*', '&bmm:*', '+@all', '-@admin', '-@dangerous', '+info']

test('the rights that the sentence names are enough, and the database is this stack’s from then on', async () => {
  const url = await urlWith(...documented)
  expect(await outcomeOf(claimRedis(url, 'one'))).not.toThrow()
  expect(await outcomeOf(claimRedis(url, 'one'))).not.toThrow()
  expect(await outcomeOf(claimRedis(url, 'two'))).toThrow(/used by the stack of another data/)
  expect(await store.redis.keys('*')).toEqual(['bmm:stack'])
})

test.each([
  [documented.slice(1), /lacks a right .*key/],
  [['~bmm:*', ...documented.slice(2)], /lacks a right .*key/],
  [documented.toSpliced(2, 1), /lacks a right .*channel/],
  [documented.slice(0, -1), /lacks a right .*info.*It needs: ~bmm/],
  [[...documented, '-@scripting'], /lacks a right .*eval/],
])('an account with only %p is told what it lacks', async (rights, sentence) => {
  expect(await outcomeOf(claimRedis(await urlWith(...rights), 'one'))).toThrow(sentence)
})

const info = {
  ...{ redis_version: '7.0.15', cluster_enabled: '0', role: 'master' },
  ...{ maxmemory: '0', maxmemory_policy: 'noeviction' },
}
const infoText = (facts: Record<string, string>) =>
  Object.entries({ ...info, ...facts })
    .map(([name, value]) => `${name}:${value}\r\n`)
    .join('')

test.each([
  [{ redis_version: '6.0.16' }, /this is Redis 6.0.16, and 6.2 or later is needed/],
  [{ redis_version: '5.0.0', valkey_version: '5.9.9' }, /Redis 5.9.9/],
  [{ cluster_enabled: '1' }, /a cluster/],
  [{ role: 'slave' }, /a replica: give the address of its master/],
  [
    { maxmemory: '100', maxmemory_policy: 'volatile-lru' },
    /drops keys.*volatile-lru\), .*noeviction/,
  ],
])('a Redis that says %p is refused', (facts, sentence) => {
  expect(() => requireUsable('redis://:canary@host', infoText(facts))).toThrow(sentence)
  expect(() => requireUsable('redis://:canary@host', infoText(facts))).not.toThrow(/canary/)
})

test.each([
  [{}],
  [{ redis_version: '6.2.0' }],
  [{ redis_version: '7.2.4', valkey_version: '8.1.0' }],
  [{ maxmemory: '100' }],
  [{ maxmemory_policy: 'allkeys-lru' }],
])('a Redis that says %p is good', (facts) => {
  expect(() => requireUsable('redis://host', infoText(facts))).not.toThrow()
})

test('a wrong password, a database that is not there and nobody at all are told apart', async () => {
  const wrong = new URL(await urlWith(...documented))
  wrong.searchParams.set('password', 'canary-2')
  expect(await outcomeOf(claimRedis(wrong.href, 'one'))).toThrow(/password is wrong or missing/)
  const beyond = new URL(store.url)
  beyond.searchParams.set('db', '9999')
  expect(await outcomeOf(claimRedis(beyond.href, 'one'))).toThrow(/DB index is out of range/)
  const nobody = await outcomeOf(claimRedis('redis://:canary@127.0.0.1:1/1', 'one'))
  expect(nobody).toThrow(/REDIS_URL \(127.0.0.1:1\): Redis does not answer .*ECONNREFUSED/)
  expect(nobody).not.toThrow(/canary/)
})
