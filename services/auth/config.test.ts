import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ConfigError, type Env } from '@bmm/lib/env'
import { configFrom } from './config.ts'

let folder: string
let base: Env

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'bmm-config-'))
  const file = (name: string, content: string | Buffer) => {
    writeFileSync(join(folder, name), content)
    return join(folder, name)
  }
  const pem = () =>
    generateKeyPairSync('ed25519').privateKey.export({ format: 'pem', type: 'pkcs8' }).toString()
  base = {
    BMM_ENV: 'production',
    BMM_RPC_DIR: '/run/bmm/rpc',
    BMM_SERVICE_KEY: file('service.pem', pem()),
    BMM_SERVICE_PUBLIC_KEYS: file('keys.json', '{}'),
    BMM_USER_TOKEN_KEY: file('user.pem', pem()),
    BMM_AUTH_KEK: file('kek', randomBytes(32)),
    BMM_DATABASE_URL: 'postgres://localhost/bmm',
    BMM_REDIS_URL: 'redis://localhost',
    BMM_PUBLIC_URL: 'https://mcp.example.com',
    BMM_SMTP_URL: 'smtp://user:pw@mail.example.com:587',
    BMM_MAIL_FROM: 'login@example.com',
  }
  file('zero', Buffer.alloc(32))
  file('short', 'abc')
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function fault(changes: Env): string {
  try {
    configFrom({ ...base, ...changes })
    return ''
  } catch (thrown) {
    if (thrown instanceof ConfigError) return thrown.message
    throw thrown
  }
}

const development = { BMM_ENV: 'development', BMM_SMTP_URL: undefined, BMM_MAIL_FROM: undefined }

describe('the configuration', () => {
  test('with a password that makes the mail address unreadable is a fault without the password', () => {
    for (const password of ['hunter#2', 'hunter/2', 'hunter?2']) {
      const message = fault({ BMM_SMTP_URL: `smtp://user:${password}@mail.example.com:587` })
      expect(message).toContain('BMM_SMTP_URL: is no address')
      expect(message).not.toContain('hunter')
    }
  })

  test('of production is read, and mail needs TLS', () => {
    const config = configFrom(base)
    expect(config.publicUrl).toBe('https://mcp.example.com')
    expect(config.kek).toHaveLength(32)
    expect(config.mail).toMatchObject({ kind: 'smtp', requireTls: true })
  })

  test('of production lets a relay on the same host go without TLS', () => {
    const { mail } = configFrom({ ...base, BMM_SMTP_URL: 'smtp://localhost:25' })
    expect(mail).toMatchObject({ requireTls: false })
  })

  test('of development may use a mailbox folder and a key from the environment', () => {
    const config = configFrom({
      ...base,
      ...development,
      BMM_MAILBOX_DIR: '/run/bmm/mailbox',
      BMM_PUBLIC_URL: 'http://localhost:8787',
      BMM_AUTH_KEK: `base64:${randomBytes(32).toString('base64')}`,
    })
    expect(config.mail).toEqual({ kind: 'mailbox', directory: '/run/bmm/mailbox' })
  })

  test.each([
    ['production without a sender', { BMM_SMTP_URL: undefined }, 'BMM_SMTP_URL'],
    [
      'production with a mailbox folder only',
      { BMM_SMTP_URL: undefined, BMM_MAILBOX_DIR: '/run/x' },
      'BMM_MAILBOX_DIR',
    ],
    ['production with a mailbox folder too', { BMM_MAILBOX_DIR: '/run/x' }, 'BMM_MAILBOX_DIR'],
    ['development without a sender', development, 'BMM_MAILBOX_DIR in development'],
    ['SMTP without a sender address', { BMM_MAIL_FROM: undefined }, 'BMM_MAIL_FROM'],
    [
      'a sender address of two lines',
      { BMM_MAIL_FROM: 'a@b.example\nBcc: c@d.example' },
      'BMM_MAIL_FROM',
    ],
    ['another kind of mail URL', { BMM_SMTP_URL: 'http://mail.example.com' }, 'BMM_SMTP_URL'],
    ['no environment', { BMM_ENV: undefined }, 'BMM_ENV'],
    ['a public URL in clear', { BMM_PUBLIC_URL: 'http://mcp.example.com' }, 'BMM_PUBLIC_URL'],
    ['a public URL with a path', { BMM_PUBLIC_URL: 'https://mcp.example.com/' }, 'BMM_PUBLIC_URL'],
    ['no public URL', { BMM_PUBLIC_URL: undefined }, 'BMM_PUBLIC_URL'],
    [
      'a key in the environment of production',
      { BMM_AUTH_KEK: `base64:${'QUFB'.repeat(10)}QUE=` },
      'BMM_AUTH_KEK',
    ],
  ])('refuses %s', (_, changes, name) => {
    expect(fault(changes)).toContain(name)
  })

  test('refuses keys that are none', () => {
    expect(fault({ BMM_AUTH_KEK: join(folder, 'zero') })).toContain('placeholder')
    expect(fault({ BMM_AUTH_KEK: join(folder, 'short') })).toContain('32 bytes')
    expect(fault({ BMM_AUTH_KEK: join(folder, 'missing') })).toContain('BMM_AUTH_KEK')
    expect(fault({ BMM_USER_TOKEN_KEY: join(folder, 'kek') })).toContain('BMM_USER_TOKEN_KEY')
  })

  test('names every fault at once and no value', () => {
    const text = fault({
      BMM_PUBLIC_URL: 'http://secret-host.example',
      BMM_SMTP_URL: undefined,
      BMM_REDIS_URL: undefined,
    })
    for (const name of ['BMM_PUBLIC_URL', 'BMM_SMTP_URL', 'BMM_REDIS_URL']) {
      expect(text).toContain(name)
    }
    expect(text).not.toContain('secret-host')
  })
})
