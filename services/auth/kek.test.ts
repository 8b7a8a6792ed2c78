import { describe, expect, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import { kekFault, kekFrom, successorKey, unwrap, wrap } from './kek.ts'

const kek = randomBytes(32)

test('what was wrapped opens under the same key and name', () => {
  const plain = Buffer.from('a private key')
  const wrapped = wrap(kek, 'name', plain)
  expect(unwrap(kek, 'name', wrapped)).toEqual(plain)
  expect(wrapped.includes(plain)).toBe(false)
  expect(wrap(kek, 'name', plain)).not.toEqual(wrapped)
})

describe('a wrapped key does not open', () => {
  const wrapped = wrap(kek, 'name', Buffer.from('a private key'))
  test('under another key or name', () => {
    expect(() => unwrap(randomBytes(32), 'name', wrapped)).toThrow()
    expect(() => unwrap(kek, 'other', wrapped)).toThrow()
  })
  test('with any byte changed, or cut', () => {
    for (let index = 0; index < wrapped.length; index++) {
      const changed = Buffer.from(wrapped)
      changed[index] = (changed[index] ?? 0) ^ 1
      expect(() => unwrap(kek, 'name', changed)).toThrow()
    }
    expect(() => unwrap(kek, 'name', wrapped.subarray(0, 20))).toThrow()
    expect(() => unwrap(kek, 'name', Buffer.alloc(0))).toThrow()
  })
})

test('a key comes as bytes, base64 or hex', () => {
  for (const form of [
    kek,
    kek.toString('base64'),
    `${kek.toString('base64url')}\n`,
    kek.toString('hex'),
  ]) {
    expect(kekFrom(Buffer.from(form))).toEqual(kek)
  }
  expect(kekFrom(Buffer.from('too short'))).toHaveLength(0)
})

test('placeholders and wrong lengths are no keys', () => {
  expect(kekFault(kek)).toBeUndefined()
  expect(kekFault(Buffer.alloc(32))).toContain('placeholder')
  expect(kekFault(Buffer.alloc(32, 0x61))).toContain('placeholder')
  expect(kekFault(Buffer.alloc(0))).toContain('32 bytes')
})

test('the key of refresh successors is not the key itself', () => {
  expect(successorKey(kek)).not.toEqual(kek)
  expect(successorKey(kek)).toEqual(successorKey(kek))
})
