/** A listener for frames and clients of it, for tests, and the bytes of a frame. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Socket } from 'bun'
import type { FrameConnection, FrameHandlers } from './frame-connection.ts'
import { listenFrames } from './frame-socket.ts'
import { FRAME, type Frame } from './frames.ts'

export const allTypes = Object.values(FRAME)
/** What is undone when a test is over, the latest first. */
export const cleanups: (() => void)[] = []

export function cleanUp(): void {
  for (const cleanup of cleanups.splice(0).reverse()) cleanup()
}

/** A listener that keeps every frame of its one connection. */
export function server(handlers: Partial<FrameHandlers> = {}) {
  const dir = mkdtempSync(join(tmpdir(), 'frames-'))
  const unix = join(dir, 's.sock')
  const frames: Frame[] = []
  const connected = Promise.withResolvers<FrameConnection>()
  const listener = listenFrames({
    unix,
    mode: 0o600,
    onConnection: () => ({
      accept: allTypes,
      onFrame: (frame) => void frames.push({ ...frame, payload: frame.payload.slice() }),
      ...handlers,
      onOpen: (connection) => connected.resolve(connection),
    }),
  })
  cleanups.push(() => {
    listener.stop()
    rmSync(dir, { recursive: true })
  })
  return { unix, frames, listener, connected: connected.promise }
}

/** A client without any framing. */
export async function rawClient(unix: string): Promise<Socket> {
  const socket = await Bun.connect({ unix, socket: { data() {} } })
  cleanups.push(() => socket.terminate())
  return socket
}

export function frame(type: number, call: number, payload: Uint8Array | string = ''): Uint8Array {
  const bytes = typeof payload === 'string' ? new TextEncoder().encode(payload) : payload
  const out = new Uint8Array(9 + bytes.length)
  const view = new DataView(out.buffer)
  view.setUint32(0, bytes.length + 5)
  view.setUint8(4, type)
  view.setUint32(5, call)
  out.set(bytes, 9)
  return out
}
