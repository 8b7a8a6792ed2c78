import { expect, test } from 'bun:test'
import { needsEngine } from './test-engine.ts'

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
