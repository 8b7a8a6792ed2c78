/** The doors of the gateway: loopback and the addresses of BMM_LISTEN on one port, with what every request gets before any route. */
import type { BlockList } from 'node:net'
import { errorFrom } from '@bmm/lib/errors'
import { newId } from '@bmm/lib/ids'
import { type ListenAddress, listenAddresses, listenFault } from '@bmm/lib/listen-addresses'
import type { Log } from '@bmm/lib/log'
import { visitorOf } from '@bmm/lib/visitor'
import type { Server, ServerWebSocket } from 'bun'
import type { Room } from '../limits/room.ts'
import { errorPage } from '../pages/layout.ts'
import { problemResponse } from '../problem.ts'
import type { Arrival, Arrivals, SocketEvents } from './arrival.ts'
import { accepts, announcedBytes } from './body.ts'
import { clientIp, isLoopback, isTrusted } from './client-ip.ts'
import type { UnnamedProxies } from './unnamed-proxies.ts'

/** A connection that says nothing for this long is closed, unless its answer is under way. */
const IDLE_SECONDS = 75
/** Above every limit of a route: OpenAPI documents come as a JSON text. */
const MAX_BODY_BYTES = 72 * 1024 * 1024
/** What a body counts at most: the few routes that take longer ones know from whom before they read. */
const MAX_COUNTED_BYTES = 256 * 1024
const STOP_PATIENCE_MS = 5_000
const SOCKET_IDLE_SECONDS = 120

/** Answers some requests, with all their headers; the app gets the others. */
export type Door = (request: Request, arrival: Arrival) => Promise<Response> | undefined

export type ListenerOptions = {
  door?: Door
  app: { fetch(request: Request): Response | Promise<Response> }
  arrivals: Arrivals
  /** What the bodies of requests to the app may take, by visitor: most routes read them before they know who sends them. */
  bodies: Room
  publicUrl: string
  /** 0 for any free one. */
  port: number
  trusted: BlockList
  unnamed: UnnamedProxies
  log: Log
  addresses?: readonly ListenAddress[]
}

export type Listener = {
  port: number
  /** Lets answers under way finish for a moment, after `onDrainEnd` ends them. */
  stop(onDrainEnd: () => void): Promise<void>
}

/** Listens on one address at least, and on every named one; throws where it cannot. */
export function listen(options: ListenerOptions): Listener {
  const { log, addresses = listenAddresses() } = options
  const servers: Server<SocketEvents>[] = []
  let port = options.port
  for (const [at, { hostname, isNamed }] of addresses.entries()) {
    try {
      const server = serve(options, hostname, port)
      servers.push(server)
      port = server.port ?? port
    } catch (thrown) {
      const fault = errorFrom(thrown).message
      if (isNamed) throw new Error(listenFault(hostname, port, fault), { cause: thrown })
      if (servers.length === 0 && at === addresses.length - 1) throw thrown
      log.info({ hostname, fault }, 'this machine has no such address')
    }
  }
  log.info({ port, hostnames: servers.map((server) => server.hostname) }, 'listening')
  return {
    port,
    async stop(onDrainEnd) {
      const closed = Promise.all(servers.map((server) => server.stop()))
      const drained = await Promise.race([closed.then(() => true), pause(STOP_PATIENCE_MS)])
      if (drained === true) return
      onDrainEnd()
      await Promise.race([closed, pause(STOP_PATIENCE_MS / 5)])
      await Promise.all(servers.map((server) => server.stop(true)))
    },
  }
}

function serve(options: ListenerOptions, hostname: string, port: number): Server<SocketEvents> {
  return Bun.serve<SocketEvents>({
    hostname,
    port,
    idleTimeout: IDLE_SECONDS,
    maxRequestBodySize: MAX_BODY_BYTES,
    development: false,
    fetch: (request, server) => answer(options, request, server),
    error(thrown) {
      options.log.error({ err: thrown }, 'a request failed outside of every route')
      return new Response('internal error', { status: 500 })
    },
    websocket: {
      maxPayloadLength: 1024,
      idleTimeout: SOCKET_IDLE_SECONDS,
      open: (socket: ServerWebSocket<SocketEvents>) =>
        socket.data.open({
          send: (text) => void socket.send(text),
          close: (code, reason) => socket.close(code, reason),
        }),
      message: (socket) => socket.close(1008, 'Nothing is to be sent here.'),
      close: (socket) => socket.data.close(),
    },
  })
}

function answer(
  options: ListenerOptions,
  request: Request,
  server: Server<SocketEvents>,
): Promise<Response | undefined> {
  const arrival = new HttpArrival(options, request, server)
  options.unnamed.see(
    () => arrival.peer,
    (name) => request.headers.get(name),
  )
  const refused = refuseHost(options, request, arrival)
  if (refused !== undefined) return Promise.resolve(withHeaders(refused, arrival))
  const direct = options.door?.(request, arrival)
  if (direct !== undefined) return direct
  const counted = Math.min(announcedBytes(request) ?? MAX_COUNTED_BYTES, MAX_COUNTED_BYTES)
  if (counted > 0) {
    const release = options.bodies.reserve(visitorOf(arrival.clientIp), counted)
    if (release === undefined) {
      return Promise.resolve(withHeaders(tooManyBodies(arrival.requestId), arrival))
    }
    arrival.onAnswered(release)
  }
  options.arrivals.set(request, arrival)
  return Promise.resolve(options.app.fetch(request))
    .then((response) => (arrival.isUpgraded ? undefined : withHeaders(response, arrival)))
    .finally(() => arrival.answered?.())
}

/** Lives as long as its request. */
class HttpArrival implements Arrival {
  readonly requestId = newId('req')
  isUpgraded = false
  answered: (() => void) | undefined

  constructor(
    readonly options: ListenerOptions,
    readonly request: Request,
    readonly server: Server<SocketEvents>,
  ) {}

  get peer(): string {
    return this.server.requestIP(this.request)?.address ?? ''
  }

  get clientIp(): string {
    const { headers } = this.request
    return clientIp(
      this.peer,
      { forwardedFor: headers.get('x-forwarded-for'), forwarded: headers.get('forwarded') },
      this.options.trusted,
    )
  }

  headers(mediaType?: string): Record<string, string> {
    const shared = sharedHeaders(this.options.publicUrl, mediaType)
    return { 'x-request-id': this.requestId, ...shared }
  }

  json(text: string, status: number): Response {
    const isSecure = this.options.publicUrl.startsWith('https:')
    const response = new Response(text, { status, headers: isSecure ? secureJson : plainJson })
    response.headers.set('x-request-id', this.requestId)
    return response
  }

  stayOpen(): () => void {
    this.server.timeout(this.request, 0)
    return () => this.server.timeout(this.request, IDLE_SECONDS)
  }

  onAnswered(act: () => void): void {
    const before = this.answered
    this.answered = () => {
      before?.()
      act()
    }
  }

  upgrade(events: SocketEvents): boolean {
    this.isUpgraded = this.server.upgrade(this.request, { data: events })
    return this.isUpgraded
  }
}

/** Those that every answer of this origin has; its id is not among them. */
function sharedHeaders(publicUrl: string, mediaType?: string): Record<string, string> {
  const headers: Record<string, string> = {
    'x-content-type-options': 'nosniff',
    'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  }
  if (publicUrl.startsWith('https:')) {
    headers['strict-transport-security'] = 'max-age=31536000'
  }
  if (mediaType !== undefined) {
    headers['content-type'] = mediaType
    headers['cache-control'] = 'no-store'
  }
  return headers
}

/** An answer copies them, which costs half of what it takes to make them of an object each time. */
const plainJson = new Headers(sharedHeaders('http:', 'application/json'))
const secureJson = new Headers(sharedHeaders('https:', 'application/json'))

/** Adds what every answer has; a page may have a policy of its own. */
export function withHeaders(response: Response, arrival: Arrival): Response {
  const { headers } = response
  for (const [name, value] of Object.entries(arrival.headers())) {
    if (name !== 'content-security-policy' || !headers.has(name)) headers.set(name, value)
  }
  if (!headers.has('cache-control')) headers.set('cache-control', 'no-store')
  return response
}

/** A page of a rebound name has another Host: it must not read our answers with its own origin (DNS rebinding). */
function refuseHost(
  { publicUrl, trusted }: ListenerOptions,
  request: Request,
  arrival: HttpArrival,
): Response | undefined {
  // The public URL is an origin: what follows the scheme is the host.
  const own = publicUrl.slice(publicUrl.indexOf('//') + 2)
  const host = request.headers.get('host')
  if (host === own || isSameHost(host, own, publicUrl)) return undefined
  // HTTP/1.0 without a Host has no absolute address, which everything behind relies on.
  const address = URL.canParse(request.url) ? new URL(request.url) : undefined
  if (address?.pathname.startsWith('/health/')) return undefined
  const forwarded = request.headers.get('x-forwarded-host')?.split(',') ?? []
  const isRenamed = forwarded.some((each) => isSameHost(each.trim(), own, publicUrl))
  const { peer } = arrival
  const maybeProxy = isLoopback(peer) || isTrusted(peer, trusted)
  // nginx leaves the port out of $host.
  const variable = new URL(publicUrl).port === '' ? '$host' : '$http_host'
  const pass = `must pass the Host header on; in nginx: proxy_set_header Host ${variable};`
  const detail = isRenamed
    ? `The proxy in front of ${publicUrl} sent its own name instead of that host. It ${pass}`
    : maybeProxy
      ? `This address answers for ${publicUrl} only. Use exactly that. If you did, a proxy is in front, and it ${pass}`
      : `This address answers for ${publicUrl} only. Use exactly that.`
  if (request.method === 'GET' && accepts(request, 'text/html')) {
    return errorPage(421, 'Not by this name', detail, {
      next: { href: publicUrl, label: `Go to ${publicUrl}` },
    })
  }
  return problemResponse({ status: 421, code: 'wrong_host', detail }, arrival.requestId)
}

/** RFC 9110 section 4.2.3: a host has no case, and the default port is as good as none. */
function isSameHost(host: string | null, own: string, publicUrl: string): boolean {
  const defaultPort = publicUrl.startsWith('https:') ? /:443$/ : /:80$/
  return host?.toLowerCase().replace(defaultPort, '') === own.toLowerCase()
}

function tooManyBodies(requestId: string): Response {
  const detail = 'Too many bodies are on their way from your network. Send fewer at a time.'
  return problemResponse(
    { status: 429, code: 'too_many_bodies', detail, retryAfterSeconds: 2 },
    requestId,
  )
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds).unref())
}
