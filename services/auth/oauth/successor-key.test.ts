import { expect, test } from 'bun:test'
import { successorKey } from './successor-key.ts'

test('the key of successors is the one that running grants were made with, and not the key itself', () => {
  const kek = Buffer.from('000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f', 'hex')
  expect(successorKey(kek).toString('hex')).toBe(
    '6f13cfd9aeadad513786e5bfa05f8307405dd6db88c7b5ce727e7c70f2c0c30b',
  )
})
