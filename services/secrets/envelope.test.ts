import { expect, test } from 'bun:test'
import { createCipheriv, randomBytes } from 'node:crypto'
import { KEY_BYTES, open, SealBroken, seal } from './envelope.ts'

const key = randomBytes(KEY_BYTES)
const value = Buffer.from('sk-live-canary')
const binding = ['secret', 'org_a', 'srv_a', 'API_KEY', 1, 1]

test('what was sealed opens under the same key and binding', () => {
  expect(Buffer.from(open(key, seal(key, value, binding), binding))).toEqual(value)
})

test('the layout is nonce, ciphertext, tag of AES-256-GCM over the length-prefixed parts', () => {
  const sealed = Buffer.from(seal(key, value, ['ab', 1]))
  const cipher = createCipheriv('aes-256-gcm', key, sealed.subarray(0, 12))
  cipher.setAAD(Buffer.from('\0\0\0\x02ab\0\0\0\x011', 'latin1'))
  const expected = Buffer.concat([cipher.update(value), cipher.final(), cipher.getAuthTag()])
  expect(sealed.subarray(12)).toEqual(expected)
})

test('two seals of one value differ', () => {
  expect(seal(key, value, binding)).not.toEqual(seal(key, value, binding))
})

test('each changed part of the binding keeps it shut', () => {
  const sealed = seal(key, value, binding)
  for (let index = 0; index < binding.length; index++) {
    const changed = binding.map((part, at) => (at === index ? `${part}x` : part))
    expect(() => open(key, sealed, changed)).toThrow(SealBroken)
  }
})

test('parts that only join to the same text are another binding', () => {
  const sealed = seal(key, value, ['ab', 'c'])
  expect(() => open(key, sealed, ['a', 'bc'])).toThrow(SealBroken)
})

test('each flipped bit, a cut and another key keep it shut', () => {
  const sealed = seal(key, value, binding)
  for (let index = 0; index < sealed.length; index++) {
    const flipped = Uint8Array.from(sealed, (byte, at) => (at === index ? byte ^ 1 : byte))
    expect(() => open(key, flipped, binding)).toThrow(SealBroken)
  }
  for (const length of [0, 12, 27, sealed.length - 1]) {
    expect(() => open(key, sealed.subarray(0, length), binding)).toThrow(SealBroken)
  }
  expect(() => open(randomBytes(KEY_BYTES), sealed, binding)).toThrow(SealBroken)
})
