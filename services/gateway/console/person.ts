/** Who is behind a REST request, and the user tokens that say so to the services. */
import { asUser } from '@bmm/lib/client'
import { visitorOf } from '@bmm/lib/visitor'
import type { SessionService } from '@bmm/proto/auth/v1/auth_service'
import type { Session } from '@bmm/proto/auth/v1/user'
import { Service } from '@bmm/proto/v1/options'
import { type CallOptions, type Client, Code, ConnectError } from '@connectrpc/connect'
import type { Arrivals } from '../arrival.ts'
import { problem } from '../problem.ts'
import type { RateLimiter } from '../rate-limit.ts'
import { originFault, sessionOf } from '../session-cookie.ts'

export type PeopleOptions = {
  sessions: Client<typeof SessionService>
  publicUrl: string
  arrivals: Arrivals
  /** Requests with a session that has ended or never was, by visitor. */
  strangers: RateLimiter
}

export type People = {
  /** Call options that put the person behind the calls of this request. */
  as(request: Request, audiences: Audience[], confirmDigest?: string): Promise<CallOptions>
  /** The session of the request. */
  session(request: Request): Promise<Session>
  /** The session token, after the Origin was checked. Throws `session_missing` or `origin_refused`. */
  token(request: Request): string
}

export type Audience = keyof typeof audienceServices
const audienceServices = {
  generator: Service.GENERATOR,
  secrets: Service.SECRETS,
  runner: Service.RUNNER,
  broker: Service.BROKER,
} as const

export function openPeople(options: PeopleOptions): People {
  const { sessions, publicUrl, arrivals, strangers } = options

  function token(request: Request): string {
    const source = sessionOf(request)
    const fault = originFault(request, publicUrl, source.kind)
    if (fault !== undefined) throw problem(403, 'origin_refused', fault)
    if (source.kind !== 'none') return source.token
    throw problem(401, 'session_missing', 'Sign in first: this request carries no session.')
  }

  /** Here, and only here, Unauthenticated is about the person. */
  async function signedIn<Answer>(request: Request, ask: () => Promise<Answer>): Promise<Answer> {
    const visitor = visitorOf(arrivals.of(request).clientIp)
    const retryAfterSeconds = strangers(visitor, 'look')
    if (retryAfterSeconds > 0) {
      throw problem(429, 'rate_limited', 'Too many requests without a good session.', {
        retryAfterSeconds,
      })
    }
    try {
      return await ask()
    } catch (thrown) {
      if (!(thrown instanceof ConnectError) || thrown.code !== Code.Unauthenticated) throw thrown
      strangers(visitor)
      throw problem(401, 'session_invalid', 'The session has ended. Sign in again.')
    }
  }

  return {
    token,
    async as(request, audiences, confirmDigest = '') {
      const minted = await signedIn(request, () =>
        sessions.mintUserToken({
          sessionToken: token(request),
          audiences: audiences.map((audience) => audienceServices[audience]),
          confirmDigest,
        }),
      )
      return asUser(minted.token, arrivals.of(request).requestId)
    },
    async session(request) {
      const { session } = await signedIn(request, () =>
        sessions.getSession({ sessionToken: token(request) }),
      )
      if (session === undefined) throw new Error('auth answered no session')
      return session
    },
  }
}
