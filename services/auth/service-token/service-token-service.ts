/** The RPCs of service tokens: who calls, decode, domain, encode. */
import type { KeyObject } from 'node:crypto'
import { errorFrom, limited, notFound, unauthenticated } from '@bmm/lib/errors'
import { newId } from '@bmm/lib/ids'
import type { Log } from '@bmm/lib/log'
import { serviceName } from '@bmm/lib/rpc-rules'
import { inTransaction, type Sql } from '@bmm/lib/sql'
import type { ServiceTokenService } from '@bmm/proto/auth/v1/service_token_service'
import { timestampFromDate } from '@bufbuild/protobuf/wkt'
import type { ServiceImpl } from '@connectrpc/connect'
import { tokenHash } from '../opaque-token.ts'
import type { Revoker } from '../revocation.ts'
import type { Session } from '../sign-in/session.ts'
import { getSession } from '../sign-in/sign-in.ts'
import { signUserToken } from '../user-token.ts'
import {
  isServiceToken,
  LAST_USED_STEP_MS,
  MAX_SERVICE_TOKENS,
  newServiceToken,
  type ServiceToken,
  scopesFrom,
  tokenNameFrom,
} from './service-token.ts'
import {
  countServiceTokens,
  createServiceToken,
  findServiceToken,
  listServiceTokens,
  lockServiceTokens,
  markServiceTokenUsed,
} from './service-token-store.ts'

export type ServiceTokenOptions = {
  sql: Sql
  userTokenKey: KeyObject
  revoker: Pick<Revoker, 'endServiceToken'>
  log: Log
  now: () => number
}

// Every RPC here is the gateway's alone, by its `allow` option; a session token says which person makes, lists and
// revokes: no service token can.
export function serviceTokenService(
  options: ServiceTokenOptions,
): ServiceImpl<typeof ServiceTokenService> {
  const { sql, log, now } = options
  return {
    async createServiceToken({ sessionToken, name, scopes, lifetimeSeconds }) {
      const session = await getSession(sql, sessionToken, now())
      const createdAt = new Date(now())
      const token: ServiceToken = {
        id: newId('tok'),
        orgId: session.orgId,
        userId: session.userId,
        email: session.email,
        name: tokenNameFrom(name),
        scopes: scopesFrom(scopes),
        createdAt,
        expiresAt: new Date(createdAt.getTime() + Number(lifetimeSeconds) * 1000),
        lastUsedAt: null,
      }
      const value = newServiceToken()
      await store(sql, token, value)
      log.info(audited(token, session), 'a service token was made')
      return { value, token: encode(token) }
    },
    async listServiceTokens({ sessionToken }) {
      const session = await getSession(sql, sessionToken, now())
      const tokens = await listServiceTokens(
        sql,
        within(session),
        new Date(now()),
        MAX_SERVICE_TOKENS,
      )
      return { tokens: tokens.map(encode) }
    },
    async revokeServiceToken({ sessionToken, tokenId }) {
      const session = await getSession(sql, sessionToken, now())
      const ended = await options.revoker.endServiceToken({ id: tokenId, ...within(session) })
      if (!ended) throw notFound('token_not_found', 'There is no such live token.')
      log.info({ tokenId, userId: session.userId }, 'a service token was revoked')
      return {}
    },
    exchangeServiceToken: (request) => exchange(options, request),
  }
}

async function exchange(
  options: ServiceTokenOptions,
  request: { value: string; audiences: Parameters<typeof serviceName>[0][]; confirmDigest: string },
) {
  const { sql, userTokenKey, now } = options
  const at = new Date(now())
  const token = isServiceToken(request.value)
    ? await findServiceToken(sql, tokenHash(request.value), at)
    : undefined
  if (token === undefined) {
    throw unauthenticated('token_invalid', 'The service token is unknown, or has ended.')
  }
  rememberUse(options, token)
  const { id, userId, orgId, role, scopes, expiresAt } = token
  const minted = await signUserToken(
    { id, userId, orgId, role, expiresAt, scopes },
    {
      audiences: [...new Set(request.audiences)].map(serviceName),
      confirmDigest: request.confirmDigest,
      key: userTokenKey,
      now: now(),
    },
  )
  return {
    userToken: minted.token,
    expiresAt: timestampFromDate(minted.expiresAt),
    tokenId: id,
    ...{ userId, orgId, scopes, role },
    ...{ userEmail: token.email, orgName: token.orgName, tokenName: token.name },
    tokenExpiresAt: timestampFromDate(expiresAt),
  }
}

async function store(sql: Sql, token: ServiceToken, value: string): Promise<void> {
  await inTransaction(sql, async (transaction) => {
    await lockServiceTokens(transaction, token.orgId)
    const live = await countServiceTokens(transaction, token.orgId, token.createdAt)
    if (live >= MAX_SERVICE_TOKENS) {
      throw limited(
        'too_many_tokens',
        `An organisation has at most ${MAX_SERVICE_TOKENS} live tokens. Revoke one that nobody needs.`,
      )
    }
    await createServiceToken(transaction, { ...token, tokenHash: tokenHash(value) })
  })
}

/** Nobody waits for this: when it fails, the next use writes it. */
function rememberUse({ sql, log, now }: ServiceTokenOptions, token: ServiceToken): void {
  const at = now()
  const stale = new Date(at - LAST_USED_STEP_MS)
  if (token.lastUsedAt !== null && token.lastUsedAt >= stale) return
  markServiceTokenUsed(sql, token.id, new Date(at), stale).catch((thrown: unknown) =>
    log.warn({ fault: errorFrom(thrown).message, tokenId: token.id }, 'a last use was not kept'),
  )
}

/** Owners and admins see to everybody's tokens, others to their own. */
function within(session: Session): { orgId: string; userId?: string } {
  const { orgId, userId, role } = session
  return role === 'owner' || role === 'admin' ? { orgId } : { orgId, userId }
}

function audited(token: ServiceToken, session: Session) {
  const { id, name, scopes, expiresAt } = token
  return { tokenId: id, name, scopes, expiresAt, userId: session.userId, orgId: session.orgId }
}

function encode(token: ServiceToken) {
  const { id, name, scopes, createdAt, expiresAt, lastUsedAt, userId, email } = token
  return {
    ...{ id, name, scopes, userId, userEmail: email },
    createdAt: timestampFromDate(createdAt),
    expiresAt: timestampFromDate(expiresAt),
    ...(lastUsedAt === null ? {} : { lastUsedAt: timestampFromDate(lastUsedAt) }),
  }
}
