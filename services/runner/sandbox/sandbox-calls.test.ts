/** What a sandbox may say about its calls: what goes on to the gateway fits there, anything else ends the sandbox. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { failedSchema } from '@bmm/lib/call-frames'
import type { FrameConnection } from '@bmm/lib/frame-connection'
import { connectFrames, type FrameListener, listenFrames } from '@bmm/lib/frame-socket'
import { FRAME, FrameFault } from '@bmm/lib/frames'
import { createSandboxCalls } from './sandbox-calls.ts'

const folder = mkdtempSync(join(tmpdir(), 'bmm-calls-'))
let listener: FrameListener
let connection: FrameConnection

beforeAll(async () => {
  const unix = join(folder, 'c.sock')
  const onConnection = () => ({ accept: [FRAME.CALL], onFrame() {} })
  listener = listenFrames({ unix, mode: 0o600, onConnection })
  connection = await connectFrames({ unix, accept: [], onFrame() {} })
})
afterAll(() => {
  connection.end('the test is over')
  listener.stop()
  rmSync(folder, { recursive: true })
})

/** The failure that reaches the gateway when the sandbox sends this one. */
function failedWith(message: string): unknown {
  const calls = createSandboxCalls({
    graceMs: 1_000,
    connection: () => connection,
    overdue: () => {},
  })
  let failure: unknown
  const call = calls.start({ tool: 'run', timeoutMs: 1_000 }, new Uint8Array(), {
    ...{ part() {}, end() {}, progress() {}, log() {} },
    fail: (code, text) => {
      failure = { code, message: text }
    },
  })
  const payload = new TextEncoder().encode(JSON.stringify({ code: 'sandbox_failed', message }))
  try {
    calls.onFrame({ type: FRAME.FAILED, call, payload })
    return failure
  } finally {
    calls.failAll('the test is over')
  }
}

test('a failure that the sandbox may send is one that the gateway takes', () => {
  expect(failedSchema.safeParse(failedWith('x'.repeat(4_096))).success).toBe(true)
})

test('a longer one is a fault of the sandbox, and goes nowhere', () => {
  expect(() => failedWith('x'.repeat(4_097))).toThrow(FrameFault)
})
