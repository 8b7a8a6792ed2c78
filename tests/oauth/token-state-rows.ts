/** Requests about tokens that exist: revocation, introspection, and what a bearer token opens. */
import { answerOf, ask } from '../account.ts'
import { postOnly, type Row } from './row.ts'
import { basic, form, newVerifier, plus, type Side } from './side.ts'

export const revocationRows: Row[] = [
  {
    name: 'no token',
    send: (side) => side.revoke(form({ client_id: side.clients.public.id })),
    ours: '400 invalid_request',
  },
  {
    name: 'no client',
    send: (side) => side.revoke(form({ token: 'bmr_nothing' })),
    ours: '401 invalid_client',
    oracle: {
      answers: '400 invalid_request',
      because: 'RFC 6749 section 5.2 counts “no client authentication included” as invalid_client.',
    },
  },
  {
    name: 'a wrong secret',
    send: (side) =>
      side.revoke(
        form({ client_id: side.clients.post.id, client_secret: 'wrong', token: 'bmr_nothing' }),
      ),
    ours: '401 invalid_client',
  },
  {
    name: 'a token that nobody issued, which is revoked already',
    send: (side) =>
      side.revoke(form({ client_id: side.clients.public.id, token: `bmr_${newVerifier()}` })),
    ours: '200',
  },
  {
    name: 'an unknown kind of token as a hint',
    send: (side) =>
      side.revoke(
        form({
          client_id: side.clients.public.id,
          token: `bmr_${newVerifier()}`,
          token_type_hint: 'pigeon',
        }),
      ),
    ours: '200',
  },
  {
    name: 'a token of another client',
    send: async (side) =>
      side.revoke(
        form({ client_id: side.clients.other.id, token: (await side.tokens()).refreshToken }),
      ),
    ours: '400 invalid_grant',
    oracle: {
      answers: '200',
      because: 'RFC 7009 section 2.1: the request is refused and the client is informed of it.',
    },
  },
  {
    name: 'the token twice',
    send: (side) =>
      side.revoke(
        plus(form({ client_id: side.clients.public.id, token: 'bmr_a' }), 'token', 'bmr_b'),
      ),
    ours: '400 invalid_request',
  },
  {
    name: 'by GET',
    send: (side) => ask(`${side.doors.revocation_endpoint}?token=bmr_nothing`, 'GET'),
    ours: '405 invalid_request',
    oracle: { answers: '404', because: postOnly },
  },
  {
    name: 'JSON',
    send: (side) => ask(side.doors.revocation_endpoint, 'POST', { body: { token: 'bmr_nothing' } }),
    ours: '400 invalid_request',
  },
]

export const introspectionRows: Row[] = [
  {
    name: 'no token',
    send: (side) => side.introspect(form({ client_id: side.clients.public.id })),
    ours: '400 invalid_request',
  },
  {
    name: 'no client',
    send: async (side) => side.introspect(form({ token: (await side.tokens()).refreshToken })),
    ours: '401 invalid_client',
    oracle: {
      answers: '400 invalid_request',
      because: 'RFC 6749 section 5.2 counts “no client authentication included” as invalid_client.',
    },
  },
  {
    name: 'a wrong secret',
    send: (side) =>
      side.introspect(
        form({ client_id: side.clients.post.id, client_secret: 'wrong', token: 'bmr_nothing' }),
      ),
    ours: '401 invalid_client',
  },
  {
    name: 'a token that nobody issued',
    send: (side) =>
      side.introspect(form({ client_id: side.clients.public.id, token: `bmr_${newVerifier()}` })),
    ours: '200 inactive',
  },
  {
    name: 'one’s own token',
    send: async (side) =>
      side.introspect(
        form({ client_id: side.clients.public.id, token: (await side.tokens()).refreshToken }),
      ),
    ours: '200 active',
  },
  {
    name: 'a token of another client',
    send: async (side) =>
      side.introspect(
        form({ client_id: side.clients.other.id, token: (await side.tokens()).refreshToken }),
      ),
    ours: '200 inactive',
  },
  {
    name: 'a refresh token that was used',
    send: async (side) => {
      const tokens = await side.tokens()
      await side.token(side.refreshForm(tokens))
      return side.introspect(form({ client_id: tokens.client.id, token: tokens.refreshToken }))
    },
    ours: '200 inactive',
  },
  {
    name: 'an access token of a revoked grant',
    send: async (side) => {
      const tokens = await side.tokens()
      await side.revoke(form({ client_id: tokens.client.id, token: tokens.refreshToken }))
      return side.introspect(form({ client_id: tokens.client.id, token: tokens.accessToken }))
    },
    ours: '200 inactive',
  },
  {
    name: 'by GET',
    send: (side) => ask(`${side.doors.introspection_endpoint}?token=bmr_nothing`, 'GET'),
    ours: '405 invalid_request',
    oracle: { answers: '404', because: postOnly },
  },
]

/** A request to the resource with this Authorization. */
function opening(authorization: (side: Side) => Promise<string> | string) {
  return async (side: Side) => side.open({ authorization: await authorization(side) })
}

export const resourceRows: Row[] = [
  {
    name: 'no token',
    send: (side) => side.open({}),
    ours: '401',
    oracle: {
      answers: '401 invalid_token',
      because:
        'RFC 6750 section 3.1: who brought nothing is told no code, only where tokens come from.',
    },
  },
  {
    name: 'a token that is none',
    send: opening(() => 'Bearer nothing'),
    ours: '401 invalid_token',
  },
  {
    name: 'another scheme',
    send: opening((side) => basic(side.clients.basic).authorization),
    ours: '401',
    oracle: {
      answers: '400 invalid_request',
      because:
        'RFC 6750 section 3.1 names this case beside no token at all: a challenge without a code.',
    },
  },
  {
    name: 'a refresh token',
    send: opening(async (side) => `Bearer ${(await side.tokens()).refreshToken}`),
    ours: '401 invalid_token',
  },
  {
    name: 'a token whose signature was changed',
    send: opening(async (side) => `Bearer ${(await side.tokens()).accessToken.slice(0, -6)}AAAAAA`),
    ours: '401 invalid_token',
  },
  {
    name: 'a token for another resource',
    send: opening(async (side) => {
      const code = await side.code(side.clients.public, { resource: side.otherResource })
      const form = side.codeForm(code, { resource: side.otherResource })
      const { json } = await side.token(form)
      const token =
        typeof json === 'object' && json !== null && 'access_token' in json
          ? json.access_token
          : undefined
      if (typeof token !== 'string') throw new Error('no token came')
      return `Bearer ${token}`
    }),
    ours: '401 invalid_token',
    oracle: {
      answers: '403 insufficient_scope',
      because:
        'Its one resource is that of OpenID Connect, which wants the scope openid first; a foreign audience is an invalid token.',
    },
  },
  {
    name: 'a token in the query',
    send: async (side) => {
      const { accessToken } = await side.tokens()
      return side.open({ query: `?access_token=${accessToken}` })
    },
    ours: '400 invalid_request',
  },
]

export const discoveryRows: Row[] = [
  {
    name: 'metadata of a path that is no issuer',
    send: (side) => ask(`${side.doors.issuer}/.well-known/oauth-authorization-server/x`, 'GET'),
    ours: '404',
  },
  {
    name: 'metadata by POST',
    send: (side) =>
      ask(`${side.doors.issuer}/.well-known/oauth-authorization-server`, 'POST', { body: {} }),
    ours: '404',
  },
  {
    name: 'keys by DELETE',
    send: async (side) => answerOf(await fetch(side.doors.jwks_uri, { method: 'DELETE' })),
    ours: '404',
  },
]
