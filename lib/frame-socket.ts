/** Frame connections over unix sockets: one is dialled, many are listened for. */
import { chmodSync, rmSync } from 'node:fs'
import type { Socket } from 'bun'
import {
  type ConnectionSlot,
  FrameConnection,
  type FrameHandlers,
  PEER_ENDED,
} from './frame-connection.ts'

/** sun_path of Linux, without the terminating zero. */
const MAX_SOCKET_PATH = 107

const socketEvents = {
  data: (socket: Socket<ConnectionSlot>, chunk: Uint8Array) =>
    socket.data.connection?.events.data(chunk),
  drain: (socket: Socket<ConnectionSlot>) => socket.data.connection?.events.drain(),
  end: (socket: Socket<ConnectionSlot>) => {
    socket.data.connection?.events.gone(PEER_ENDED)
    socket.terminate()
  },
  close: (socket: Socket<ConnectionSlot>) => socket.data.connection?.events.gone(PEER_ENDED),
  error: (socket: Socket<ConnectionSlot>, error: Error) =>
    socket.data.connection?.end(`the connection failed: ${error.message}`),
}

/** Dials a frame listener. Rejects when nobody listens, or when the listener hangs up at once. */
export async function connectFrames(
  options: FrameHandlers & { unix: string },
): Promise<FrameConnection> {
  checkPath(options.unix)
  const { promise, resolve } = Promise.withResolvers<FrameConnection>()
  await Bun.connect<ConnectionSlot>({
    unix: options.unix,
    data: { connection: undefined },
    socket: {
      ...socketEvents,
      open(socket) {
        const connection = new FrameConnection(socket, options)
        socket.data = { connection }
        resolve(connection)
      },
    },
  })
  return await promise
}

export type FrameListener = {
  /** Stops accepting and removes the socket file; open connections live on. */
  stop(): void
}

/** Listens on a unix socket. `onConnection` answers the handlers of a new connection, or undefined to refuse it.
 * An older socket file at that path is replaced. */
export function listenFrames(options: {
  unix: string
  /** Mode of the socket file; until it is set only its owner can connect. */
  mode: number
  onConnection(): FrameHandlers | undefined
}): FrameListener {
  checkPath(options.unix)
  rmSync(options.unix, { force: true })
  const server = Bun.listen<ConnectionSlot>({
    unix: options.unix,
    data: { connection: undefined },
    socket: {
      ...socketEvents,
      open(socket) {
        const handlers = options.onConnection()
        if (handlers) socket.data = { connection: new FrameConnection(socket, handlers) }
        else socket.terminate()
      },
    },
  })
  chmodSync(options.unix, options.mode)
  return {
    stop() {
      server.stop()
      rmSync(options.unix, { force: true })
    },
  }
}

function checkPath(path: string): void {
  if (Buffer.byteLength(path) > MAX_SOCKET_PATH) {
    throw new Error(`the socket path ${path} is longer than ${MAX_SOCKET_PATH} bytes`)
  }
}
