/** Who a client is at the token, revocation and introspection endpoints (OAuth 2.1 section 2.4). */
import { timingSafeEqual } from 'node:crypto'
import type { ClientAuthMethod } from '@bmm/spec/client-authentication'
import { tokenHash } from '../opaque-token.ts'
import type { OAuthClient } from './client-registration.ts'
import { OAuthError } from './oauth-error.ts'
import type { Parameters } from './parameters.ts'

/** What a client presents to say who it is. */
export type ClientCredentials = { clientId: string; method: ClientAuthMethod; secret?: string }

/** Reads the credentials; throws `invalid_request` when there are two kinds, `invalid_client` when none is usable. */
export function clientCredentials(
  parameters: Parameters,
  authorization: string,
): ClientCredentials {
  const clientId = parameters.find('client_id')
  const secret = parameters.find('client_secret')
  if (authorization !== '') {
    const basic = basicCredentials(authorization)
    if (secret !== undefined || (clientId !== undefined && clientId !== basic.clientId)) {
      throw new OAuthError('invalid_request', 'The client authenticates in two ways.')
    }
    return basic
  }
  if (clientId === undefined) throw invalidClient('The client does not say who it is.')
  if (secret === undefined) return { clientId, method: 'none' }
  return { clientId, method: 'client_secret_post', secret }
}

/** Throws `invalid_client` unless the credentials are those of this client, by its registered method. */
export function checkClient(
  client: OAuthClient | undefined,
  credentials: ClientCredentials,
): asserts client is OAuthClient {
  if (client === undefined) throw invalidClient('The client is unknown or its secret is wrong.')
  if (client.authMethod !== credentials.method) {
    throw invalidClient('The client must authenticate as it registered.')
  }
  if (client.secretHash === null) return
  const presented = tokenHash(credentials.secret ?? '')
  if (!timingSafeEqual(presented, client.secretHash)) {
    throw invalidClient('The client is unknown or its secret is wrong.')
  }
}

/** RFC 6749 section 2.3.1: both halves are form-encoded before base64. */
function basicCredentials(authorization: string): ClientCredentials {
  const encoded = /^Basic +([A-Za-z0-9+/]+={0,2})$/i.exec(authorization)?.[1]
  if (encoded === undefined) throw invalidClient('The Authorization header is not Basic.')
  const [id, ...rest] = Buffer.from(encoded, 'base64').toString('utf8').split(':')
  if (id === undefined || id === '' || rest.length === 0) {
    throw invalidClient('The Authorization header is malformed.')
  }
  return {
    clientId: formDecoded(id),
    method: 'client_secret_basic',
    secret: formDecoded(rest.join(':')),
  }
}

function formDecoded(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '))
  } catch {
    throw invalidClient('The Authorization header is malformed.')
  }
}

function invalidClient(description: string): OAuthError {
  return new OAuthError('invalid_client', description, { status: 401 })
}
