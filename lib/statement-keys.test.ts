import { expect, test } from 'bun:test'
import { createStatementKeyring } from './statement-keys.ts'
import { outcomeOf } from './testing-outcome.ts'

test('statement keys are asked for once, again for an unknown id, but not faster than every two seconds', async () => {
  let now = 0
  let asked = 0
  let keys = new Map([['old', new Uint8Array()]])
  const ask = async () => {
    asked++
    return keys
  }
  const keyring = createStatementKeyring({ ask, now: () => now })
  await Promise.all([keyring.keysFor('old'), keyring.keysFor('old')])
  expect(asked).toBe(1)
  keys = new Map([['new', new Uint8Array()]])
  expect((await keyring.keysFor('new')).has('new')).toBe(false)
  now += 2_001
  expect((await keyring.keysFor('new')).has('new')).toBe(true)
  expect((await keyring.keysFor('old')).has('old')).toBe(false)
  expect(asked).toBe(2)
})

test('statement keys are asked for again after ten minutes, so that a withdrawn one ends', async () => {
  let now = 0
  let keys = new Map([['old', new Uint8Array()]])
  const keyring = createStatementKeyring({ ask: async () => keys, now: () => now })
  await keyring.keysFor('old')
  keys = new Map()
  now += 600_001
  expect((await keyring.keysFor('old')).has('old')).toBe(false)
})

test('statement keys are not invented when secrets does not answer', async () => {
  const ask = () => Promise.reject(new Error('away'))
  const keyring = createStatementKeyring({ ask, now: () => 0 })
  expect(await outcomeOf(keyring.keysFor('any'))).toThrow('away')
})
