/** The hot path: one MCP endpoint a server, both eras on one URL, from the token to the answer. */
import type { Deadlines } from '@bmm/lib/deadlines'
import { errorFrom } from '@bmm/lib/errors'
import type { Log } from '@bmm/lib/log'
import type { Tally } from '@bmm/lib/metrics'
import { visitorOf } from '@bmm/lib/visitor'
import { resourceMetadataUrl, slugPattern } from '@bmm/spec/resource-url'
import { CALL_SCOPE } from '@bmm/spec/scope'
import { mayUse } from '@bmm/spec/statement'
import type { AccessClaims, AccessTokens } from '../access/access-token.ts'
import type { Revocations, Standing } from '../access/revocation.ts'
import type { Arrival } from '../arrival/arrival.ts'
import {
  accepts,
  announcedBytes,
  BodyFault,
  type BodyRules,
  readBody,
  tooManyBodies,
} from '../arrival/body.ts'
import { JsonFault, parseJson } from '../arrival/json-text.ts'
import { withHeaders } from '../arrival/listener.ts'
import type { Listeners } from '../arrival/listeners.ts'
import { answerBug } from '../edge.ts'
import type { FairTurns } from '../limits/fair-turns.ts'
import type { InFlight } from '../limits/in-flight.ts'
import type { RateLimiter } from '../limits/rate-limit.ts'
import type { Room } from '../limits/room.ts'
import type { RunnerLink } from '../runner-link.ts'
import type { Listings } from '../serving/listing.ts'
import type { Served, Servings } from '../serving/serving.ts'
import type { CallTracing } from './call-span.ts'
import { CODE, faultText } from './message.ts'
import { answerPost } from './post.ts'
import { json } from './reply.ts'
import type { UnreadAnswers } from './unread-answers.ts'

const MAX_BODY_BYTES = 1024 * 1024
/** A message with so much in it takes as long as a small one does in all. */
const VALUES_A_SHARE = 1_000
const BYTES_A_SHARE = 64 * 1024

export type McpOptions = {
  publicUrl: string
  servings: Servings
  listings: Listings
  tokens: AccessTokens
  revocations: Revocations
  runner: RunnerLink
  inFlight: InFlight
  turns: FairTurns
  deadlines: Deadlines
  unread: UnreadAnswers
  /** What bodies on their way may take: those of persons, and of visitors of whom nobody knows yet who they are. */
  bodies: { people: Room; visitors: Room }
  listeners: Listeners
  /** Attempts without a good token, and questions for unknown servers, by visitor. */
  strangers: RateLimiter
  /** Refusals by status. */
  refused: Tally
  log: Log
  /** Absent where calls are not traced. */
  tracing?: CallTracing
  callTimeoutMs?: number
}

/** A refusal before any message was looked at. */
class Refusal extends Error {
  override name = 'Refusal'
  constructor(
    readonly status: number,
    message: string,
    readonly headers: Record<string, string> = {},
    readonly code: number = CODE.REFUSED,
  ) {
    super(message)
  }
}

/** Answers a request to `/s/{slug}/mcp`. */
export async function serveMcp(
  options: McpOptions,
  request: Request,
  slug: string,
  arrival: Arrival,
): Promise<Response> {
  const { bodies } = options
  let arrived: (() => void) | undefined
  try {
    checkRequest(request, options.publicUrl, slug)
    const bytes = announcedBytes(request)
    const live = liveServer(options, slug, arrival)
    const served = live instanceof Promise ? await unknownYet(live, bytes, bodies, arrival) : live
    const permitted = authorize(options, request, served, arrival)
    const claims =
      permitted instanceof Promise ? await unknownYet(permitted, bytes, bodies, arrival) : permitted
    if (request.method !== 'POST') throw wrongMethod()
    arrived = roomFor(bodies.people, claims.userId, bytes ?? 0)
    if (!options.turns.take(claims.userId)) await turnOf(claims.userId, options.turns)
    const listing = options.listings.get(slug, served.statement)
    const listed =
      listing instanceof Promise ? await listing.catch(noListing(options, slug)) : listing
    const body = await readMessageBody(request, options, claims.userId)
    arrived()
    // The grant may have ended while the body arrived; from here to the running call nothing waits.
    if (options.revocations.isRevoked(claims.grantId)) throw badToken(options.publicUrl, slug)
    const answering = answerPost(body, {
      ...{ options, request, arrival, listed, served, claims },
      newestEpoch: () => newestEpoch(options.servings, served.serverId),
      takesEvents: accepts(request, 'text/event-stream'),
    })
    const answer = answering instanceof Promise ? await answering : answering
    const guarded = options.unread.guard(claims.userId, answer)
    if (guarded !== undefined) return guarded
    throw new Refusal(429, 'Too many answers lie here unread. Read them first.', retrySoon)
  } catch (thrown) {
    arrived?.()
    if (!(thrown instanceof Refusal)) {
      return withHeaders(answerBug(options.log, thrown, request, arrival.requestId), arrival)
    }
    options.refused.add(String(thrown.status))
    const { status, code, message, headers } = thrown
    return json(faultText(null, { code, message }), arrival, { status, headers })
  }
}

function turnOf(userId: string, turns: FairTurns): Promise<void> {
  return new Promise((resolve) => turns.later(userId, resolve))
}

/** The epoch to try again with when the runner knows another one; undefined when the server is not live any more. */
async function newestEpoch(servings: Servings, serverId: string): Promise<number | undefined> {
  await servings.hint()
  const served = servings.knownServer(serverId)
  return served?.state === 'live' ? served.epoch : undefined
}

const retrySoon = { 'retry-after': '2' }

/** Some clients look for the challenge by HEAD or GET before they post anything. */
const methodsLookedAt: ReadonlySet<string> = new Set(['POST', 'GET', 'HEAD'])

function wrongMethod(): Refusal {
  return new Refusal(405, 'This endpoint takes POST only.', { allow: 'POST' })
}

function checkRequest(request: Request, publicUrl: string, slug: string): void {
  if (!methodsLookedAt.has(request.method)) throw wrongMethod()
  const origin = request.headers.get('origin')
  if (origin !== null && origin !== publicUrl) {
    throw new Refusal(403, 'Requests from pages of another origin are refused.')
  }
  const { url } = request
  if (url.includes('?') && new URL(url).searchParams.has('access_token')) {
    throw new Refusal(
      400,
      'A token goes into the Authorization header, never into the address.',
      challenge(publicUrl, slug, 'invalid_request'),
    )
  }
}

type Live = Extract<Served, { state: 'live' }>

/** At once for a server that is known, as all are that were ever called. */
function liveServer(options: McpOptions, slug: string, arrival: Arrival): Live | Promise<Live> {
  if (!slugPattern.test(slug)) throw unknownServer()
  const served = options.servings.known(slug)
  return served === undefined ? findServer(options, slug, arrival) : liveOnly(served)
}

async function findServer(options: McpOptions, slug: string, arrival: Arrival): Promise<Live> {
  takeStranger(options, arrival, 'look')
  const served = await options.servings.find(slug).catch((thrown: unknown) => {
    options.log.warn({ fault: errorFrom(thrown).message, slug }, 'a server cannot be looked up')
    throw new Refusal(503, 'Servers cannot be looked up right now. Try again.', retrySoon)
  })
  if (served === undefined) {
    takeStranger(options, arrival)
    throw unknownServer()
  }
  return liveOnly(served)
}

function unknownServer(): Refusal {
  return new Refusal(404, 'There is no such server.')
}

function liveOnly(served: Served): Live {
  if (served.state === 'live') return served
  switch (served.reason) {
    case 'paused':
      throw new Refusal(404, 'This server is paused. A member of its organisation can resume it.')
    case 'deleted':
      throw new Refusal(410, 'This server was deleted.')
    case 'takedown':
      throw new Refusal(410, 'This server was taken down by the operator of the platform.')
    default:
      throw new Error(`a stop has an unknown reason: ${served.reason satisfies never}`)
  }
}

function noListing(options: McpOptions, slug: string) {
  return (thrown: unknown): never => {
    options.log.warn({ fault: errorFrom(thrown).message, slug }, 'a spec cannot be had')
    throw new Refusal(503, 'The description of this server cannot be had right now.', retrySoon)
  }
}

/** The claims of a token that is good for this server now. Throws the refusal that says what is missing. */
function authorize(
  options: McpOptions,
  request: Request,
  served: Live,
  arrival: Arrival,
): AccessClaims | Promise<AccessClaims> {
  const header = request.headers.get('authorization') ?? ''
  // RFC 6750 section 3.1: no code for who did not know, or came with another scheme.
  if (!/^Bearer(?: +|$)/i.test(header)) {
    takeStranger(options, arrival)
    throw new Refusal(401, 'This server needs a token.', challenge(options.publicUrl, served.slug))
  }
  const token = header.slice('Bearer'.length).trimStart()
  if (token.startsWith('bmm_')) {
    takeStranger(options, arrival)
    throw badToken(
      options.publicUrl,
      served.slug,
      'A service token does not open an MCP endpoint: it calls tools over gRPC. Programs of people sign in.',
    )
  }
  const claims = options.tokens.verify(token, served.statement.resourceUrl)
  const standing =
    claims === undefined || claims instanceof Promise
      ? undefined
      : options.revocations.standing(claims.grantId)
  if (claims instanceof Promise || standing instanceof Promise) {
    return permitSlowly(options, served, arrival, claims)
  }
  return permit(options, served, arrival, claims, standing)
}

async function permitSlowly(
  options: McpOptions,
  served: Live,
  arrival: Arrival,
  verifying: AccessClaims | undefined | Promise<AccessClaims | undefined>,
): Promise<AccessClaims> {
  const claims = await Promise.resolve(verifying).catch((thrown: unknown) => {
    options.log.warn({ fault: errorFrom(thrown).message }, 'tokens cannot be verified')
    throw new Refusal(503, 'Tokens cannot be verified right now. Try again.', retrySoon)
  })
  const standing = claims && (await options.revocations.standing(claims.grantId))
  return permit(options, served, arrival, claims, standing)
}

/** Throws unless the claims are for this server, stand, have the scope, and the signed access rule includes their person. */
function permit(
  options: McpOptions,
  served: Live,
  arrival: Arrival,
  claims: AccessClaims | undefined,
  standing: Standing | undefined,
): AccessClaims {
  const { publicUrl } = options
  if (claims === undefined || claims.serverId !== served.serverId || standing === 'revoked') {
    takeStranger(options, arrival)
    throw badToken(publicUrl, served.slug)
  }
  if (standing !== 'good') {
    throw new Refusal(503, 'Revoked tokens cannot be told apart right now. Try again.', retrySoon)
  }
  if (!claims.scopes.has(CALL_SCOPE)) {
    throw new Refusal(
      403,
      'The token does not permit calling tools.',
      challenge(publicUrl, served.slug, 'insufficient_scope'),
    )
  }
  const { access, orgId } = served.statement
  if (!mayUse(access, orgId, { userId: claims.userId, orgIds: [claims.orgId] })) {
    throw new Refusal(403, 'The access rule of this server does not include you.')
  }
  return claims
}

function badToken(
  publicUrl: string,
  slug: string,
  sentence = 'The token is not valid for this server, or not any more.',
): Refusal {
  return new Refusal(401, sentence, challenge(publicUrl, slug, 'invalid_token'))
}

/** RFC 9728 section 5.1 and RFC 6750 section 3. */
function challenge(publicUrl: string, slug: string, error?: string): Record<string, string> {
  const parts = [
    `resource_metadata="${resourceMetadataUrl(publicUrl, slug)}"`,
    `scope="${CALL_SCOPE}"`,
    ...(error === undefined ? [] : [`error="${error}"`]),
  ]
  return { 'www-authenticate': `Bearer ${parts.join(', ')}` }
}

function takeStranger(options: McpOptions, arrival: Arrival, how?: 'look'): void {
  const wait = options.strangers(visitorOf(arrival.clientIp), how)
  if (wait > 0) {
    throw new Refusal(429, 'Too many attempts. Wait a moment.', { 'retry-after': String(wait) })
  }
}

/** A longer body than may be is refused before it is read. */
function roomFor(room: Room, who: string, bytes: number): () => void {
  const release = room.reserve(who, Math.min(bytes, MAX_BODY_BYTES))
  if (release === undefined) throw refusedBody(tooManyBodies())
  return release
}

/** While it is looked up whose a request is, its body goes on arriving: then it counts for the visitor. */
async function unknownYet<Found>(
  looking: Promise<Found>,
  bytes: number | undefined,
  { visitors }: McpOptions['bodies'],
  { clientIp }: Arrival,
): Promise<Found> {
  // What it finds or throws is of interest below only.
  looking.catch(() => {})
  const release = roomFor(visitors, visitorOf(clientIp), bytes ?? MAX_BODY_BYTES)
  try {
    return await looking
  } finally {
    release()
  }
}

async function readMessageBody(
  request: Request,
  { deadlines, bodies, turns }: McpOptions,
  userId: string,
): Promise<unknown> {
  const mediaType = 'application/json'
  const limitBytes = MAX_BODY_BYTES
  const reserve: BodyRules['reserve'] = (more) => bodies.people.reserve(userId, more)
  try {
    const body = await readBody(request, { mediaType, limitBytes, deadlines, reserve })
    return parseJson(body, {
      numbers: 'exact',
      onCounted(values) {
        const extra = Math.floor(values / VALUES_A_SHARE) + Math.floor(body.length / BYTES_A_SHARE)
        turns.charge(userId, extra)
      },
    })
  } catch (thrown) {
    if (thrown instanceof BodyFault) throw refusedBody(thrown)
    if (!(thrown instanceof JsonFault)) throw thrown
    const unreadable = thrown.kind === 'syntax' || thrown.kind === 'encoding'
    throw new Refusal(400, thrown.message, {}, unreadable ? CODE.PARSE : CODE.INVALID_REQUEST)
  }
}

function refusedBody({ status, message, headers }: BodyFault): Refusal {
  return new Refusal(status, message, headers)
}
