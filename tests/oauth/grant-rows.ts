/** Redeeming codes and refresh tokens: which of them are good, for whom, and for how much. */
import type { Row } from './row.ts'
import { type Fields, form, newVerifier, plus, redirectUri, type Side } from './side.ts'
import { nobody, redeeming } from './token-rows.ts'

/** Redeems a fresh code with these changes. */
function redeemingFresh(changes: Fields) {
  return async (side: Side) => side.token(side.codeForm(await side.code(), changes))
}

export const codeRows: Row[] = [
  { name: 'no code', send: redeeming({ code: undefined }), ours: '400 invalid_request' },
  { name: 'a code that nobody issued', send: redeeming({}), ours: '400 invalid_grant' },
  {
    name: 'the code twice in the form',
    send: (side) => {
      const sent = side.codeForm({ ...nobody, client: side.clients.public })
      return side.token(plus(sent, 'code', 'bmc_other'))
    },
    ours: '400 invalid_request',
  },
  {
    name: 'a code that was redeemed before',
    send: async (side) => {
      const sent = side.codeForm(await side.code())
      await side.token(sent)
      return side.token(sent)
    },
    ours: '400 invalid_grant',
  },
  {
    name: 'a refresh token whose code came twice',
    send: async (side) => {
      const code = await side.code()
      const { json } = await side.token(side.codeForm(code))
      await side.token(side.codeForm(code))
      const refreshToken =
        typeof json === 'object' && json !== null && 'refresh_token' in json
          ? String(json.refresh_token)
          : ''
      return side.token(
        side.refreshForm({ refreshToken, accessToken: '', client: side.clients.public }),
      )
    },
    ours: '400 invalid_grant',
  },
  {
    name: 'a code that has expired',
    send: async (side) => {
      const code = await side.code(side.clients.hasty)
      await side.outlive(code)
      return side.token(side.codeForm(code))
    },
    ours: '400 invalid_grant',
  },
  {
    name: 'a code of another client',
    send: (side) => redeemingFresh({ client_id: side.clients.other.id })(side),
    ours: '400 invalid_grant',
  },
  {
    name: 'another redirect address than that of the authorization',
    send: redeemingFresh({ redirect_uri: `${redirectUri}/other` }),
    ours: '400 invalid_grant',
  },
  {
    name: 'another loopback port than that of the authorization',
    send: redeemingFresh({ redirect_uri: 'http://127.0.0.1:50999/callback' }),
    ours: '400 invalid_grant',
  },
  {
    name: 'no redirect address, of a client with one',
    send: redeemingFresh({ redirect_uri: undefined }),
    ours: '200',
  },
  {
    name: 'no verifier',
    send: redeemingFresh({ code_verifier: undefined }),
    ours: '400 invalid_request',
    oracle: {
      answers: '400 invalid_grant',
      because:
        'A required parameter is missing (RFC 6749 section 5.2), and the client can mend that with the same code.',
    },
  },
  {
    name: 'a wrong verifier',
    send: redeemingFresh({ code_verifier: newVerifier() }),
    ours: '400 invalid_grant',
  },
  {
    name: 'the challenge as the verifier',
    send: async (side) => {
      const challenge = 'c'.repeat(43)
      const code = await side.code(side.clients.public, { code_challenge: challenge })
      return side.token(side.codeForm(code, { code_verifier: challenge }))
    },
    ours: '400 invalid_grant',
  },
  {
    name: 'a verifier of 42 characters',
    send: redeemingFresh({ code_verifier: 'v'.repeat(42) }),
    ours: '400 invalid_request',
  },
  {
    name: 'a verifier of 129 characters',
    send: redeemingFresh({ code_verifier: 'v'.repeat(129) }),
    ours: '400 invalid_request',
  },
  {
    name: 'a verifier with foreign characters',
    send: redeemingFresh({ code_verifier: `${'v'.repeat(42)} +` }),
    ours: '400 invalid_request',
  },
  {
    name: 'the resource of another server',
    send: (side) => redeemingFresh({ resource: side.otherResource })(side),
    ours: '400 invalid_target',
  },
  {
    name: 'an unknown resource',
    send: redeemingFresh({ resource: 'https://evil.example/mcp' }),
    ours: '400 invalid_target',
  },
  {
    name: 'a resource that is no address',
    send: redeemingFresh({ resource: 'refusals-a' }),
    ours: '400 invalid_target',
  },
  {
    name: 'two resources',
    send: async (side) =>
      side.token(plus(side.codeForm(await side.code()), 'resource', side.otherResource)),
    ours: '400 invalid_target',
  },
  { name: 'no resource', send: redeemingFresh({ resource: undefined }), ours: '200' },
]

export const refreshRows: Row[] = [
  {
    name: 'no refresh token',
    send: (side) =>
      side.token(form({ grant_type: 'refresh_token', client_id: side.clients.public.id })),
    ours: '400 invalid_request',
  },
  {
    name: 'a refresh token that nobody issued',
    send: (side) =>
      side.token(
        side.refreshForm({
          refreshToken: `bmr_${newVerifier()}`,
          accessToken: '',
          client: side.clients.public,
        }),
      ),
    ours: '400 invalid_grant',
  },
  {
    name: 'an access token as refresh token',
    send: async (side) => {
      const tokens = await side.tokens()
      return side.token(side.refreshForm(tokens, { refresh_token: tokens.accessToken }))
    },
    ours: '400 invalid_grant',
  },
  {
    name: 'the same refresh token again at once, as after a lost answer',
    send: async (side) => {
      const sent = side.refreshForm(await side.tokens())
      await side.token(sent)
      return side.token(sent)
    },
    ours: '200',
    oracle: {
      answers: '400 invalid_grant',
      because:
        'RFC 9700 section 4.14.2 leaves a lost answer open; the same successor again, for 10 s and only while it is unused, keeps clients signed in on bad networks.',
    },
  },
  {
    name: 'a refresh token whose successor was used',
    send: async (side) => {
      const tokens = await side.tokens()
      await refreshTwice(side, tokens)
      return side.token(side.refreshForm(tokens))
    },
    ours: '400 invalid_grant',
  },
  {
    name: 'the newest refresh token of a family whose oldest came again',
    send: async (side) => {
      const tokens = await side.tokens()
      const newest = await refreshTwice(side, tokens)
      await side.token(side.refreshForm(tokens))
      return side.token(side.refreshForm({ ...tokens, refreshToken: newest }))
    },
    ours: '400 invalid_grant',
  },
  {
    name: 'a refresh token of another client',
    send: async (side) =>
      side.token(side.refreshForm(await side.tokens(), { client_id: side.clients.other.id })),
    ours: '400 invalid_grant',
  },
  {
    name: 'more scope than was granted',
    send: async (side) =>
      side.token(side.refreshForm(await side.tokens(), { scope: 'mcp:tools offline_access' })),
    ours: '400 invalid_scope',
  },
  {
    name: 'a scope that does not exist',
    send: async (side) =>
      side.token(side.refreshForm(await side.tokens(), { scope: 'everything' })),
    ours: '400 invalid_scope',
  },
  {
    name: 'a malformed scope',
    send: async (side) =>
      side.token(side.refreshForm(await side.tokens(), { scope: 'mcp:tools "' })),
    ours: '400 invalid_scope',
  },
  {
    name: 'the resource of another server',
    send: async (side) =>
      side.token(side.refreshForm(await side.tokens(), { resource: side.otherResource })),
    ours: '400 invalid_target',
  },
  {
    name: 'a refresh token of a revoked grant',
    send: async (side) => {
      const tokens = await side.tokens()
      await side.revoke(form({ client_id: tokens.client.id, token: tokens.refreshToken }))
      return side.token(side.refreshForm(tokens))
    },
    ours: '400 invalid_grant',
  },
]

/** The newest refresh token after two rotations. */
async function refreshTwice(
  side: Side,
  tokens: Parameters<Side['refreshForm']>[0],
): Promise<string> {
  let refreshToken = tokens.refreshToken
  for (let time = 0; time < 2; time++) {
    const { json, text } = await side.token(side.refreshForm({ ...tokens, refreshToken }))
    if (typeof json !== 'object' || json === null || !('refresh_token' in json)) {
      throw new Error(`not refreshed: ${text}`)
    }
    refreshToken = String(json.refresh_token)
  }
  return refreshToken
}
