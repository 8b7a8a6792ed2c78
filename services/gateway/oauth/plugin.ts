/** The OAuth endpoints: bytes are carried to the authorization server and its decisions back. */
import type { JsonAnswer, OAuthFault, OAuthService } from '@bmm/proto/auth/v1/oauth_service'
import { slugPattern } from '@bmm/spec/resource-url'
import type { Client } from '@connectrpc/connect'
import { Elysia } from 'elysia'
import type { Arrival, Arrivals } from '../arrival/arrival.ts'
import { readBody } from '../arrival/body.ts'
import { admitVisitor, type RateLimiter } from '../limits/rate-limit.ts'
import { problem, problemFrom } from '../problem.ts'
import { type Pair, readForm } from './form.ts'
import { authorizationServerMetadata, protectedResourceMetadata } from './metadata.ts'
import { nameOf, type ResourceOptions, resourceIn, resourceOfServer } from './resource.ts'

const MAX_AUTHORIZATION_CHARACTERS = 8_192
const MAX_METADATA_BYTES = 64 * 1024
const DOCUMENT_SECONDS = 300
const JWKS_SECONDS = 60

export type OAuthOptions = ResourceOptions & {
  oauth: Client<typeof OAuthService>
  arrivals: Arrivals
  /** Requests without a session, by visitor. */
  visitors: RateLimiter
}

/** Discovery, registration, tokens. `/oauth/authorize` and `/oauth/consent` are pages. */
export function oauthPlugin(options: OAuthOptions) {
  const { oauth, publicUrl } = options
  const metadata = JSON.stringify(authorizationServerMetadata(publicUrl))
  const admitted = (request: Request) => admit(options, request)
  return new Elysia({ name: 'oauth' })
    .get('/.well-known/oauth-authorization-server', () => open(document(metadata)))
    .get('/.well-known/oauth-protected-resource/s/:slug/mcp', async ({ params }) =>
      open(document(await resourceDocument(params.slug, options))),
    )
    .get('/oauth/jwks', async () => {
      const { jwks } = await oauth.getJwks({})
      return open(document(new TextDecoder().decode(jwks), JWKS_SECONDS))
    })
    .post(
      '/oauth/register',
      async ({ request }) =>
        carried(request, async () => {
          const { clientIp } = admitted(request)
          const bytes = await readBody(request, {
            mediaType: 'application/json',
            limitBytes: MAX_METADATA_BYTES,
          })
          return outcome((await oauth.registerClient({ metadata: bytes, clientIp })).outcome)
        }),
      { parse: 'none' },
    )
    .post(
      '/oauth/token',
      ({ request }) =>
        carried(request, async () => {
          admitted(request)
          const parameters = await readForm(request)
          return exchange({ parameters, authorization: authorizationOf(request) }, options)
        }),
      { parse: 'none' },
    )
    .post(
      '/oauth/revoke',
      ({ request }) =>
        carried(request, async () => {
          admitted(request)
          const parameters = await readForm(request)
          const { fault } = await oauth.revokeToken({
            parameters,
            authorization: authorizationOf(request),
          })
          return fault === undefined ? new Response(null, { status: 200 }) : faultResponse(fault)
        }),
      { parse: 'none' },
    )
    .post(
      '/oauth/introspect',
      ({ request }) =>
        carried(request, async () => {
          admitted(request)
          const parameters = await readForm(request)
          const answer = await oauth.introspectToken({
            parameters,
            authorization: authorizationOf(request),
          })
          return outcome(answer.outcome)
        }),
      { parse: 'none' },
    )
    .all('/oauth/register', wrongMethod('POST, OPTIONS'))
    .all('/oauth/token', wrongMethod('POST, OPTIONS'))
    .all('/oauth/revoke', wrongMethod('POST'))
    .all('/oauth/introspect', wrongMethod('POST'))
    .options('/oauth/register', () => open(new Response(null, { status: 204 })))
    .options('/oauth/token', () => open(new Response(null, { status: 204 })))
    .options('/oauth/jwks', () => open(new Response(null, { status: 204 })))
    .options('/.well-known/*', () => open(new Response(null, { status: 204 })))
}

/** RFC 9110 section 15.5.6: what the address takes, for other methods. */
function wrongMethod(allow: string): () => Response {
  return () => {
    const response = oauthError('invalid_request', `This address takes ${allow} only.`, 405)
    response.headers.set('allow', allow)
    return response
  }
}

/**
 * Clients in browsers read these from any page: nothing here acts on cookies, so any origin may. What the browser
 * itself attaches (credentials) stays refused.
 */
function open(response: Response): Response {
  response.headers.set('access-control-allow-origin', '*')
  response.headers.set('access-control-allow-methods', 'GET, POST, OPTIONS')
  response.headers.set(
    'access-control-allow-headers',
    'authorization, content-type, mcp-protocol-version',
  )
  response.headers.set('access-control-max-age', '600')
  return response
}

const openPaths = new Set(['/oauth/register', '/oauth/token'])

/**
 * Runs an endpoint; a problem becomes an OAuth error, with CORS where it is open. A request that is at fault is 400
 * (RFC 6749 section 5.2, RFC 7591 section 3.2.2), whatever HTTP has a status of its own for.
 */
async function carried(request: Request, run: () => Promise<Response>): Promise<Response> {
  let response: Response
  try {
    response = await run()
  } catch (thrown) {
    const found = problemFrom(thrown)
    if (found === undefined) throw thrown
    const busy = found.status === 503 || found.status === 504 || found.status === 429
    response = busy
      ? oauthError('temporarily_unavailable', found.detail, found.status)
      : oauthError('invalid_request', found.detail, found.status < 500 ? 400 : found.status)
    if (found.retryAfterSeconds !== undefined) {
      response.headers.set('retry-after', String(found.retryAfterSeconds))
    }
  }
  return openPaths.has(new URL(request.url).pathname) ? open(response) : response
}

/** Takes one of the visitor's requests. */
function admit(options: OAuthOptions, request: Request): Arrival {
  const arrival = options.arrivals.of(request)
  admitVisitor(options.visitors, arrival)
  return arrival
}

type TokenRequest = { parameters: Pair[]; authorization: string }

/** Asks once more with the server of the grant when the form names no resource and the grant decides. */
async function exchange(request: TokenRequest, options: OAuthOptions): Promise<Response> {
  const named = await resourceIn(request.parameters, options)
  const first = await options.oauth.exchangeToken({
    ...request,
    ...(named === undefined ? {} : { resource: named }),
  })
  if (first.outcome.case !== 'resourceNeeded') return outcome(first.outcome)
  const resource = await resourceOfServer(first.outcome.value.serverId, options)
  if (resource === undefined) {
    return oauthError('invalid_target', 'The server of this grant is not being served.', 400)
  }
  const second = await options.oauth.exchangeToken({ ...request, resource })
  if (second.outcome.case !== 'resourceNeeded') return outcome(second.outcome)
  throw new Error('the authorization server asked for the resource that it was given')
}

type Outcome =
  | { case: 'answer'; value: JsonAnswer }
  | { case: 'fault'; value: OAuthFault }
  | { case: undefined; value?: undefined }

function outcome(found: Outcome): Response {
  switch (found.case) {
    case 'answer':
      return new Response(new TextDecoder().decode(found.value.body), {
        status: found.value.status,
        headers: { 'content-type': 'application/json', ...unstored },
      })
    case 'fault':
      return faultResponse(found.value)
    case undefined:
      throw new Error('the authorization server answered nothing')
    default:
      return found satisfies never
  }
}

const unstored = { 'cache-control': 'no-store', pragma: 'no-cache' }

function faultResponse(fault: OAuthFault): Response {
  const response = oauthError(fault.error, fault.description, fault.status)
  if (fault.status === 401) response.headers.set('www-authenticate', 'Basic realm="oauth"')
  if (fault.retryAfterSeconds > 0) {
    response.headers.set('retry-after', String(fault.retryAfterSeconds))
  }
  return response
}

function oauthError(error: string, description: string, status: number): Response {
  return new Response(JSON.stringify({ error, error_description: description }), {
    status,
    headers: { 'content-type': 'application/json', ...unstored },
  })
}

function authorizationOf(request: Request): string {
  const header = request.headers.get('authorization') ?? ''
  if (header.length > MAX_AUTHORIZATION_CHARACTERS)
    throw problem(400, 'invalid_request', 'The Authorization is too long.')
  return header
}

function document(body: string, seconds = DOCUMENT_SECONDS): Response {
  return new Response(body, {
    headers: { 'content-type': 'application/json', 'cache-control': `public, max-age=${seconds}` },
  })
}

async function resourceDocument(slug: string, options: OAuthOptions): Promise<string> {
  const served = slugPattern.test(slug) ? await options.servings.find(slug) : undefined
  if (served?.state !== 'live') {
    throw problem(404, 'server_not_found', 'There is no such server.')
  }
  return JSON.stringify(
    protectedResourceMetadata(options.publicUrl, slug, await nameOf(slug, options)),
  )
}
