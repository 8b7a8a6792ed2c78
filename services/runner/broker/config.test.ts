import { afterAll, expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { configFrom } from './config.ts'

const folder = mkdtempSync(join(tmpdir(), 'bmm-broker-config-'))
afterAll(() => rmSync(folder, { recursive: true }))
for (const name of ['key', 'keys']) writeFileSync(join(folder, name), name)

const env = {
  BMM_ENV: 'production',
  BMM_RPC_DIR: '/run/bmm/rpc',
  BMM_SERVICE_KEY: join(folder, 'key'),
  BMM_SERVICE_PUBLIC_KEYS: join(folder, 'keys'),
  BMM_DATABASE_URL: 'postgres://broker@localhost/bmm',
  BMM_SLOTS_DIR: '/run/bmm/slots',
  BMM_SLOTS: '64',
  BMM_OWN_LISTENERS: 'Localhost:8787,127.0.0.1:8787,[::1]:8787',
}

test('a whole environment is read', () => {
  expect(configFrom(env)).toMatchObject({
    slots: 64,
    ownListeners: ['localhost:8787', '127.0.0.1:8787', '[::1]:8787'],
    privateKeyPem: 'key',
  })
})

test('every fault is named at once, and none of them has a default that opens a door', () => {
  const { BMM_OWN_LISTENERS: _, ...without } = env
  expect(() => configFrom(without)).toThrow('BMM_OWN_LISTENERS')
  const broken = { ...env, BMM_SLOTS: '0', BMM_OWN_LISTENERS: 'localhost', BMM_SLOTS_DIR: 'x' }
  try {
    configFrom(broken)
    expect.unreachable()
  } catch (error) {
    for (const name of ['BMM_SLOTS:', 'BMM_SLOTS_DIR:', 'BMM_OWN_LISTENERS']) {
      expect(String(error)).toContain(name)
    }
  }
})
