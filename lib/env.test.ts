/** Tests of reading configuration: each fault is told in words, without the value. */
import { expect, test } from 'bun:test'
import { z } from 'zod'
import { CONFIG_FAULT, ConfigError, readEnv, serviceConfig } from './env.ts'

const shape = {
  BMM_SHARE: z.coerce.number().min(0).max(1).optional(),
  BMM_COUNT: z.coerce.number().int().min(1).optional(),
  BMM_LEVEL: z.enum(['low', 'high']).optional(),
  BMM_NAME: z.string(),
}

test.each([
  [{ BMM_SHARE: 'many' }, 'BMM_SHARE: must be a number'],
  [{ BMM_SHARE: '-1' }, 'BMM_SHARE: must be 0 or more'],
  [{ BMM_SHARE: '2' }, 'BMM_SHARE: must be 1 or less'],
  [{ BMM_COUNT: '1.5' }, 'BMM_COUNT: must be a whole number'],
  [{ BMM_LEVEL: 'loud' }, 'BMM_LEVEL: must be one of low, high'],
  [{ BMM_NAME: undefined }, 'BMM_NAME: is not set'],
])('a fault says what the variable should be: %p', (env, sentence) => {
  expect(() => readEnv(shape, { BMM_NAME: 'a', ...env })).toThrow(
    new ConfigError(`The configuration has 1 fault:\n${sentence}`),
  )
})

const service = {
  BMM_ENV: 'production' as const,
  BMM_LOG_LEVEL: 'info' as const,
  BMM_RPC_DIR: '/run',
  BMM_SERVICE_KEY: '/dev/null',
  BMM_SERVICE_PUBLIC_KEYS: '/dev/null',
}

test.each([
  ['BMM_SERVICE_KEY', '/nowhere/canary', 'ENOENT'],
  ['BMM_SERVICE_KEY', 'fd:999', 'EBADF'],
  ['BMM_SERVICE_KEY', '/', 'EISDIR'],
  ['BMM_SERVICE_PUBLIC_KEYS', '/nowhere/canary', 'ENOENT'],
])('a source that cannot be read is told like every other fault: %s=%s', (name, source, code) => {
  expect(() => serviceConfig({ ...service, [name]: source })).toThrow(
    new ConfigError(
      `${CONFIG_FAULT} 1 fault:\n${name}: cannot read its source (${code}); give a readable path or fd:N`,
    ),
  )
})

test('every fault is told at once', () => {
  const both = { BMM_SHARE: 'x', BMM_LEVEL: 'y' }
  expect(() => readEnv(shape, both)).toThrow(/^The configuration has 3 faults:\n.+\n.+\n.+$/)
})
