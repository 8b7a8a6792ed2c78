import { expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { checkout } from './config.ts'
import { needsEngine } from './test-engine.ts'
import { findTestFiles } from './test-files.ts'

test('an engine is only started for tests that run sandboxes by Docker', () => {
  expect(needsEngine(['cli/output.test.ts', 'tests/tidy.test.ts'])).toBe(false)
  for (const file of [
    'services/runner/sandbox/sandbox.test.ts',
    'services/runner/keeper/docker.test.ts',
    'tests/walk.journey.test.ts',
    'tests/hostile/sandbox.test.ts',
  ]) {
    expect([file, needsEngine(['cli/output.test.ts', file])]).toEqual([file, true])
  }
})

test('no test outside of those places asks for the engine', async () => {
  const asks =
    /from '[^']*(testing-drivers|testing-process)\.ts'|\b(stackDrivers|testDockerSocket)\b/
  const files = await findTestFiles([])
  const asking = files.filter((file) => asks.test(readFileSync(join(checkout, file), 'utf8')))
  expect(asking.length).toBeGreaterThan(5)
  expect(
    asking.filter((file) => !needsEngine([file]) && file !== 'cli/test-engine.test.ts'),
  ).toEqual([])
})
