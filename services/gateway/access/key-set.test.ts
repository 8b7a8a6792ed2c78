/** Keys of access tokens: fetched when needed, seldom when guessed at, kept while nobody answers. */
import { expect, test } from 'bun:test'
import { generateKeyPairSync } from 'node:crypto'
import { outcomeOf } from '@bmm/lib/testing-outcome'
import { exportJWK } from 'jose'
import { keySet } from './key-set.ts'

async function jwk(kid: string) {
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  return { ...(await exportJWK(publicKey)), kid, alg: 'ES256' }
}

function served(keys: Record<string, unknown>[]) {
  const state = { now: 0, asked: 0, failing: false, keys }
  const set = keySet({
    now: () => state.now,
    async fetchJwks() {
      state.asked++
      if (state.failing) throw new Error('nobody answers')
      return new TextEncoder().encode(JSON.stringify({ keys: state.keys }))
    },
  })
  return { state, set }
}

test('a known key is found without asking again', async () => {
  const { state, set } = served([await jwk('a')])
  expect(await set.find('a')).toBeDefined()
  expect(await set.find('a')).toBeDefined()
  expect(state.asked).toBe(1)
})

test('many finders share one question', async () => {
  const { state, set } = served([await jwk('a')])
  await Promise.all(Array.from({ length: 50 }, () => set.find('a')))
  expect(state.asked).toBe(1)
})

test('guessed ids ask at most once in the floor’s time', async () => {
  const { state, set } = served([await jwk('a')])
  await set.find('a')
  for (let guess = 0; guess < 100; guess++) await set.find(`guess-${guess}`)
  expect(state.asked).toBe(1)
  state.now += 2_000
  await set.find('guess')
  expect(state.asked).toBe(2)
})

test('a rotated key is learnt, a withdrawn one forgotten after its age', async () => {
  const { state, set } = served([await jwk('a')])
  await set.find('a')
  state.keys = [await jwk('b')]
  state.now += 2_000
  expect(await set.find('b')).toBeDefined()
  state.now += 60_001
  expect(await set.find('a')).toBeUndefined()
})

test('a known key stays good while nobody answers, an unknown one is an error', async () => {
  const { state, set } = served([await jwk('a')])
  await set.find('a')
  state.failing = true
  state.now += 120_000
  expect(await set.find('a')).toBeDefined()
  state.now += 2_000
  expect(await outcomeOf(set.find('b'))).toThrow('nobody answers')
  // Not bad either before the next question may be asked, which is soon.
  expect(await outcomeOf(set.find('b'))).toThrow('nobody answers')
  const { asked } = state
  state.failing = false
  state.now += 200
  expect(await set.find('a')).toBeDefined()
  expect(await set.find('b')).toBeUndefined()
  expect(state.asked).toBe(asked + 1)
})

test('keys of other kinds are left out: no symmetric key, no other curve', async () => {
  const { publicKey } = generateKeyPairSync('ed25519')
  const { set } = served([
    { kty: 'oct', k: 'c2VjcmV0', kid: 'oct', alg: 'HS256' },
    { ...(await exportJWK(publicKey)), kid: 'ed', alg: 'EdDSA' },
    await jwk('good'),
  ])
  expect(await set.find('good')).toBeDefined()
  for (const kid of ['oct', 'ed']) expect(await set.find(kid)).toBeUndefined()
})
