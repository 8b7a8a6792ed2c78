/** Real sandboxes through a real keeper and bubblewrap: what they answer. Needs root; a missing part is a failure. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { callTool, loadTools, startTestStack, type TestStack } from './keeper/testing.ts'
import type { Sandbox } from './sandbox.ts'

setDefaultTimeout(120_000)
let stack: TestStack
beforeAll(async () => {
  stack = await startTestStack('sandbox')
})
afterAll(async () => {
  await stack.stop()
})

/** A loaded sandbox that is gone when the test is. */
async function withSandbox(
  slot: number,
  tools: Record<string, string>,
  use: (sandbox: Sandbox) => Promise<void>,
  options: Parameters<TestStack['sandbox']>[1] = {},
): Promise<void> {
  const sandbox = await stack.sandbox(slot, options)
  try {
    await loadTools(sandbox, tools)
    await use(sandbox)
  } finally {
    sandbox.stop()
    await sandbox.gone
  }
}

describe('a loaded tool', () => {
  test('answers', async () => {
    await withSandbox(0, { echo: 'async (input) => input.text' }, async (sandbox) => {
      const answer = await callTool(sandbox, 'echo', { text: 'hello ✓' })
      expect(answer.outcome.code).toBe('ok')
      expect(answer.result).toEqual({ content: [{ type: 'text', text: 'hello ✓' }] })
    })
  })
})
