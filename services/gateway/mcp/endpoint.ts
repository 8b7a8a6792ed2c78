/** The hot path: one MCP endpoint a server, both eras on one URL, from the token to the answer. */
import { errorFrom } from '@bmm/lib/errors'
import type { Log } from '@bmm/lib/log'
import { visitorOf } from '@bmm/lib/visitor'
import { resourceMetadataUrl, resourceUrl, slugPattern } from '@bmm/spec/resource-url'
import { CALL_SCOPE } from '@bmm/spec/scope'
import { mayUse } from '@bmm/spec/statement'
import { type AccessClaims, type AccessTokens, NORMAL_SCOPES } from '../access-token.ts'
import type { Arrival } from '../arrival.ts'
import { accepts, BodyFault, readBody } from '../body.ts'
import type { InFlight } from '../in-flight.ts'
import { JsonFault, parseJson } from '../json-text.ts'
import type { Listings } from '../listing.ts'
import type { RateLimiter } from '../rate-limit.ts'
import type { Revocations } from '../revocation.ts'
import type { RunnerLink } from '../runner-link.ts'
import type { Served, Servings } from '../serving.ts'
import { CODE, faultText, type RpcFault } from './message.ts'
import { answerPost } from './post.ts'
import { json } from './tool-call.ts'
import type { UnreadAnswers } from './unread-answers.ts'

const MAX_BODY_BYTES = 1024 * 1024

export type McpOptions = {
  publicUrl: string
  servings: Servings
  listings: Listings
  tokens: AccessTokens
  revocations: Revocations
  runner: RunnerLink
  inFlight: InFlight
  unread: UnreadAnswers
  /** Attempts without a good token, and questions for unknown servers, by visitor. */
  strangers: RateLimiter
  log: Log
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
  try {
    checkRequest(request, options.publicUrl)
    const served = await liveServer(options, slug, arrival)
    const claims = await authorize(options, request, served, arrival)
    const listed = await options.listings.get(slug, served.statement).catch((thrown: unknown) => {
      options.log.error({ err: errorFrom(thrown), slug }, 'a spec cannot be had')
      throw new Refusal(503, 'The description of this server cannot be had right now.', retrySoon)
    })
    const body = await readMessageBody(request)
    // The grant may have ended while the body arrived; from here to the running call nothing waits.
    if (options.revocations.isRevoked(claims.grantId)) throw badToken(options.publicUrl, slug)
    const answer = await answerPost(body, {
      ...options,
      newestEpoch: () => newestEpoch(options.servings, served.serverId),
      request,
      listed,
      served,
      claims,
      requestId: arrival.requestId,
      takesEvents: accepts(request, 'text/event-stream'),
      stayOpen: arrival.stayOpen,
    })
    const guarded = options.unread.guard(claims.userId, answer)
    if (guarded !== undefined) return guarded
    throw new Refusal(429, 'Too many answers lie here unread. Read them first.', retrySoon)
  } catch (thrown) {
    if (!(thrown instanceof Refusal)) throw thrown
    const fault: RpcFault = { code: thrown.code, message: thrown.message }
    const response = json(faultText(null, fault), thrown.status)
    for (const [name, value] of Object.entries(thrown.headers)) response.headers.set(name, value)
    return response
  }
}

/** The epoch to try again with when the runner knows another one; undefined when the server is not live any more. */
async function newestEpoch(servings: Servings, serverId: string): Promise<number | undefined> {
  await servings.hint()
  const served = servings.knownServer(serverId)
  return served?.state === 'live' ? served.epoch : undefined
}

const retrySoon = { 'retry-after': '2' }

function checkRequest(request: Request, publicUrl: string): void {
  if (request.method !== 'POST') {
    throw new Refusal(405, 'This endpoint takes POST only.', { allow: 'POST' })
  }
  const origin = request.headers.get('origin')
  if (origin !== null && origin !== publicUrl) {
    throw new Refusal(403, 'Requests from pages of another origin are refused.')
  }
  if (new URL(request.url).searchParams.has('access_token')) {
    throw new Refusal(400, 'A token goes into the Authorization header, never into the address.')
  }
}

type Live = Extract<Served, { state: 'live' }>

async function liveServer(options: McpOptions, slug: string, arrival: Arrival): Promise<Live> {
  const unknown = () => new Refusal(404, 'There is no such server.')
  if (!slugPattern.test(slug)) throw unknown()
  let served = options.servings.known(slug)
  if (served === undefined) {
    takeStranger(options, arrival, 'look')
    served = await options.servings.find(slug).catch((thrown: unknown) => {
      options.log.warn({ fault: errorFrom(thrown).message, slug }, 'a server cannot be looked up')
      throw new Refusal(503, 'Servers cannot be looked up right now. Try again.', retrySoon)
    })
  }
  if (served === undefined) {
    takeStranger(options, arrival)
    throw unknown()
  }
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

/** The claims of a token that is good for this server now. Throws the refusal that says what is missing. */
async function authorize(
  options: McpOptions,
  request: Request,
  served: Live,
  arrival: Arrival,
): Promise<AccessClaims> {
  const { publicUrl, tokens, revocations } = options
  const resource = resourceUrl(publicUrl, served.slug)
  const header = request.headers.get('authorization')
  if (header === null) {
    takeStranger(options, arrival)
    throw new Refusal(401, 'This server needs a token.', challenge(publicUrl, served.slug))
  }
  const token = /^Bearer ([A-Za-z0-9._~+/-]+=*)$/i.exec(header)?.[1]
  const claims =
    token === undefined
      ? undefined
      : await tokens.verify(token, resource).catch((thrown: unknown) => {
          options.log.warn({ fault: errorFrom(thrown).message }, 'tokens cannot be verified')
          throw new Refusal(503, 'Tokens cannot be verified right now. Try again.', retrySoon)
        })
  const standing =
    claims?.serverId === served.serverId ? await revocations.standing(claims.grantId) : 'revoked'
  if (standing === 'unknown') {
    throw new Refusal(503, 'Revoked tokens cannot be told apart right now. Try again.', retrySoon)
  }
  if (claims === undefined || standing === 'revoked') {
    takeStranger(options, arrival)
    throw badToken(publicUrl, served.slug)
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

function badToken(publicUrl: string, slug: string): Refusal {
  return new Refusal(
    401,
    'The token is not valid for this server, or not any more.',
    challenge(publicUrl, slug, 'invalid_token'),
  )
}

/** RFC 9728 section 5.1 and RFC 6750 section 3. */
function challenge(publicUrl: string, slug: string, error?: string): Record<string, string> {
  const parts = [
    `resource_metadata="${resourceMetadataUrl(publicUrl, slug)}"`,
    `scope="${NORMAL_SCOPES}"`,
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

async function readMessageBody(request: Request): Promise<unknown> {
  try {
    return parseJson(
      await readBody(request, { mediaType: 'application/json', limitBytes: MAX_BODY_BYTES }),
    )
  } catch (thrown) {
    if (thrown instanceof BodyFault) throw new Refusal(thrown.status, thrown.message)
    if (!(thrown instanceof JsonFault)) throw thrown
    const unreadable = thrown.kind === 'syntax' || thrown.kind === 'encoding'
    throw new Refusal(400, thrown.message, {}, unreadable ? CODE.PARSE : CODE.INVALID_REQUEST)
  }
}
