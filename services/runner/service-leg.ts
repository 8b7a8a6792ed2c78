/** A frame listener for one other service: whoever dials must first prove by a service JWT that it is that service. */
import { errorFrom } from '@bmm/lib/errors'
import type { FrameConnection, FrameHandlers } from '@bmm/lib/frame-connection'
import { type FrameListener, listenFrames } from '@bmm/lib/frame-socket'
import { FRAME, type Frame, FrameFault, type FrameType, parseControl } from '@bmm/lib/frames'
import type { Identity, ServiceName } from '@bmm/lib/identity'
import type { Log } from '@bmm/lib/log'
import { z } from 'zod'

/** Connectable for the owner and the group of the services. */
const SOCKET_MODE = 0o660
const HELLO_DEADLINE_MS = 5_000
/** What may arrive behind the hello while its signature is checked. */
const MAX_EARLY_FRAMES = 1_000
const MAX_EARLY_BYTES = 4 * 1024 * 1024

const helloSchema = z.strictObject({ jwt: z.string().max(4_096) })

/** What the leg does with a peer that has proved itself. */
export type Peer = {
  onFrame(frame: Frame): void
  onEnd(reason: string): void
}

export type ServiceLegOptions = {
  socket: string
  identity: Identity
  /** The only service that may dial. */
  from: ServiceName
  /** The `mtd` claim of its JWT. */
  method: string
  accept: readonly FrameType[]
  maxConnections: number
  queueLimitBytes?: number
  log: Log
  onPeer(connection: FrameConnection): Peer
}

export type ServiceLeg = {
  /** Stops listening and ends all connections. */
  stop(reason: string): void
}

export function listenForService(options: ServiceLegOptions): ServiceLeg {
  const connections = new Set<FrameConnection>()
  const listener: FrameListener = listenFrames({
    unix: options.socket,
    mode: SOCKET_MODE,
    onConnection() {
      if (connections.size >= options.maxConnections) {
        options.log.warn({ socket: options.socket }, 'too many connections: one was refused')
        return undefined
      }
      return handlersOf(options, connections)
    },
  })
  return {
    stop(reason) {
      listener.stop()
      for (const connection of [...connections]) connection.end(reason)
    },
  }
}

function handlersOf(options: ServiceLegOptions, connections: Set<FrameConnection>): FrameHandlers {
  const { log, from } = options
  let state: 'silent' | 'checking' | 'known' = 'silent'
  let peer: Peer | undefined
  const early: Frame[] = []
  let earlyBytes = 0
  let deadline: ReturnType<typeof setTimeout> | undefined

  async function check(jwt: string, connection: FrameConnection) {
    try {
      const service = await options.identity.verify(jwt, options.method, { once: true })
      if (service !== from) throw new FrameFault(`the service ${service} may not dial this socket`)
    } catch (error) {
      return connection.end(`the hello was refused: ${errorFrom(error).message}`)
    }
    if (connection.ended) return
    clearTimeout(deadline)
    state = 'known'
    peer = options.onPeer(connection)
    try {
      for (const frame of early.splice(0)) if (!connection.ended) peer.onFrame(frame)
    } catch (error) {
      connection.end(errorFrom(error).message)
    }
  }

  return {
    accept: [FRAME.HELLO, ...options.accept],
    ...(options.queueLimitBytes === undefined ? {} : { queueLimitBytes: options.queueLimitBytes }),
    onOpen(connection) {
      connections.add(connection)
      deadline = setTimeout(() => connection.end('no hello came in time'), HELLO_DEADLINE_MS)
    },
    onFrame(frame, connection) {
      if (state === 'known' && peer !== undefined) {
        if (frame.type === FRAME.HELLO) throw new FrameFault('a second hello')
        return peer.onFrame(frame)
      }
      if (state === 'silent') {
        if (frame.type !== FRAME.HELLO) throw new FrameFault('the first frame must be a hello')
        const hello = helloSchema.safeParse(parseControl(frame.payload))
        if (!hello.success) throw new FrameFault('the hello is malformed')
        state = 'checking'
        void check(hello.data.jwt, connection)
        return
      }
      earlyBytes += frame.payload.length
      if (early.length >= MAX_EARLY_FRAMES || earlyBytes > MAX_EARLY_BYTES) {
        throw new FrameFault('too much came before the hello was checked')
      }
      early.push({ ...frame, payload: frame.payload.slice() })
    },
    onEnd(reason, connection) {
      connections.delete(connection)
      clearTimeout(deadline)
      log.info({ from, known: state === 'known' }, `a frame connection ended: ${reason}`)
      peer?.onEnd(reason)
    },
  }
}
