/** Authorizing a client: from the browser's request over the consent page to a code, or to an error. */
import { newId } from '@bmm/lib/ids'
import { inTransaction, type Querying, type Sql } from '@bmm/lib/sql'
import { newOpaqueToken, tokenHash } from '../opaque-token.ts'
import { findOwnerEmail, findSession } from '../sign-in/account-store.ts'
import type { Session } from '../sign-in/session.ts'
import { mayUseResource } from './access.ts'
import {
  type AuthorizationRequest,
  authorizationClientId,
  authorizationRedirect,
  errorRedirect,
  parseAuthorization,
  type Resource,
} from './authorization-request.ts'
import type { OAuthClient } from './client-registration.ts'
import { ACCESS_TOKEN_TTL_MS, CODE_TTL_MS, CONSENT_TTL_MS } from './grant.ts'
import { OAuthError } from './oauth-error.ts'
import {
  type ConsentRequest,
  consumeConsentRequest,
  createCode,
  createConsentRequest,
  createGrant,
  findClient,
  hasLiveGrant,
  trimConsentRequests,
} from './oauth-store.ts'
import type { Parameters } from './parameters.ts'
import { isLoopbackRedirect, redirectTarget, redirectWith } from './redirect-uri.ts'

export type ConsentOptions = { sql: Sql; issuer: string; now: () => number }

/** What the consent page shows and sends back. */
export type ConsentPage = {
  requestId: string
  csrfToken: string
  clientName: string
  clientByOperator: boolean
  redirectHost: string
  scopes: string[]
  /** The whole address of the owner of the server's organisation. */
  orgName: string
  userEmail: string
}

export type AuthorizationOutcome =
  | { kind: 'login'; clientName: string }
  | { kind: 'consent'; page: ConsentPage }
  | { kind: 'redirect'; url: string }

const MAX_OPEN_REQUESTS = 20

/**
 * Validates the request; throws OAuthError for the error page when no redirect target can be trusted. Somebody who is
 * signed out signs in first, whatever is wrong with the request: registration is open, so that anybody could otherwise
 * make an address here that leads to their own site (RFC 9700 section 4.11.2).
 */
export async function startAuthorization(
  options: ConsentOptions,
  parameters: Parameters,
  resource: Resource | undefined,
  sessionToken: string,
): Promise<AuthorizationOutcome> {
  const { sql, issuer, now } = options
  const client = await findClient(sql, authorizationClientId(parameters))
  const redirectUri = authorizationRedirect(parameters, client)
  // authorizationRedirect has refused an unknown client.
  if (client === undefined) throw new Error('a redirect without a client')
  const session = await findSession(sql, tokenHash(sessionToken), new Date(now()))
  const isSilent = parameters.find('prompt') === 'none'
  if (session === undefined && !isSilent) return { kind: 'login', clientName: client.name }
  try {
    const request = parseAuthorization(parameters, client.id, redirectUri, resource)
    if (session === undefined) throw new OAuthError('login_required', 'Nobody is signed in.')
    await refuseStranger(sql, resource, session)
    if (isSilent) throw new OAuthError('consent_required', 'Each grant is confirmed.')
    return {
      kind: 'consent',
      page: await openConsentPage(options, request, client, resource, session),
    }
  } catch (thrown) {
    if (!(thrown instanceof OAuthError)) throw thrown
    const url = errorRedirect(redirectUri, issuer, stateOf(parameters), thrown)
    const target = { clientId: client.id, redirectUri, url }
    return { kind: 'redirect', url: await trustedUrl(options, target, session, thrown) }
  }
}

export type Decision = {
  requestId: string
  csrfToken: string
  approved: boolean
  sessionToken: string
  /** The server as it is now. */
  resource: Resource | undefined
}

/** Records what the person decided, once; where the browser goes. Throws OAuthError for the error page. */
export async function decideConsent(options: ConsentOptions, decision: Decision): Promise<string> {
  const { sql, issuer, now } = options
  const at = new Date(now())
  const session = await findSession(sql, tokenHash(decision.sessionToken), at)
  if (session === undefined) {
    throw new OAuthError(
      'login_required',
      'You are signed out. Start again from the application.',
      {
        status: 401,
      },
    )
  }
  const decided = await inTransaction(sql, async (transaction) => {
    const request = await consumeConsentRequest(transaction, {
      id: decision.requestId,
      sessionId: session.id,
      csrfHash: tokenHash(decision.csrfToken),
      now: at,
    })
    if (request === undefined) {
      throw new OAuthError(
        'invalid_request',
        'You have already answered this request, or it has expired. If the application is not connected, start again there.',
      )
    }
    try {
      if (!decision.approved) throw new OAuthError('access_denied', 'The person refused.')
      checkStillThere(request, decision.resource)
      await refuseStranger(transaction, decision.resource, session)
    } catch (thrown) {
      if (!(thrown instanceof OAuthError)) throw thrown
      const url = errorRedirect(request.redirectUri, issuer, request.state, thrown)
      // Not thrown here: the request is used up, whatever the answer looks like.
      return { refused: thrown, target: { ...request, url } }
    }
    const code = await createGrantWithCode(transaction, request, session, at)
    return redirectWith(request.redirectUri, { code, state: request.state, iss: issuer })
  })
  if (typeof decided === 'string') return decided
  return trustedUrl(options, decided.target, session, decided.refused)
}

/**
 * The address with the error when the browser may be sent there by itself: on the person's own machine, of a client that
 * the operator vouches for, or of one that she allows something already. Else throws the error with the address as the way on.
 */
async function trustedUrl(
  { sql, now }: ConsentOptions,
  { clientId, redirectUri, url }: { clientId: string; redirectUri: string; url: string },
  session: Session | undefined,
  error: OAuthError,
): Promise<string> {
  if (isLoopbackRedirect(redirectUri)) return url
  const client = await findClient(sql, clientId)
  if (client?.byOperator === true) return url
  if (session !== undefined) {
    const of = { clientId, userId: session.userId, now: new Date(now()) }
    if (await hasLiveGrant(sql, of)) return url
  }
  throw new OAuthError(error.code, error.message, { returnUrl: url })
}

async function openConsentPage(
  { sql, now }: ConsentOptions,
  request: AuthorizationRequest,
  client: OAuthClient,
  resource: Resource | undefined,
  session: Session,
): Promise<ConsentPage> {
  const csrfToken = newOpaqueToken('bmx')
  const requestId = newId('crq')
  await createConsentRequest(sql, {
    ...request,
    id: requestId,
    sessionId: session.id,
    csrfHash: tokenHash(csrfToken),
    createdAt: new Date(now()),
    expiresAt: new Date(now() + CONSENT_TTL_MS),
  })
  await trimConsentRequests(sql, session.id, MAX_OPEN_REQUESTS)
  return {
    requestId,
    csrfToken,
    clientName: client.name,
    clientByOperator: client.byOperator,
    redirectHost: redirectTarget(request.redirectUri),
    scopes: request.scopes,
    orgName: (await findOwnerEmail(sql, resource?.orgId ?? '')) ?? '',
    userEmail: session.email,
  }
}

/** Throws `access_denied` unless the access rule lets this person in. */
async function refuseStranger(
  sql: Querying,
  resource: Resource | undefined,
  session: Session,
): Promise<void> {
  if (resource === undefined || !(await mayUseResource(sql, resource, session.userId))) {
    throw new OAuthError('access_denied', 'The signed-in account may not use this server.')
  }
}

function checkStillThere(request: ConsentRequest, resource: Resource | undefined): void {
  if (resource?.serverId !== request.serverId || resource.url !== request.resourceUrl) {
    throw new OAuthError('invalid_target', 'The server is not there any more.')
  }
}

async function createGrantWithCode(
  sql: Querying,
  request: ConsentRequest,
  session: Session,
  at: Date,
): Promise<string> {
  const code = newOpaqueToken('bmc')
  const grantId = newId('grt')
  const codeExpiresAt = new Date(at.getTime() + CODE_TTL_MS)
  await createGrant(sql, {
    id: grantId,
    clientId: request.clientId,
    userId: session.userId,
    orgId: session.orgId,
    serverId: request.serverId,
    resourceUrl: request.resourceUrl,
    scopes: request.scopes,
    createdAt: at,
    // Until the code is redeemed: an access token from its last second is covered.
    expiresAt: new Date(codeExpiresAt.getTime() + ACCESS_TOKEN_TTL_MS),
  })
  await createCode(sql, {
    codeHash: tokenHash(code),
    grantId,
    redirectUri: request.redirectUri,
    codeChallenge: request.codeChallenge,
    createdAt: at,
    expiresAt: codeExpiresAt,
  })
  return code
}

/** The state to send back with an error; none when it is ambiguous. */
function stateOf(parameters: Parameters): string | undefined {
  return parameters.isRepeated('state') ? undefined : parameters.find('state')
}
