/** The RPCs of signing in and of sessions: who calls, decode, domain, encode. */
import type { KeyObject } from 'node:crypto'
import { notFound } from '@bmm/lib/errors'
import { serviceName } from '@bmm/lib/rpc-rules'
import type { SessionService } from '@bmm/proto/auth/v1/auth_service'
import { timestampFromDate } from '@bufbuild/protobuf/wkt'
import type { ServiceImpl } from '@connectrpc/connect'
import { tokenHash } from '../opaque-token.ts'
import { signUserToken } from '../user-token.ts'
import { endSession, listSessions, revokeSession } from './account-store.ts'
import type { Session } from './session.ts'
import { finishMagicLink, getSession, type SignInOptions, startMagicLink } from './sign-in.ts'

export type SessionServiceOptions = SignInOptions & { userTokenKey: KeyObject }

// Every RPC here is the gateway's alone, by its `allow` option; the session token says which person.
export function sessionService(options: SessionServiceOptions): ServiceImpl<typeof SessionService> {
  const { sql, now, userTokenKey } = options
  return {
    async startMagicLink(request) {
      await startMagicLink(options, request)
      return {}
    },
    async finishMagicLink(request) {
      const { sessionToken, session, returnTo } = await finishMagicLink(options, request)
      return { sessionToken, session: encodeSession(session), returnTo }
    },
    async getSession({ sessionToken }) {
      return { session: encodeSession(await getSession(sql, sessionToken, now())) }
    },
    async revokeSession({ sessionToken }) {
      await revokeSession(sql, tokenHash(sessionToken), new Date(now()))
      return {}
    },
    async listSessions({ sessionToken }) {
      const { id: own, userId } = await getSession(sql, sessionToken, now())
      const found = await listSessions(sql, userId, new Date(now()))
      return {
        sessions: found.map(({ id, userAgent, createdAt, expiresAt }) => ({
          ...{ id, userAgent, current: id === own },
          createdAt: timestampFromDate(createdAt),
          expiresAt: timestampFromDate(expiresAt),
        })),
      }
    },
    async endSession({ sessionToken, sessionId }) {
      const { userId } = await getSession(sql, sessionToken, now())
      const key = { id: sessionId, userId, now: new Date(now()) }
      if (!(await endSession(sql, key))) {
        throw notFound('no_such_session', 'You have no such session.')
      }
      return {}
    },
    async mintUserToken({ sessionToken, audiences, confirmDigest }) {
      const session = await getSession(sql, sessionToken, now())
      const { token, expiresAt } = await signUserToken(session, {
        audiences: [...new Set(audiences)].map(serviceName),
        confirmDigest,
        key: userTokenKey,
        now: now(),
      })
      return { token, expiresAt: timestampFromDate(expiresAt) }
    },
  }
}

function encodeSession(session: Session) {
  const { id, userId, email, orgId, orgName, role, expiresAt } = session
  return {
    id,
    user: { id: userId, email },
    org: { id: orgId, name: orgName },
    role,
    expiresAt: timestampFromDate(expiresAt),
  }
}
