/** One HTTP request to the outside, by policy: the only way any service reaches an address that a tenant can choose. */
import http from 'node:http'
import https from 'node:https'
import type { LookupFunction } from 'node:net'
import { isIP } from 'node:net'
import { decodeBody } from './egress-body.ts'
import { answerHeaders, type HeaderList, outgoingHeaders } from './egress-headers.ts'
import {
  addressesOf,
  type Destination,
  destinationOf,
  EgressError,
  type EgressPolicy,
} from './egress-policy.ts'
import { type EgressPool, newAgent, trustedContext } from './egress-pool.ts'
import { type Cut, openAnswer } from './egress-stream.ts'
import { errorFrom } from './errors.ts'

export type EgressLimits = {
  /** DNS, and then TCP and TLS together. */
  connectMs: number
  /** From the connection to the answer's head. */
  firstByteMs: number
  /** Everything, from the call of egressFetch to the last byte. */
  totalMs: number
  /** From the call of egressFetch to the end of an answer that `takesStreams` lets end early. */
  streamMs: number
  requestBytes: number
  /** The answer's body, received and decoded alike. */
  answerBytes: number
}

const egressLimits: EgressLimits = {
  connectMs: 5_000,
  firstByteMs: 30_000,
  totalMs: 60_000,
  streamMs: 40_000,
  requestBytes: 8 * 1024 * 1024,
  answerBytes: 8 * 1024 * 1024,
}

export type EgressRequest = {
  policy: EgressPolicy
  method?: string
  headers?: HeaderList
  body?: Uint8Array
  limits?: Partial<EgressLimits>
  signal?: AbortSignal
  /** Kept connections, never shared between two keys; without it each request has a connection of its own. */
  connections?: { pool: EgressPool; key: string }
  /** The request carries a credential that the asker must not learn: no Range. */
  isCredentialed?: boolean
  /** Text that does not end may end with what came until `streamMs` (a stream's type also at `answerBytes`), and says so. */
  takesStreams?: boolean
  /** Asked before each received chunk is kept; false ends the request with `busy`. */
  reserve?: (bytes: number) => boolean
}

export type EgressAnswer = {
  /** 200 to 599. Redirects are answers: each hop is a new request of the asker. */
  status: number
  /** Lower-case names, in the order received, without hop-by-hop headers. */
  headers: [name: string, value: string][]
  /** Decoded when it came compressed. */
  body: Uint8Array
  /** What ended a stream of which the body is the beginning. */
  cut?: Cut
}

/** CONNECT and TRACE are not here on purpose. */
const methods: ReadonlySet<string> = new Set([
  'GET',
  'HEAD',
  'POST',
  'PUT',
  'PATCH',
  'DELETE',
  'OPTIONS',
  'QUERY',
])
const repeatableMethods: ReadonlySet<string> = new Set([
  'GET',
  'HEAD',
  'OPTIONS',
  'PUT',
  'DELETE',
  'QUERY',
])
const bodilessMethods: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'DELETE'])
const MAX_ANSWER_HEADER_BYTES = 32 * 1024
const MAX_ANSWER_HEADERS = 200
const MAX_INTERIM_ANSWERS = 20
const USER_AGENT = 'build-my-mcp/1'

type Exchange = Required<Pick<EgressRequest, 'method' | 'headers' | 'isCredentialed'>> & {
  destination: Destination
  addresses: readonly string[]
  body: Uint8Array | undefined
  limits: EgressLimits
  agent: http.Agent
  reserve: (bytes: number) => boolean
  /** When a stream ends with what came; undefined where that is an error. */
  streamEndsAt: number | undefined
}

/** Carries out one request. Throws EgressError for every refusal and failure, and nothing else. */
export async function egressFetch(
  url: string | URL,
  request: EgressRequest,
): Promise<EgressAnswer> {
  const startedAt = performance.now()
  const limits = { ...egressLimits, ...request.limits }
  const method = (request.method ?? 'GET').toUpperCase()
  const destination = destinationOf(url, request.policy)
  const { host } = destination
  if (!methods.has(method)) {
    throw new EgressError('method_refused', `The method is not allowed (${host}).`, host)
  }
  if ((request.body?.length ?? 0) > limits.requestBytes) {
    const message = `A request to ${host} may have ${limits.requestBytes} bytes at most.`
    throw new EgressError('request_too_large', message, host)
  }
  const isCredentialed = request.isCredentialed ?? false
  // Checked before DNS: a refusal needs no network.
  outgoingHeaders(request.headers ?? [], { host, isCredentialed })
  const stop = new AbortController()
  const timer = setTimeout(
    () => stop.abort(timeoutError(destination, limits.totalMs)),
    limits.totalMs,
  )
  const onCancel = () =>
    stop.abort(new EgressError('cancelled', 'The request was cancelled.', host))
  request.signal?.addEventListener('abort', onCancel)
  if (request.signal?.aborted) onCancel()
  try {
    const addresses = await bounded(addressesOf(destination, request.policy), destination, {
      signal: stop.signal,
      limitMs: limits.connectMs,
    })
    const exchange: Exchange = {
      destination,
      addresses,
      method,
      headers: request.headers ?? [],
      body: request.body,
      isCredentialed,
      limits,
      agent: agentOf(request, destination, addresses),
      reserve: request.reserve ?? (() => true),
      streamEndsAt: request.takesStreams ? startedAt + limits.streamMs : undefined,
    }
    return await exchanged(exchange, stop.signal)
  } finally {
    clearTimeout(timer)
    request.signal?.removeEventListener('abort', onCancel)
  }
}

function agentOf(
  { connections }: EgressRequest,
  { url, isTarget }: Destination,
  addresses: readonly string[],
): http.Agent {
  const isTls = url.protocol === 'https:'
  if (connections === undefined) return newAgent(isTls, trustedContext, false)
  const place = `${url.origin} ${isTarget} ${[...addresses].sort().join(',')}`
  return connections.pool.agentFor(connections.key, place, isTls)
}

/** One exchange, and once more when a kept connection turns out to be closed and the method may be repeated. */
async function exchanged(exchange: Exchange, signal: AbortSignal): Promise<EgressAnswer> {
  const first = await exchangeOnce(exchange, signal)
  const settled = first === 'stale' ? await exchangeOnce(exchange, signal) : first
  const { host } = exchange.destination
  if (settled === 'stale') {
    throw new EgressError('connect_failed', `${host} closed the connection.`, host)
  }
  return settled
}

function exchangeOnce(exchange: Exchange, signal: AbortSignal): Promise<EgressAnswer | 'stale'> {
  const { destination, limits, method } = exchange
  const { host, url } = destination
  const { promise, resolve, reject } = Promise.withResolvers<EgressAnswer | 'stale'>()
  const send = url.protocol === 'https:' ? https.request : http.request
  const outgoing = opened(() => send(requestOptions(exchange)), destination)
  const fail = (error: unknown) => {
    reject(error)
    outgoing.destroy()
  }
  const onAbort = () => fail(signal.reason)
  signal.addEventListener('abort', onAbort)
  let timer: ReturnType<typeof setTimeout> | undefined
  const arm = (limitMs: number) => {
    clearTimeout(timer)
    timer = setTimeout(() => fail(timeoutError(destination, limitMs)), limitMs)
  }
  let interim = 0
  outgoing.on('socket', (socket) => {
    if (outgoing.reusedSocket) return arm(limits.firstByteMs)
    arm(limits.connectMs)
    const ready = url.protocol === 'https:' ? 'secureConnect' : 'connect'
    socket.once(ready, () => arm(limits.firstByteMs))
  })
  outgoing.on('information', () => {
    if (++interim > MAX_INTERIM_ANSWERS) fail(invalidAnswer(host, 'sends interim answers only'))
  })
  outgoing.on('upgrade', (_response, socket) => {
    socket.destroy()
    fail(invalidAnswer(host, 'switched protocols'))
  })
  outgoing.on('response', (response) => {
    clearTimeout(timer)
    collect(response, exchange, fail, resolve)
  })
  outgoing.on('error', (error) => {
    const isStale = outgoing.reusedSocket && isReset(error) && repeatableMethods.has(method)
    if (isStale) resolve('stale')
    else reject(failureOf(error, destination))
  })
  if (signal.aborted) onAbort()
  outgoing.end(exchange.body)
  return promise.finally(() => {
    clearTimeout(timer)
    signal.removeEventListener('abort', onAbort)
  })
}

/** What the runtime refuses to send is thrown at once, as the same kind of error as everything else. */
function opened<T>(open: () => T, destination: Destination): T {
  try {
    return open()
  } catch (error) {
    throw failureOf(error, destination)
  }
}

function requestOptions(exchange: Exchange): https.RequestOptions {
  const { destination, addresses, body, method, isCredentialed, agent } = exchange
  const { host, port, url } = destination
  const headers = outgoingHeaders(exchange.headers, { host, isCredentialed })
  headers.set('host', [url.host])
  headers.set('accept-encoding', ['identity'])
  if (!headers.has('user-agent')) headers.set('user-agent', [USER_AGENT])
  if (!headers.has('accept')) headers.set('accept', ['*/*'])
  if (body !== undefined || !bodilessMethods.has(method)) {
    headers.set('content-length', [String(body?.length ?? 0)])
  }
  const isLiteral = isIP(host) !== 0
  return {
    method,
    host,
    port,
    path: `${url.pathname}${url.search}`,
    headers: Object.fromEntries(
      [...headers].map(([name, values]) => [name, values.length === 1 ? values[0] : values]),
    ),
    agent,
    maxHeaderSize: MAX_ANSWER_HEADER_BYTES,
    lookup: pinnedLookup(addresses),
    ...(isLiteral ? {} : { servername: host }),
  }
}

/** Answers every question with the addresses that were checked; whoever asks, DNS is not asked again. */
function pinnedLookup(addresses: readonly string[]): LookupFunction {
  const answers = addresses.map((address) => ({ address, family: isIP(address) }))
  return (_host, options, callback) => {
    const [first] = answers
    if (options.all) callback(null, answers)
    else if (first === undefined) callback(new Error('no address'), '')
    else callback(null, first.address, first.family)
  }
}

/** Keeps the body under the limits; every way out ends in `fail` or `resolve`. */
function collect(
  response: http.IncomingMessage,
  exchange: Exchange,
  fail: (error: unknown) => void,
  resolve: (answer: EgressAnswer) => void,
): void {
  const { answerBytes } = exchange.limits
  const { method, reserve } = exchange
  const { host } = exchange.destination
  const status = response.statusCode ?? 0
  const headers = pairsOf(response.rawHeaders)
  const coding = response.headers['content-encoding']
  const chunks: Uint8Array[] = []
  let bytes = 0
  const keep = (chunk: Uint8Array) => {
    bytes += chunk.length
    if (bytes > answerBytes) {
      if (stream?.cut === undefined) fail(tooLarge(host, answerBytes))
      else stream.cut('size')
    } else if (reserve(chunk.length)) chunks.push(chunk)
    else fail(new EgressError('busy', `Too many answers are under way (${host}).`, host))
  }
  const finish = async () => {
    if (!response.complete) throw invalidAnswer(host, 'ended its answer early')
    const body = await decodeBody(Buffer.concat(chunks), coding, answerBytes, host)
    const isDecoded = coding !== undefined
    resolve({ status, headers: answerHeaders(headers, { isDecoded, method }), body })
  }
  const stream = openAnswer(response, exchange.streamEndsAt, (cut) => {
    const body = Buffer.concat(chunks)
    resolve({ status, headers: answerHeaders(headers, { isDecoded: false, method }), body, cut })
    response.destroy()
  })
  const endedEarly = () => fail(invalidAnswer(host, 'ended its answer early'))
  response.on('aborted', endedEarly)
  response.on('error', endedEarly)
  response.on('close', () => stream?.forget())
  const announced = method === 'HEAD' ? 0 : Number(response.headers['content-length'] ?? 0)
  if (status < 200 || status > 599 || headers.length > MAX_ANSWER_HEADERS) {
    fail(invalidAnswer(host, 'sent a malformed answer'))
  } else if (announced > answerBytes) {
    fail(tooLarge(host, answerBytes))
  } else {
    response.on('data', keep)
    response.on('end', () => finish().catch(fail))
  }
}

function pairsOf(raw: readonly string[]): [string, string][] {
  const pairs: [string, string][] = []
  for (let at = 0; at + 1 < raw.length; at += 2) pairs.push([raw[at] ?? '', raw[at + 1] ?? ''])
  return pairs
}

/** The promise, or the abort reason, or a timeout, whichever comes first. */
function bounded<T>(
  promise: Promise<T>,
  destination: Destination,
  { signal, limitMs }: { signal: AbortSignal; limitMs: number },
): Promise<T> {
  const bound = Promise.withResolvers<T>()
  const onAbort = () => bound.reject(signal.reason)
  const timer = setTimeout(() => bound.reject(timeoutError(destination, limitMs)), limitMs)
  signal.addEventListener('abort', onAbort)
  if (signal.aborted) onAbort()
  promise.then(bound.resolve, bound.reject)
  return bound.promise.finally(() => {
    clearTimeout(timer)
    signal.removeEventListener('abort', onAbort)
  })
}

function timeoutError({ host }: Destination, limitMs: number): EgressError {
  return new EgressError('timeout', `${host} did not answer within ${limitMs / 1_000} s.`, host)
}

function tooLarge(host: string, limitBytes: number): EgressError {
  const message = `The answer of ${host} is larger than ${limitBytes} bytes.`
  return new EgressError('answer_too_large', message, host)
}

function invalidAnswer(host: string, what: string): EgressError {
  return new EgressError('answer_invalid', `${host} ${what}.`, host)
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : ''
}

function isReset(error: unknown): boolean {
  return ['ECONNRESET', 'EPIPE'].includes(codeOf(error))
}

const tlsCodes =
  /^(ERR_TLS|ERR_SSL|CERT_|UNABLE_TO_|DEPTH_ZERO|SELF_SIGNED|HOSTNAME_MISMATCH|EPROTO)/

/** Never the runtime's own message: it may quote what was sent. */
function failureOf(thrown: unknown, { host, port }: Destination): EgressError {
  const error = errorFrom(thrown)
  if (error instanceof EgressError) return error
  const code = codeOf(error)
  if (tlsCodes.test(code)) {
    return new EgressError('tls_failed', `The certificate of ${host} is not good (${code}).`, host)
  }
  if (code.startsWith('HPE_')) return invalidAnswer(host, `sent a malformed answer (${code})`)
  if (isReset(error)) return invalidAnswer(host, 'closed the connection without an answer')
  return new EgressError(
    'connect_failed',
    `No connection to ${host} at port ${port}${code === '' ? '' : ` (${code})`}.`,
    host,
  )
}
