/** REST: service tokens of programs, made and ended by a signed-in person. */
import { scopeNames } from '@bmm/lib/permission'
import type { ServiceToken } from '@bmm/proto/auth/v1/service_token'
import type { ServiceTokenService } from '@bmm/proto/auth/v1/service_token_service'
import { newTokenAnswer, type TokenAnswer, tokensAnswer } from '@bmm/spec/rest-answer'
import type { Client } from '@connectrpc/connect'
import { Elysia } from 'elysia'
import { z } from 'zod'
import { present, timeText } from './answer.ts'
import { jsonBody } from './json-body.ts'
import type { People } from './person.ts'

export type TokenRoutesOptions = {
  tokens: Client<typeof ServiceTokenService>
  people: People
}

const DAY_SECONDS = 86_400
const MAX_DAYS = 366
const MAX_NAME = 80
export function tokenRoutes({ tokens, people }: TokenRoutesOptions) {
  return new Elysia({ name: 'token-routes', prefix: '/v1', normalize: false })
    .post(
      '/tokens',
      async ({ request, body, set }) => {
        const { value, token } = await tokens.createServiceToken({
          sessionToken: await liveSession(people, request),
          name: body.name,
          scopes: body.scopes,
          lifetimeSeconds: BigInt(body.expiresInDays * DAY_SECONDS),
        })
        set.status = 201
        return { value, token: tokenJson(present(token)) }
      },
      {
        parse: [jsonBody()],
        body: z.strictObject({
          name: z.string().min(1).max(MAX_NAME).describe('What it is for.'),
          scopes: z.array(z.enum(scopeNames)).min(1),
          expiresInDays: z.number().int().min(1).max(MAX_DAYS),
        }),
        response: {
          201: newTokenAnswer,
        },
        detail: {
          summary: 'Make a token for a program that acts for you',
          description: 'Takes a session: no token makes another one.',
          tags: ['tokens'],
        },
      },
    )
    .get(
      '/tokens',
      async ({ request }) => {
        const sessionToken = await liveSession(people, request)
        const listed = await tokens.listServiceTokens({ sessionToken })
        return { tokens: listed.tokens.map(tokenJson) }
      },
      {
        response: { 200: tokensAnswer },
        detail: { summary: 'Live tokens, newest first', tags: ['tokens'] },
      },
    )
    .delete(
      '/tokens/:token',
      async ({ request, params, set }) => {
        const sessionToken = await liveSession(people, request)
        await tokens.revokeServiceToken({ sessionToken, tokenId: params.token })
        set.status = 204
      },
      { detail: { summary: 'End a token within seconds', tags: ['tokens'] } },
    )
}

/** The session token of a request whose session is live: only here an ended one is told as such. */
async function liveSession(people: People, request: Request): Promise<string> {
  await people.session(request)
  return people.token(request)
}

function tokenJson(token: ServiceToken): TokenAnswer {
  const { id, name, scopes, createdAt, expiresAt, lastUsedAt, userEmail } = token
  return {
    ...{ id, name, scopes, user: userEmail },
    createdAt: timeText(createdAt),
    expiresAt: timeText(expiresAt),
    ...(lastUsedAt === undefined ? {} : { lastUsedAt: timeText(lastUsedAt) }),
  }
}
