/** The environment: every fault at once, and no address that would carry tokens in clear. */
import { expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ConfigError } from '@bmm/lib/env'
import { configFrom } from './config.ts'

function withFiles(run: (env: Record<string, string>) => void): void {
  const folder = mkdtempSync(join(tmpdir(), 'config-'))
  try {
    for (const name of ['key.pem', 'keys.json']) writeFileSync(join(folder, name), '{}')
    run({
      BMM_ENV: 'development',
      BMM_RPC_DIR: '/run/rpc',
      BMM_SERVICE_KEY: join(folder, 'key.pem'),
      BMM_SERVICE_PUBLIC_KEYS: join(folder, 'keys.json'),
      BMM_REDIS_URL: 'redis://localhost',
      BMM_PUBLIC_URL: 'http://localhost:4000',
      BMM_PORT: '4000',
      BMM_GRPC_PORT: '4001',
    })
  } finally {
    rmSync(folder, { recursive: true })
  }
}

test('a sound environment is read', () => {
  withFiles((env) => {
    expect(configFrom({ ...env, BMM_TRUSTED_PROXIES: '10.0.0.0/8, ::1' })).toMatchObject({
      port: 4000,
      publicUrl: 'http://localhost:4000',
      rpcDir: '/run/rpc',
      metricsAddress: undefined,
    })
    const { metricsAddress } = configFrom({ ...env, BMM_METRICS_ADDRESS: '[::1]:9464' })
    expect(metricsAddress).toEqual({ hostname: '::1', port: 9464 })
    const collector = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:4318/' }
    expect([configFrom(env).tracing, configFrom({ ...env, ...collector }).tracing]).toEqual([
      undefined,
      { url: 'http://127.0.0.1:4318/v1/traces', ratio: 1, headers: {} },
    ])
    const headers = 'X-Key = a%2Cb=c%25, authorization=Basic%20eDp5,'
    expect(
      configFrom({ ...env, ...collector, OTEL_EXPORTER_OTLP_HEADERS: headers }).tracing,
    ).toMatchObject({ headers: { 'x-key': 'a,b=c%', authorization: 'Basic eDp5' } })
  })
})

test('a header for the collector that cannot be sent is refused without its value', () => {
  const hostile = [
    'canary',
    '=canary',
    'x=canary%0D%0Ay: z',
    'x=canary%',
    'x y=canary',
    'x=canaryé',
  ]
  const foreign = ['x=canary,X=canary', 'Content-Type=canary', `x=canary${'y'.repeat(9_000)}`]
  withFiles((env) => {
    for (const headers of [...hostile, ...foreign]) {
      const read = () => configFrom({ ...env, OTEL_EXPORTER_OTLP_HEADERS: headers })
      expect(read).toThrow('OTEL_EXPORTER_OTLP_HEADERS: must be NAME=VALUE')
      expect(read).not.toThrow('canary')
    }
  })
})

test('the folder of development mail is known in development only', () => {
  withFiles((env) => {
    const given = { ...env, BMM_MAILBOX_DIR: '/run/mail' }
    expect(configFrom(given).mailbox).toBe('/run/mail')
    expect(configFrom({ ...given, BMM_ENV: 'production' }).mailbox).toBeUndefined()
  })
})

for (const [name, value] of [
  ['BMM_PUBLIC_URL', 'http://example.com'],
  ['BMM_PUBLIC_URL', 'http://127.0.0.1:4000'],
  ['BMM_PUBLIC_URL', 'https://example.com/'],
  ['BMM_PUBLIC_URL', 'https://example.com/path'],
  ['BMM_PUBLIC_URL', 'nonsense'],
  ['BMM_PORT', '70000'],
  ['BMM_PORT', 'http'],
  ['BMM_GRPC_PORT', '70000'],
  ['BMM_LISTEN', 'localhost'],
  ['BMM_TRUSTED_PROXIES', 'proxy.local'],
  ['BMM_TRUSTED_PROXIES', '10.0.0.0/40'],
  ['BMM_METRICS_ADDRESS', '0.0.0.0:9464'],
  ['BMM_METRICS_ADDRESS', '[::]:9464'],
  ['BMM_METRICS_ADDRESS', '9464'],
  ['BMM_METRICS_ADDRESS', 'localhost:9464'],
  ['BMM_METRICS_ADDRESS', '127.0.0.1:70000'],
  ['OTEL_EXPORTER_OTLP_ENDPOINT', 'collector:4318'],
  ['OTEL_EXPORTER_OTLP_ENDPOINT', 'http://user:password@127.0.0.1:4318'],
  ['OTEL_TRACES_SAMPLER_ARG', '2'],
  ['BMM_TRACE_CLIENTS', 'all'],
  ['BMM_REDIS_URL', ''],
] as const) {
  test(`${name}=${value} is refused by name`, () => {
    withFiles((env) => {
      expect(() => configFrom({ ...env, [name]: value })).toThrow(ConfigError)
      expect(() => configFrom({ ...env, [name]: value })).toThrow(name)
    })
  })
}

test('every fault is listed at once', () => {
  expect(() => configFrom({})).toThrow(/BMM_PUBLIC_URL[\s\S]*BMM_PORT/)
})
