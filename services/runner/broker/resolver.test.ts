import { expect, test } from 'bun:test'
import { outcomeOf } from '@bmm/lib/testing-outcome'
import { rememberingResolver } from './resolver.ts'

test('a name is asked for once in five seconds, however many ask', async () => {
  let [asked, time] = [0, 0]
  const resolve = rememberingResolver(
    async () => [`192.0.2.${++asked}`],
    () => time,
  )
  const answers = await Promise.all([resolve('a.example.com'), resolve('a.example.com')])
  expect(answers).toEqual([['192.0.2.1'], ['192.0.2.1']])
  expect(await resolve('b.example.com')).toEqual(['192.0.2.2'])
  time = 5_001
  expect(await resolve('a.example.com')).toEqual(['192.0.2.3'])
})

test('a failure or an empty answer is not remembered', async () => {
  const outcomes = [Promise.reject(new Error('SERVFAIL')), Promise.resolve([]), ['192.0.2.1']]
  const resolve = rememberingResolver(
    async () => (await outcomes.shift()) ?? [],
    () => 0,
  )
  expect(await outcomeOf(resolve('a.example.com'))).toThrow('SERVFAIL')
  await Bun.sleep(1)
  expect(await resolve('a.example.com')).toEqual([])
  await Bun.sleep(1)
  expect(await resolve('a.example.com')).toEqual(['192.0.2.1'])
})

test('the names that are remembered are bounded', async () => {
  let asked = 0
  const resolve = rememberingResolver(
    async () => [`192.0.2.${++asked % 250}`],
    () => 0,
  )
  for (let at = 0; at <= 2_000; at++) await resolve(`n${at}.example.com`)
  expect(asked).toBe(2_001)
  await resolve('n2000.example.com')
  expect(asked).toBe(2_001)
  await resolve('n0.example.com')
  expect(asked).toBe(2_002)
})
