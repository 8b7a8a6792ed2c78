import { afterAll, beforeAll, expect, test } from 'bun:test'
import { type TestRedis, testRedis } from '@bmm/lib/testing'
import { outcomeOf } from '@bmm/lib/testing-outcome'
import { claimRedis } from './external-redis.ts'

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
