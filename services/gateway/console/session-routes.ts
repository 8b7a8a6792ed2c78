/** REST: signing in and out, and who one is. */
import { reasonOf } from '@bmm/lib/errors'
import type { SessionService } from '@bmm/proto/auth/v1/auth_service'
import { meAnswer, sessionsAnswer, signInAnswer } from '@bmm/spec/rest-answer'
import type { Client } from '@connectrpc/connect'
import { Elysia } from 'elysia'
import { z } from 'zod'
import type { Program } from '../access/service-token.ts'
import { expiredSessionCookie, originFault } from '../access/session-cookie.ts'
import { type Arrivals, userAgentOf } from '../arrival/arrival.ts'
import { admitVisitor, type RateLimiter } from '../limits/rate-limit.ts'
import { problem } from '../problem.ts'
import { present, timeText } from './answer.ts'
import { jsonBody } from './json-body.ts'
import type { People } from './person.ts'

export type SessionRoutesOptions = {
  sessions: Client<typeof SessionService>
  people: People
  arrivals: Arrivals
  publicUrl: string
  /** Requests without a session, by visitor. */
  visitors: RateLimiter
}

export function sessionRoutes(options: SessionRoutesOptions) {
  const { sessions, people, arrivals } = options
  return new Elysia({ name: 'session-routes', prefix: '/v1', normalize: false })
    .post(
      '/login',
      async ({ request, body, set }) => {
        admit(request, options)
        const { clientIp } = arrivals.of(request)
        await sessions.startMagicLink({ email: body.email, clientIp })
        set.status = 202
        return { message: 'If the address can receive mail, a link is on its way.' }
      },
      {
        parse: [jsonBody()],
        body: z.strictObject({ email: z.email().max(254) }),
        response: { 202: z.object({ message: z.string() }) },
        detail: { summary: 'Mail a sign-in link', tags: ['session'], security: [] },
      },
    )
    .post(
      '/login/finish',
      async ({ request, body }) => {
        admit(request, options)
        const finished = await sessions
          .finishMagicLink({
            token: body.token,
            userAgent: userAgentOf(request),
          })
          .catch((thrown: unknown) => {
            if (reasonOf(thrown) !== 'link_invalid') throw thrown
            throw problem(
              400,
              'link_invalid',
              'This link was used or has expired. Ask for a new one.',
            )
          })
        const { id, email } = present(finished.session?.user)
        return { session: finished.sessionToken, user: { id, email } }
      },
      {
        parse: [jsonBody()],
        body: z.strictObject({ token: z.string().min(1).max(200) }),
        response: {
          200: signInAnswer,
        },
        detail: { summary: 'Redeem a sign-in link', tags: ['session'], security: [] },
      },
    )
    .post(
      '/logout',
      async ({ request, set }) => {
        await sessions.revokeSession({ sessionToken: people.token(request) })
        set.headers['set-cookie'] = expiredSessionCookie
        return { message: 'Signed out.' }
      },
      {
        parse: 'none',
        response: { 200: z.object({ message: z.string() }) },
        detail: { summary: 'End this session', tags: ['session'] },
      },
    )
    .get(
      '/sessions',
      async ({ request }) => {
        await people.session(request)
        const listed = await sessions.listSessions({ sessionToken: people.token(request) })
        return {
          sessions: listed.sessions.map(({ id, userAgent, current, createdAt, expiresAt }) => ({
            ...{ id, userAgent, current },
            createdAt: timeText(createdAt),
            expiresAt: timeText(expiresAt),
          })),
        }
      },
      {
        response: { 200: sessionsAnswer },
        detail: { summary: 'Where one is signed in, newest first', tags: ['session'] },
      },
    )
    .delete(
      '/sessions/:session',
      async ({ request, params, set }) => {
        await people.session(request)
        const sessionToken = people.token(request)
        await sessions.endSession({ sessionToken, sessionId: params.session })
        set.status = 204
      },
      { detail: { summary: 'End one of one’s sessions', tags: ['session'] } },
    )
    .get(
      '/me',
      async ({ request }) => {
        const program = await people.program(request)
        if (program !== undefined) return programJson(program)
        const session = await people.session(request)
        const { user, org } = { user: present(session.user), org: present(session.org) }
        return {
          user: { id: user.id, email: user.email },
          org: { id: org.id, name: org.name },
          role: session.role,
          session: { id: session.id, expiresAt: timeText(session.expiresAt) },
        }
      },
      {
        response: {
          200: meAnswer,
        },
        detail: {
          summary: 'Who is signed in, or for whom the service token acts',
          tags: ['session'],
        },
      },
    )
}

function programJson({ tokenId, userId, orgId, scopes, about }: Program) {
  const { email, orgName, role, name, expiresAtMs } = about
  return {
    user: { id: userId, email },
    org: { id: orgId, name: orgName },
    role,
    token: {
      id: tokenId,
      name,
      scopes: [...scopes],
      expiresAt: new Date(expiresAtMs).toISOString(),
    },
  }
}

function admit(request: Request, options: SessionRoutesOptions): void {
  const fault = originFault(request, options.publicUrl, 'none')
  if (fault !== undefined) throw problem(403, 'origin_refused', fault)
  admitVisitor(options.visitors, options.arrivals.of(request))
}
