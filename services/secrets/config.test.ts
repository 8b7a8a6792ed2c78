import { expect, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CONFIG_FAULT } from '@bmm/lib/env'
import { configFrom } from './config.ts'

const folder = mkdtempSync(join(tmpdir(), 'bmm-secrets-config-'))
const file = (name: string, content: string | Uint8Array) => {
  writeFileSync(join(folder, name), content)
  return join(folder, name)
}
const kek = randomBytes(32)
const env = {
  BMM_ENV: 'production',
  BMM_RPC_DIR: folder,
  BMM_SERVICE_KEY: file('key.pem', 'a key'),
  BMM_SERVICE_PUBLIC_KEYS: file('public.json', '{}'),
  BMM_DATABASE_URL: 'postgres://localhost/x',
  BMM_KEK: file('kek', kek),
}
process.on('exit', () => rmSync(folder, { recursive: true, force: true }))

test('a key-encryption key is read as raw bytes or as base64 text', () => {
  expect(Buffer.from(configFrom(env).kek)).toEqual(kek)
  const text = file('kek.txt', `${kek.toString('base64')}\n`)
  expect(Buffer.from(configFrom({ ...env, BMM_KEK: text }).kek)).toEqual(kek)
})

test('every fault is reported at once, without a value', () => {
  const faulty = { ...env, BMM_ENV: 'prod', BMM_RPC_DIR: 'relative-canary', BMM_KEK: undefined }
  expect(() => configFrom(faulty)).toThrow(/3 fault[\s\S]*BMM_ENV[\s\S]*BMM_RPC_DIR[\s\S]*BMM_KEK/)
  expect(() => configFrom(faulty)).not.toThrow(/canary/)
})

test.each([
  ['is missing', join(folder, 'nowhere')],
  ['is too short', file('short', randomBytes(31))],
  ['is all zeros', file('zero', new Uint8Array(32))],
  ['is all zeros in base64', file('zero.txt', Buffer.alloc(32).toString('base64'))],
  ['is an empty file', file('empty', '')],
  ['stands in the environment in production', `base64:${kek.toString('base64')}`],
])('a key-encryption key that %s is refused', (_why, source) => {
  expect(() => configFrom({ ...env, BMM_KEK: source })).toThrow(
    `${CONFIG_FAULT} 1 fault:\nBMM_KEK: `,
  )
  expect(() => configFrom({ ...env, BMM_KEK: source })).not.toThrow(kek.toString('base64'))
})

test('in development a key-encryption key may stand in the environment', () => {
  const source = `base64:${kek.toString('base64')}`
  const config = configFrom({ ...env, BMM_ENV: 'development', BMM_KEK: source })
  expect(Buffer.from(config.kek)).toEqual(kek)
})
