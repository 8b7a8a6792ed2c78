/** Frame connections that are refused, nobody listens for, or have no address. */
import { expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connectFrames, listenFrames } from './frame-socket.ts'
import { outcomeOf } from './testing-outcome.ts'

test('a connection is refused when the listener wants no more, and after it has stopped', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'frames-'))
  const unix = join(dir, 's.sock')
  const listener = listenFrames({ unix, mode: 0o600, onConnection: () => undefined })
  const client = await connectFrames({ unix, accept: [], onFrame() {} })
  await client.closed
  listener.stop()
  expect(await outcomeOf(connectFrames({ unix, accept: [], onFrame() {} }))).toThrow()
  rmSync(dir, { recursive: true })
})

test('listening names a socket path that the kernel would cut', () => {
  const unix = `/tmp/${'x'.repeat(120)}`
  expect(() => listenFrames({ unix, mode: 0o600, onConnection: () => undefined })).toThrow(
    'longer than 107 bytes',
  )
})
