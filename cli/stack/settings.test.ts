import { afterAll, beforeAll, expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CommandFault } from '../fault.ts'
import { givenSettings, stackOptions } from './options.ts'
import { findSettings, openSettings } from './settings.ts'

const own = { postgres: 'embedded', redis: 'own' } as const
let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'bmm-settings-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

function faultOf(work: () => unknown): CommandFault {
  try {
    work()
  } catch (error) {
    if (error instanceof CommandFault) return error
    throw error
  }
  throw new Error('nothing was refused')
}

test('the port of the first start stays', () => {
  const data = mkdtempSync(join(folder, 'stays-'))
  const { port } = openSettings(data, 0, own)
  expect(port).toBeGreaterThan(1023)
  expect(openSettings(data, undefined, own).port).toBe(port)
  expect(openSettings(data, 0, own).port).toBe(port)
  expect(openSettings(data, port, own).port).toBe(port)
})

test('the gRPC port is another one, stays too, and is chosen for data that had none', () => {
  const data = mkdtempSync(join(folder, 'grpc-'))
  const { port, grpcPort } = openSettings(data, 0, own)
  expect([grpcPort > 1023, grpcPort === port]).toEqual([true, false])
  expect(openSettings(data, undefined, own)).toEqual({ ...own, port, grpcPort })
  writeFileSync(join(data, 'config.json'), JSON.stringify({ port, ...own }))
  const chosen = openSettings(data, undefined, own)
  expect([chosen.port, chosen.grpcPort > 1023]).toEqual([port, true])
  expect(openSettings(data, undefined, own)).toEqual(chosen)
})

test('another port for the same data is refused with the reason', () => {
  const data = mkdtempSync(join(folder, 'other-'))
  const { port } = openSettings(data, 0, own)
  const fault = faultOf(() => openSettings(data, port === 9000 ? 9001 : 9000, own))
  expect([fault.code, fault.exitCode]).toEqual(['port_fixed', 1])
  expect(fault.message).toContain(String(port))
})

test.each(['127.0.0.1', '::1'])('a port that is taken on %s is not chosen', (hostname) => {
  const data = mkdtempSync(join(folder, 'taken-'))
  const listener = Bun.listen({ hostname, port: 0, socket: { data() {} } })
  try {
    expect(faultOf(() => openSettings(data, listener.port, own)).code).toBe('port_taken')
    expect(findSettings(data)).toBeUndefined()
  } finally {
    listener.stop(true)
  }
})

test('a port belongs to its data, even while nothing listens', () => {
  const first = mkdtempSync(join(folder, 'first-'))
  const second = mkdtempSync(join(folder, 'second-'))
  const { port } = openSettings(first, 0, own)
  expect(faultOf(() => openSettings(second, port, own)).message).toContain('another stack')
  expect(openSettings(second, undefined, own).port).not.toBe(port)
  rmSync(first, { recursive: true })
  const third = mkdtempSync(join(folder, 'third-'))
  expect(openSettings(third, port, own).port).toBe(port)
})

test('data of the embedded Postgres is not silently left for another one, nor the other way round', () => {
  const data = mkdtempSync(join(folder, 'origin-'))
  openSettings(data, 0, own)
  const fault = faultOf(() => openSettings(data, undefined, { ...own, postgres: 'external' }))
  expect(fault.message).toContain('DATABASE_URL')
})

test('settings that somebody broke are named', () => {
  const data = mkdtempSync(join(folder, 'broken-'))
  writeFileSync(join(data, 'config.json'), '{"port":"many"}')
  expect(faultOf(() => findSettings(data)).code).toBe('settings_broken')
})

test.each([
  [{ BMM_ENV: 'staging' }, /BMM_ENV/],
  [{ RUNNER_DRIVER: 'podman' }, /neither bwrap nor docker/],
  [{ RUNNER_DRIVER: 'docker', DOCKER_HOST: 'tcp://10.0.0.1:2375' }, /engine of this machine/],
  [{ BMM_DOCKER_RUNTIME: 'runsc --debug' }, /name of a runtime/],
  [{ BMM_DOCKER_RUNTIME: 'runsc' }, /set RUNNER_DRIVER=docker/],
  [{ BMM_DOCKER_RUNTIME: 'runsc', RUNNER_DRIVER: 'bwrap' }, /set RUNNER_DRIVER=docker/],
  [{ BMM_PUBLIC_URL: 'http://example.com' }, /https/],
  [{ BMM_PUBLIC_URL: 'https://example.com/path' }, /without a path/],
  [{ DATABASE_URL: 'mysql://user:canary@host/x' }, /^DATABASE_URL must be (?!.*canary)/],
  [{ DATABASE_URL: 'nonsense' }, /DATABASE_URL must be an address/],
  [{ DATABASE_URL: 'postgres://u:canary@host/x' }, /^DATABASE_URL leads to another (?!.*canary)/],
  [{ REDIS_URL: 'redis://:canary@host/one' }, /^REDIS_URL must end with (?!.*canary)/],
  [{ REDIS_URL: 'http://host' }, /REDIS_URL must be an address/],
  [{ REDIS_URL: 'nonsense' }, /REDIS_URL must be an address/],
  [{ BMM_METRICS_ADDRESS: '9464' }, /BMM_METRICS_ADDRESS must be one address/],
  [{ BMM_METRICS_ADDRESS: 'localhost:9464' }, /such as 127.0.0.1:9464/],
  [{ BMM_ENV: 'production', BMM_SMTP_URL: 'smtp://a' }, /needs BMM_SMTP_URL and BMM_MAIL_FROM/],
])('an environment that cannot be meant is refused: %p', (env, sentence) => {
  const fault = faultOf(() => stackOptions({ data: folder, port: undefined }, env))
  expect(fault.exitCode).toBe(2)
  expect(fault.message).toMatch(sentence)
})

test('only the named variables of the operator reach a service', () => {
  const options = stackOptions(
    { data: folder, port: undefined },
    {
      ...{ BMM_LOG_LEVEL: 'debug', AWS_SECRET_ACCESS_KEY: 'x', DATABASE_URL: '' },
      BMM_METRICS_ADDRESS: '[::1]:9464',
    },
  )
  expect(options.passed).toEqual({ BMM_LOG_LEVEL: 'debug', BMM_METRICS_ADDRESS: '[::1]:9464' })
  expect(options.databaseUrl).toBeUndefined()
})

test('of an environment the settings that only a start reads are named', () => {
  const env = { BMM_ORG_CORES: '1', BMM_LOG_LEVEL: '', BMM_TOKEN: 'x', SSL_CERT_FILE: '/ca.pem' }
  expect(givenSettings(env)).toEqual(['BMM_ORG_CORES'])
})

test('the engine of the sandboxes is the one that docker itself would use, if it is on this machine', () => {
  const wish = (env: Record<string, string>) =>
    stackOptions({ data: folder, port: undefined }, env).sandboxes
  expect(wish({})).toEqual({ dockerSocket: '/var/run/docker.sock' })
  expect(wish({ RUNNER_DRIVER: '', DOCKER_HOST: 'tcp://10.0.0.1:2375' })).toEqual(wish({}))
  const env = {
    RUNNER_DRIVER: 'docker',
    DOCKER_HOST: 'unix:///run/e.sock',
    BMM_DOCKER_RUNTIME: 'runsc',
  }
  expect(wish(env)).toEqual({
    driver: 'docker',
    dockerSocket: '/run/e.sock',
    dockerRuntime: 'runsc',
  })
})
