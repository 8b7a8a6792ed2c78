import { describe, expect, test } from 'bun:test'
import { createCipheriv, randomBytes } from 'node:crypto'
import {
  KEY_BYTES,
  keyFault,
  keyFrom,
  open,
  openNamed,
  SealBroken,
  seal,
  sealNamed,
} from './envelope.ts'

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

test('a sealed value of fewer bytes than nonce and tag is none', () => {
  const sealed = seal(key, Buffer.alloc(0), binding)
  expect(open(key, sealed, binding)).toHaveLength(0)
  for (let length = 0; length < sealed.length; length++) {
    expect(() => open(key, sealed.subarray(0, length), binding)).toThrow(SealBroken)
    expect(() => openNamed(key, sealed.subarray(0, length), 'name')).toThrow(SealBroken)
  }
})

describe('bound to a name', () => {
  const sealed = sealNamed(key, value, 'name')

  test('it opens under the same key and name, and shows nothing of the value', () => {
    expect(Buffer.from(openNamed(key, sealed, 'name'))).toEqual(value)
    expect(Buffer.from(sealed).includes(value)).toBe(false)
    expect(sealNamed(key, value, 'name')).not.toEqual(sealed)
  })

  test('another key, another name and each flipped bit keep it shut', () => {
    expect(() => openNamed(randomBytes(KEY_BYTES), sealed, 'name')).toThrow(SealBroken)
    expect(() => openNamed(key, sealed, 'other')).toThrow(SealBroken)
    for (let index = 0; index < sealed.length; index++) {
      const flipped = Uint8Array.from(sealed, (byte, at) => (at === index ? byte ^ 1 : byte))
      expect(() => openNamed(key, flipped, 'name')).toThrow(SealBroken)
    }
  })
})

test('what earlier versions stored opens', () => {
  const old = Buffer.from('000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f', 'hex')
  const stored = (hex: string) => Buffer.from(hex, 'hex')
  const credential = stored(
    '9a1909e27b2ce80343b4b3427ce966219a117df584a61918b4113efda7a083adc122afcb33aa552f',
  )
  expect(String(open(old, credential, ['secret', 'org_1', 7]))).toBe('a credential')
  const empty = stored('e009aab4a1dbf5020c795e67fbd1c139df0ae36ebac5954464ce8ab2')
  expect(open(old, empty, ['data-key', 1])).toHaveLength(0)
  const signingKey = stored(
    'd39dcd9bb30f769d46dcb531e24436dcec76d7bdab128a43fb687d60d98c559c0a851658bc822d73c7',
  )
  const name = 'bmm-auth-signing-key-v1 kid'
  expect(String(openNamed(old, signingKey, name))).toBe('a private key')
})

test('a key comes as bytes, base64 or hex', () => {
  for (const form of [
    key,
    key.toString('base64'),
    `${key.toString('base64url')}\n`,
    key.toString('hex'),
  ]) {
    expect(keyFrom(Buffer.from(form))).toEqual(key)
  }
  expect(keyFrom(Buffer.from('too short'))).toHaveLength(0)
})

test('placeholders and wrong lengths are no keys', () => {
  expect(keyFault(key)).toBeUndefined()
  expect(keyFault(Buffer.alloc(KEY_BYTES))).toContain('placeholder')
  expect(keyFault(Buffer.alloc(KEY_BYTES, 0x61))).toContain('placeholder')
  expect(keyFault(Buffer.alloc(0))).toContain('32 bytes')
})
