/** Who is behind a REST request, by session or service token, and the user tokens that say so to the services. */
import { asUser } from '@bmm/lib/client'
import { visitorOf } from '@bmm/lib/visitor'
import type { SessionService } from '@bmm/proto/auth/v1/auth_service'
import type { Session } from '@bmm/proto/auth/v1/user'
import type { Permission } from '@bmm/proto/v1/options'
import { type CallOptions, type Client, Code, ConnectError } from '@connectrpc/connect'
import { decodeJwt } from 'jose'
import { type Audience, audienceServices } from '../access/audience.ts'
import type { Program, ServiceTokens } from '../access/service-token.ts'
import { originFault, type SessionSource, sessionOf } from '../access/session-cookie.ts'
import type { Arrivals } from '../arrival/arrival.ts'
import type { RateLimiter } from '../limits/rate-limit.ts'
import { problem } from '../problem.ts'

export type PeopleOptions = {
  sessions: Client<typeof SessionService>
  publicUrl: string
  arrivals: Arrivals
  /** Requests with a session that has ended or never was, by visitor. */
  strangers: RateLimiter
  programs: ServiceTokens
}

export type Purpose = {
  /** What a service token must permit; a route that names none takes sessions only. */
  permissions?: readonly Permission[]
  /** Of what the person confirms with this request. */
  confirmDigest?: string
}

export type KnownPerson = { userId: string; as: CallOptions }

export type People = {
  /** Call options that put the person behind the calls of this request. */
  as(request: Request, audiences: Audience[], purpose?: Purpose): Promise<CallOptions>
  /** The same, and who it is. */
  known(request: Request, audiences: Audience[], purpose?: Purpose): Promise<KnownPerson>
  /** The program whose service token the request carries, with whatever scopes; undefined for a person. */
  program(request: Request): Promise<Program | undefined>
  /** The session of the request. */
  session(request: Request): Promise<Session>
  /** The session token, after the Origin was checked. Throws `session_missing`, `session_needed` or `origin_refused`. */
  token(request: Request): string
}

export function openPeople(options: PeopleOptions): People {
  const { sessions, publicUrl, arrivals, strangers, programs } = options

  function sourceOf(request: Request): Exclude<SessionSource, { kind: 'none' }> {
    const source = sessionOf(request)
    const fault = originFault(request, publicUrl, source.kind)
    if (fault !== undefined) throw problem(403, 'origin_refused', fault)
    if (source.kind !== 'none') return source
    throw problem(401, 'session_missing', 'Sign in first: this request carries no session.')
  }

  function token(request: Request): string {
    const source = sourceOf(request)
    if (source.kind !== 'service_token') return source.token
    throw problem(403, 'session_needed', 'Service tokens are not taken here: sign in.')
  }

  async function program(request: Request, value: string, audiences: Audience[], purpose: Purpose) {
    const { permissions, confirmDigest } = purpose
    if (permissions === undefined) token(request)
    const visitor = visitorOf(arrivals.of(request).clientIp)
    const confirming = confirmDigest === undefined ? {} : { confirmDigest }
    return programs
      .admit({ value, visitor, audiences, permissions: permissions ?? [], ...confirming })
      .catch((thrown: unknown) => {
        if (!(thrown instanceof ConnectError) || thrown.code !== Code.Unauthenticated) throw thrown
        throw problem(401, 'token_invalid', thrown.rawMessage)
      })
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

  const known: People['known'] = async (request, audiences, purpose = {}) => {
    const { requestId } = arrivals.of(request)
    const source = sourceOf(request)
    if (source.kind === 'service_token') {
      const { userToken, userId } = await program(request, source.token, audiences, purpose)
      return { userId, as: asUser(userToken, requestId) }
    }
    const minted = await signedIn(request, () =>
      sessions.mintUserToken({
        sessionToken: source.token,
        audiences: audiences.map((audience) => audienceServices[audience]),
        confirmDigest: purpose.confirmDigest ?? '',
      }),
    )
    // Straight from who signs it: there is nothing to verify.
    const { sub = '' } = decodeJwt(minted.token)
    return { userId: sub, as: asUser(minted.token, requestId) }
  }

  return {
    token,
    known,
    async program(request) {
      const source = sourceOf(request)
      if (source.kind !== 'service_token') return undefined
      return program(request, source.token, [], { permissions: [] })
    },
    as: async (request, audiences, purpose) => (await known(request, audiences, purpose)).as,
    async session(request) {
      const { session } = await signedIn(request, () =>
        sessions.getSession({ sessionToken: token(request) }),
      )
      if (session === undefined) throw new Error('auth answered no session')
      return session
    },
  }
}
