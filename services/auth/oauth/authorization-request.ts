/** An authorization request (OAuth 2.1 section 4.1.1): what is checked, in which order, and where errors go. */
import type { OAuthClient } from './client-registration.ts'
import { OAuthError } from './oauth-error.ts'
import type { Parameters } from './parameters.ts'
import { isRegisteredRedirect, redirectWith } from './redirect-uri.ts'
import { grantedScopes } from './scope.ts'

/** A server as an OAuth resource, resolved by the gateway. */
export type Resource = {
  serverId: string
  orgId: string
  /** The canonical URL. */
  url: string
  /** JSON of the access rule. */
  access: string
}

export type AuthorizationRequest = {
  clientId: string
  redirectUri: string
  state: string | undefined
  scopes: string[]
  codeChallenge: string
  serverId: string
  resourceUrl: string
}

/** BASE64URL(SHA256(verifier)): always 43 characters. */
const s256Challenge = /^[A-Za-z0-9_-]{43}$/

/** The client's id; throws what the person sees on an error page. */
export function authorizationClientId(parameters: Parameters): string {
  parameters.refuseRepeated(['client_id', 'redirect_uri'])
  return parameters.get('client_id')
}

/** Where the answer goes; throws what the person sees on an error page, because no target can be trusted. */
export function authorizationRedirect(
  parameters: Parameters,
  client: OAuthClient | undefined,
): string {
  if (client === undefined) {
    throw new OAuthError(
      'invalid_client',
      'This application is not registered here. Remove its saved sign-in data and connect again.',
    )
  }
  const presented = parameters.find('redirect_uri')
  const only = client.redirectUris.length === 1 ? client.redirectUris[0] : undefined
  if (presented === undefined && only !== undefined) return only
  if (
    presented === undefined ||
    !client.redirectUris.some((registered) => isRegisteredRedirect(registered, presented))
  ) {
    throw new OAuthError(
      'invalid_request',
      'The address that the application wants to return to is not one that it registered.',
    )
  }
  return presented
}

/** The request, once client and redirect are known; throws what is sent to the client by redirect. */
export function parseAuthorization(
  parameters: Parameters,
  clientId: string,
  redirectUri: string,
  resource: Resource | undefined,
): AuthorizationRequest {
  parameters.refuseRepeated()
  if (parameters.find('request') !== undefined) {
    throw new OAuthError('request_not_supported', 'Request objects are not supported.')
  }
  if (parameters.find('request_uri') !== undefined) {
    throw new OAuthError('request_uri_not_supported', 'Request objects are not supported.')
  }
  if (parameters.get('response_type') !== 'code') {
    throw new OAuthError('unsupported_response_type', 'The only response type is code.')
  }
  if ((parameters.find('response_mode') ?? 'query') !== 'query') {
    throw new OAuthError('invalid_request', 'The only response mode is query.')
  }
  // OpenID Connect Core section 3.1.2.1: none stands alone. Other values ask for what happens anyway.
  const prompts = parameters.find('prompt')?.split(' ') ?? []
  if (prompts.includes('none') && prompts.length > 1) {
    throw new OAuthError('invalid_request', 'The prompt none stands alone.')
  }
  const codeChallenge = challengeOf(parameters)
  const target = targetOf(parameters, resource)
  return {
    clientId,
    redirectUri,
    state: parameters.find('state'),
    scopes: grantedScopes(parameters.find('scope')),
    codeChallenge,
    serverId: target.serverId,
    resourceUrl: target.url,
  }
}

/** The error at the client's redirect URI (OAuth 2.1 section 4.1.2.1, RFC 9207). */
export function errorRedirect(
  redirectUri: string,
  issuer: string,
  state: string | undefined,
  error: OAuthError,
): string {
  return redirectWith(redirectUri, {
    error: error.code,
    error_description: error.message,
    state,
    iss: issuer,
  })
}

/** The resource that `resource` names; throws `invalid_target` (RFC 8707 section 2). */
export function targetOf(parameters: Parameters, resource: Resource | undefined): Resource {
  const named = parameters.find('resource')
  if (named === undefined) {
    throw new OAuthError('invalid_target', 'The parameter resource is missing: name the server.')
  }
  if (resource === undefined || !isSameResource(named, resource.url)) {
    throw new OAuthError('invalid_target', 'The parameter resource names no server here.')
  }
  return resource
}

/** Equal but for the case of scheme and host and one slash at the end; a query or fragment never matches. */
function isSameResource(named: string, url: string): boolean {
  if (!URL.canParse(named) || /[?#@]/.test(named)) return false
  return new URL(named).href.replace(/\/$/, '') === new URL(url).href
}

function challengeOf(parameters: Parameters): string {
  const challenge = parameters.find('code_challenge')
  if (challenge === undefined) {
    throw new OAuthError('invalid_request', 'PKCE is required: code_challenge is missing.')
  }
  // An absent method means plain (RFC 7636 section 4.3), which is not offered.
  if (parameters.find('code_challenge_method') !== 'S256') {
    throw new OAuthError('invalid_request', 'PKCE is required with code_challenge_method S256.')
  }
  if (!s256Challenge.test(challenge)) {
    throw new OAuthError('invalid_request', 'The code_challenge is not one of S256.')
  }
  return challenge
}
