/** The door for gRPC: HTTP/2 without TLS on both loopback addresses, with bounds on what connections may hold. */
import {
  createServer,
  type Http2Server,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type Http2Session,
  constants as http2,
} from 'node:http2'
import type { AddressInfo } from 'node:net'
import { errorFrom } from '@bmm/lib/errors'
import { type ListenAddress, listenAddresses, listenFault } from '@bmm/lib/listen-addresses'
import type { Log } from '@bmm/lib/log'

export type GrpcLimits = {
  connections: number
  connectionsPerPeer: number
  streamsPerConnection: number
  /** A connection that never carried a call is closed after this time. */
  firstCallMs: number
  /** One that carries none now is closed after this one. */
  idleMs: number
  /** Each request must be there whole within this time. */
  requestMs: number
  /** Streams that a connection may break off at once; each of them cost work that nobody pays back. */
  resets: number
  /** So many of them are forgotten again in a second. */
  resetsPerSecond: number
}

const defaultLimits: GrpcLimits = {
  connections: 512,
  connectionsPerPeer: 64,
  streamsPerConnection: 100,
  firstCallMs: 20_000,
  idleMs: 5 * 60_000,
  requestMs: 60_000,
  resets: 200,
  resetsPerSecond: 20,
}

/** All header fields of a request together; a token is 53 characters. */
const MAX_HEADER_BYTES = 16 * 1024
const MAX_HEADER_PAIRS = 64
const STOP_PATIENCE_MS = 3_000

export type GrpcHandler = (request: Http2ServerRequest, response: Http2ServerResponse) => void

export type GrpcPortOptions = {
  handler: GrpcHandler
  /** 0 for any free one. */
  port: number
  log: Log
  /** Peers whose connections are many because they carry other people's. */
  isProxy: (address: string) => boolean
  limits?: Partial<GrpcLimits>
  addresses?: readonly ListenAddress[]
}

export type GrpcPort = {
  port: number
  /** Lets calls under way finish for a moment, after `onDrainEnd` ends them. */
  stop(onDrainEnd: () => void): Promise<void>
}

type Connection = {
  peer: string
  calls: number
  /** Streams broken off, as far as they are not forgotten, and when that was. */
  resets: number
  resetAt: number
  timer: ReturnType<typeof setTimeout> | undefined
  end(): void
}

type Connections = Map<Http2Session, Connection>

/** Listens on one address at least, and on every named one; throws where it cannot. */
export async function openGrpcPort(options: GrpcPortOptions): Promise<GrpcPort> {
  const { log, addresses = listenAddresses() } = options
  const limits = { ...defaultLimits, ...options.limits }
  const connections: Connections = new Map()
  const servers: Http2Server[] = []
  let port = options.port
  for (const [at, { hostname, isNamed }] of addresses.entries()) {
    const server = makeServer(options, limits, connections)
    try {
      port = await listening(server, hostname, port)
      servers.push(server)
    } catch (thrown) {
      const fault = errorFrom(thrown).message
      if (isNamed) throw new Error(listenFault(hostname, port, fault), { cause: thrown })
      if (servers.length === 0 && at === addresses.length - 1) throw thrown
      log.info({ hostname, fault }, 'this machine has no such address')
    }
  }
  log.info({ port, addresses: servers.length }, 'listening for gRPC')
  return {
    port,
    async stop(onDrainEnd) {
      for (const server of servers) server.close()
      for (const session of connections.keys()) session.close()
      const end = performance.now() + STOP_PATIENCE_MS
      while (callsOf(connections) > 0 && performance.now() < end) await Bun.sleep(20)
      if (callsOf(connections) > 0) {
        onDrainEnd()
        await Bun.sleep(STOP_PATIENCE_MS / 10)
      }
      for (const connection of connections.values()) connection.end()
    },
  }
}

function makeServer(
  options: GrpcPortOptions,
  limits: GrpcLimits,
  connections: Connections,
): Http2Server {
  const server = createServer({
    maxHeaderListPairs: MAX_HEADER_PAIRS,
    settings: {
      maxConcurrentStreams: limits.streamsPerConnection,
      maxHeaderListSize: MAX_HEADER_BYTES,
      enablePush: false,
    },
  })
  server.on('session', (session) => admit(session, options, limits, connections))
  server.on('request', (request, response) => {
    const { session } = request.stream
    const connection = session === undefined ? undefined : connections.get(session)
    if (session === undefined || connection === undefined) {
      request.stream.close(http2.NGHTTP2_REFUSED_STREAM)
      return
    }
    connection.calls++
    arm(connection, limits)
    const late = setTimeout(
      () => request.stream.close(http2.NGHTTP2_ENHANCE_YOUR_CALM),
      limits.requestMs,
    )
    request.once('end', () => clearTimeout(late))
    request.stream.once('close', () => {
      clearTimeout(late)
      connection.calls--
      arm(connection, limits)
      if (request.stream.rstCode !== http2.NGHTTP2_NO_ERROR) countReset(connection, options, limits)
      // The adapter waits for `drain` alone: a stream that ends while it is blocked would strand its handler for ever.
      response.emit('drain')
    })
    options.handler(request, response)
  })
  return server
}

/** Counts a new connection, or ends it when there are too many. */
function admit(
  session: Http2Session,
  options: GrpcPortOptions,
  limits: GrpcLimits,
  connections: Connections,
): void {
  const { remoteAddress: peer = '' } = session.socket
  const end = () => session.destroy()
  // What breaks the protocol is over; there is nobody to tell.
  session.on('error', end)
  const ofPeer = [...connections.values()].filter((each) => each.peer === peer).length
  const isFull =
    connections.size >= limits.connections ||
    (ofPeer >= limits.connectionsPerPeer && !options.isProxy(peer))
  if (isFull) {
    options.log.warn({ connections: connections.size }, 'too many gRPC connections')
    end()
    return
  }
  const connection: Connection = {
    ...{ peer, calls: 0, resets: 0, resetAt: performance.now(), end },
    timer: after(limits.firstCallMs, end),
  }
  connections.set(session, connection)
  session.once('close', () => {
    clearTimeout(connection.timer)
    connections.delete(session)
  })
}

/** Ends a connection that opens streams to break them off: the limit of open ones never sees those (CVE-2023-44487). */
function countReset(connection: Connection, { log }: GrpcPortOptions, limits: GrpcLimits): void {
  const now = performance.now()
  const forgotten = ((now - connection.resetAt) / 1_000) * limits.resetsPerSecond
  connection.resets = Math.max(0, connection.resets - forgotten) + 1
  connection.resetAt = now
  if (connection.resets <= limits.resets) return
  connection.resets = Number.NEGATIVE_INFINITY
  log.warn('a gRPC connection broke off too many calls')
  connection.end()
}

/** Starts the idle time when no call is left, and stops it when there is one. */
function arm(connection: Connection, limits: GrpcLimits): void {
  clearTimeout(connection.timer)
  if (connection.calls === 0) connection.timer = after(limits.idleMs, connection.end)
}

function after(ms: number, end: () => void) {
  const timer = setTimeout(end, ms)
  timer.unref()
  return timer
}

function callsOf(connections: ReadonlyMap<unknown, Connection>): number {
  return [...connections.values()].reduce((sum, { calls }) => sum + calls, 0)
}

function listening(server: Http2Server, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ host, port }, () => {
      server.off('error', reject)
      resolve((server.address() as AddressInfo).port)
    })
  })
}
