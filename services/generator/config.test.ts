/** The environment: every fault at once. */
import { afterAll, expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { configFrom } from './config.ts'

const folder = mkdtempSync(join(tmpdir(), 'bmm-config-'))
writeFileSync(join(folder, 'key.pem'), 'pem')
writeFileSync(join(folder, 'public-keys.json'), '{}')
afterAll(() => rmSync(folder, { recursive: true }))

const env = {
  BMM_ENV: 'development',
  BMM_RPC_DIR: '/run/x',
  BMM_SERVICE_KEY: join(folder, 'key.pem'),
  BMM_SERVICE_PUBLIC_KEYS: join(folder, 'public-keys.json'),
  BMM_DATABASE_URL: 'postgres://u:p@localhost/d',
  BMM_REDIS_URL: 'redis://localhost',
  BMM_PUBLIC_URL: 'http://localhost:8787',
  BMM_OWN_LISTENERS: 'localhost:8787,[::1]:8787',
}

test('a whole environment is read', () => {
  expect(configFrom(env)).toMatchObject({
    publicUrl: 'http://localhost:8787',
    ownListeners: ['localhost:8787', '[::1]:8787'],
    privateKeyPem: 'pem',
  })
})

test('every missing variable is named at once', () => {
  const message = (() => {
    try {
      configFrom({})
      return ''
    } catch (error) {
      return String(error)
    }
  })()
  for (const name of Object.keys(env)) expect(message).toContain(name)
})

test('a public URL with a path is refused', () => {
  expect(() => configFrom({ ...env, BMM_PUBLIC_URL: 'http://localhost:1/x' })).toThrow('origin')
})
