/** The token endpoint: redeeming codes and refresh tokens (OAuth 2.1 section 3.2). */
import { inTransaction, type Querying, type Sql } from '@bmm/lib/sql'
import { newOpaqueToken, tokenHash } from '../opaque-token.ts'
import type { Revoker } from '../revocation.ts'
import type { SigningKey, SigningKeys } from '../signing-keys.ts'
import { mayUseResource } from './access.ts'
import { signAccessToken } from './access-token.ts'
import { type Resource, targetOf } from './authorization-request.ts'
import { checkClient, clientCredentials } from './client-authentication.ts'
import type { OAuthClient } from './client-registration.ts'
import {
  ACCESS_TOKEN_TTL_MS,
  checkCode,
  type Grant,
  hasRefresh,
  invalidGrant,
  refreshExpiry,
  refreshVerdict,
  successorOf,
} from './grant.ts'
import { OAuthError } from './oauth-error.ts'
import {
  consumeCode,
  consumeRefreshToken,
  createRefreshToken,
  extendGrant,
  findClient,
  findCode,
  findRefreshToken,
} from './oauth-store.ts'
import type { Parameters } from './parameters.ts'
import { narrowedScopes } from './scope.ts'

export type ExchangeOptions = {
  sql: Sql
  issuer: string
  keys: SigningKeys
  /** HMAC key that derives the successor of a refresh token. */
  successorKey: Buffer
  revoker: Revoker
  now: () => number
}

export type TokenAnswer = {
  access_token: string
  token_type: 'Bearer'
  expires_in: number
  scope: string
  refresh_token?: string
}

export type ExchangeOutcome =
  | { kind: 'tokens'; answer: TokenAnswer }
  /** The request names no resource: the gateway must say how this server stands now, then ask again. */
  | { kind: 'resource needed'; serverId: string }

/** Who asks: an authenticated client with the parameters of its form. */
type Exchange = {
  client: OAuthClient
  parameters: Parameters
  resource: Resource | undefined
}

/** Decides about one token request; throws OAuthError. */
export async function exchangeToken(
  options: ExchangeOptions,
  parameters: Parameters,
  authorization: string,
  resource: Resource | undefined,
): Promise<ExchangeOutcome> {
  parameters.refuseRepeated()
  const client = await authenticateClient(options.sql, parameters, authorization)
  const exchange = { client, parameters, resource }
  switch (parameters.get('grant_type')) {
    case 'authorization_code':
      return redeemCode(options, exchange)
    case 'refresh_token':
      return refresh(options, exchange)
    default:
      throw new OAuthError(
        'unsupported_grant_type',
        'The grant types are authorization_code and refresh_token.',
      )
  }
}

/** The client that the request comes from; throws `invalid_client`. */
export async function authenticateClient(
  sql: Sql,
  parameters: Parameters,
  authorization: string,
): Promise<OAuthClient> {
  const credentials = clientCredentials(parameters, authorization)
  const client = await findClient(sql, credentials.clientId)
  checkClient(client, credentials)
  return client
}

async function redeemCode(options: ExchangeOptions, exchange: Exchange): Promise<ExchangeOutcome> {
  const { sql, keys, now } = options
  const { client, parameters } = exchange
  const codeHash = tokenHash(parameters.get('code'))
  const verifier = parameters.get('code_verifier')
  const found = await findCode(sql, codeHash)
  if (found === undefined) throw invalidGrant('The code is unknown.')
  const { code, grant } = found
  if (code.consumedAt !== null) return endReplayed(options, grant)
  const redirectUri = parameters.find('redirect_uri')
  checkCode(code, grant, { clientId: client.id, verifier, redirectUri, now: now() })
  const needed = await checkTarget(options, exchange, grant)
  if (needed !== undefined) return needed

  const key = await keys.active()
  const at = new Date(now())
  const refreshToken = hasRefresh(client.grantTypes, grant.scopes)
    ? newOpaqueToken('bmr')
    : undefined
  const consumed = await inTransaction(sql, async (transaction) => {
    if (!(await consumeCode(transaction, codeHash, at))) return false
    await keepGrant(transaction, grant, refreshToken, at)
    return true
  })
  // Somebody was faster with the same code: one of the two has stolen it.
  if (!consumed) return endReplayed(options, grant)
  return {
    kind: 'tokens',
    answer: await answerFor(options, grant, grant.scopes, key, refreshToken),
  }
}

async function refresh(options: ExchangeOptions, exchange: Exchange): Promise<ExchangeOutcome> {
  const { sql, keys, now } = options
  const { client, parameters } = exchange
  const presented = parameters.get('refresh_token')
  const successor = successorOf(presented, options.successorKey)
  const hash = tokenHash(presented)
  // Twice at most: who loses the race for the rotation looks again and finds a used token.
  for (let attempt = 0; attempt < 2; attempt++) {
    const found = await findRefreshToken(sql, hash, tokenHash(successor))
    if (found === undefined) throw invalidGrant('The refresh token is unknown.')
    const { grant, token } = found
    const verdict = refreshVerdict(token, grant, {
      clientId: client.id,
      successor: found.successor,
      now: now(),
    })
    if (verdict === 'kill')
      await options.revoker.end({ grantId: grant.id }, 'refresh token replayed')
    if (verdict === 'kill' || verdict === 'refuse') {
      throw invalidGrant('The refresh token is no longer valid.')
    }
    const scopes = narrowedScopes(grant.scopes, parameters.find('scope'))
    const needed = await checkTarget(options, exchange, grant)
    if (needed !== undefined) return needed
    const key = await keys.active()
    if (verdict === 'repeat' || (await rotate(sql, hash, grant, successor, now()))) {
      return { kind: 'tokens', answer: await answerFor(options, grant, scopes, key, successor) }
    }
  }
  throw invalidGrant('The refresh token is no longer valid.')
}

/** Uses up the presented token and stores the hash of its successor; false when somebody else did. */
async function rotate(
  sql: Sql,
  presentedHash: Buffer,
  grant: Grant,
  successor: string,
  now: number,
): Promise<boolean> {
  const at = new Date(now)
  return inTransaction(sql, async (transaction) => {
    if (!(await consumeRefreshToken(transaction, presentedHash, at))) return false
    await keepGrant(transaction, grant, successor, at)
    return true
  })
}

/** Moves the end of the grant to that of its newest token; throws, and so undoes, when it was ended meanwhile. */
async function keepGrant(
  sql: Querying,
  grant: Grant,
  refreshToken: string | undefined,
  at: Date,
): Promise<void> {
  const accessEnd = at.getTime() + ACCESS_TOKEN_TTL_MS
  const refreshEnd = refreshExpiry(grant.createdAt, at.getTime())
  const expiresAt =
    refreshToken === undefined ? new Date(accessEnd) : new Date(Math.max(accessEnd, +refreshEnd))
  if (!(await extendGrant(sql, grant.id, expiresAt))) {
    throw invalidGrant('The authorization was ended.')
  }
  if (refreshToken === undefined) return
  const tokenHashed = tokenHash(refreshToken)
  await createRefreshToken(sql, {
    tokenHash: tokenHashed,
    grantId: grant.id,
    createdAt: at,
    expiresAt: refreshEnd,
  })
}

/** The resource is the grant's, and the person may still use it; else throws. */
async function checkTarget(
  options: ExchangeOptions,
  { parameters, resource }: Exchange,
  grant: Grant,
): Promise<ExchangeOutcome | undefined> {
  // The platform has moved: a token for its former address would be refused at each call (RFC 6749 section 5.2).
  if (!grant.resourceUrl.startsWith(`${options.issuer}/`)) {
    throw invalidGrant('The platform has another address now. Sign in again.')
  }
  // RFC 8707 section 2.2 leaves the parameter optional here: the grant knows its one resource.
  const named = parameters.find('resource') !== undefined
  if (!named && resource === undefined) {
    return { kind: 'resource needed', serverId: grant.serverId }
  }
  const target = named ? targetOf(parameters, resource) : resource
  if (target?.serverId !== grant.serverId || target.url !== grant.resourceUrl) {
    throw new OAuthError('invalid_target', 'The resource is not the one that was authorized.')
  }
  if (!(await mayUseResource(options.sql, target, grant.userId))) {
    await options.revoker.end({ grantId: grant.id }, 'access withdrawn')
    throw invalidGrant('The person may no longer use this server.')
  }
  return undefined
}

/** OAuth 2.1 section 4.1.3: a code that comes twice ends what it gave. */
async function endReplayed(options: ExchangeOptions, grant: Grant): Promise<never> {
  await options.revoker.end({ grantId: grant.id }, 'code replayed')
  throw invalidGrant('The code was used before.')
}

async function answerFor(
  options: ExchangeOptions,
  grant: Grant,
  scopes: readonly string[],
  key: SigningKey,
  refreshToken: string | undefined,
): Promise<TokenAnswer> {
  const { issuer, now } = options
  return {
    access_token: await signAccessToken(grant, scopes, { issuer, key, now: now() }),
    token_type: 'Bearer',
    expires_in: ACCESS_TOKEN_TTL_MS / 1000,
    scope: scopes.join(' '),
    ...(refreshToken === undefined ? {} : { refresh_token: refreshToken }),
  }
}
