/** Requests at the token endpoint that are refused for who sends them, or for their form. */
import { answerOf } from '../account.ts'
import { postOnly, type Row } from './row.ts'
import { basic, type Fields, form, newVerifier, plus, type Side } from './side.ts'

export const nobody = { code: 'bmc_nothing', verifier: newVerifier() }

/** Redeems a code that nobody issued: what is refused before the code is looked at needs none. */
export function redeeming(changes: Fields, client: keyof Side['clients'] = 'public') {
  return (side: Side) =>
    side.token(side.codeForm({ ...nobody, client: side.clients[client] }, changes))
}

/** As a client with a secret, by the Authorization header. */
function withHeader(authorization: (side: Side) => string, changes: Fields = {}) {
  return (side: Side) => {
    const sent = side.codeForm({ ...nobody, client: side.clients.basic }, changes)
    return side.token(sent, { authorization: authorization(side) })
  }
}

/** Sends a body as it is to the token endpoint. */
function sending(method: string, body: string | undefined, type: string) {
  return async (side: Side) =>
    answerOf(
      await fetch(side.doors.token_endpoint, {
        method,
        headers: { 'content-type': type, accept: 'application/json' },
        ...(body === undefined ? {} : { body }),
      }),
    )
}

const formType = 'application/x-www-form-urlencoded'

export const clientRows: Row[] = [
  {
    name: 'no client',
    send: redeeming({ client_id: undefined }),
    ours: '401 invalid_client',
    oracle: {
      answers: '400 invalid_request',
      because: 'RFC 6749 section 5.2 counts “no client authentication included” as invalid_client.',
    },
  },
  {
    name: 'an unknown client',
    send: redeeming({ client_id: 'cli_00000000000000000000000000' }),
    ours: '401 invalid_client',
  },
  {
    name: 'the client twice',
    send: (side) => {
      const sent = side.codeForm({ ...nobody, client: side.clients.public })
      return side.token(plus(sent, 'client_id', side.clients.other.id))
    },
    ours: '400 invalid_request',
  },
  {
    name: 'a client with a secret that sends none',
    send: redeeming({}, 'basic'),
    ours: '401 invalid_client',
  },
  {
    name: 'a wrong secret in the form',
    send: redeeming({ client_secret: 'wrong' }, 'post'),
    ours: '401 invalid_client',
  },
  {
    name: 'a wrong secret in the header',
    send: withHeader(({ clients }) => basic({ ...clients.basic, secret: 'wrong' }).authorization),
    ours: '401 invalid_client',
  },
  {
    name: 'a secret of a client that has none',
    send: redeeming({ client_secret: 'made-up' }),
    ours: '401 invalid_client',
  },
  {
    name: 'the secret in the form, registered for the header',
    send: (side) => redeeming({ client_secret: side.clients.basic.secret }, 'basic')(side),
    ours: '401 invalid_client',
    oracle: {
      answers: '400 invalid_grant',
      because:
        'A client authenticates by the one method that it registered (RFC 7591 section 2); oidc-provider takes either.',
    },
  },
  {
    name: 'the secret in the header, registered for the form',
    send: (side) =>
      side.token(side.codeForm({ ...nobody, client: side.clients.post }), basic(side.clients.post)),
    ours: '401 invalid_client',
    oracle: {
      answers: '400 invalid_grant',
      because:
        'A client authenticates by the one method that it registered (RFC 7591 section 2); oidc-provider takes either.',
    },
  },
  {
    name: 'the secret in both places',
    send: (side) =>
      side.token(
        side.codeForm(
          { ...nobody, client: side.clients.basic },
          { client_secret: side.clients.basic.secret },
        ),
        basic(side.clients.basic),
      ),
    ours: '400 invalid_request',
  },
  {
    name: 'two clients, one in the header and one in the form',
    send: withHeader(({ clients }) => basic(clients.basic).authorization, {
      client_id: 'cli_00000000000000000000000000',
    }),
    ours: '400 invalid_request',
  },
  {
    name: 'a header that is not base64',
    send: withHeader(() => 'Basic ***'),
    ours: '401 invalid_client',
    oracle: {
      answers: '400 invalid_request',
      because:
        'RFC 6749 section 5.2: an attempt by the Authorization header must be answered with 401 and a challenge.',
    },
  },
  {
    name: 'a header without a colon in it',
    send: withHeader(() => `Basic ${Buffer.from('nothing').toString('base64')}`),
    ours: '401 invalid_client',
    oracle: {
      answers: '400 invalid_request',
      because:
        'RFC 6749 section 5.2: an attempt by the Authorization header must be answered with 401 and a challenge.',
    },
  },
  {
    name: 'a header with broken percent-encoding',
    send: withHeader(() => `Basic ${Buffer.from('%zz:%zz').toString('base64')}`),
    ours: '401 invalid_client',
    oracle: {
      answers: '400 invalid_request',
      because:
        'RFC 6749 section 5.2: an attempt by the Authorization header must be answered with 401 and a challenge.',
    },
  },
  {
    name: 'a header of another scheme',
    send: withHeader(() => 'Bearer bms_nothing'),
    ours: '401 invalid_client',
    oracle: {
      answers: '400 invalid_request',
      because:
        'RFC 6749 section 5.2: an attempt by the Authorization header must be answered with 401 and a challenge.',
    },
  },
]

export const formRows: Row[] = [
  {
    name: 'no grant type',
    send: redeeming({ grant_type: undefined }),
    ours: '400 invalid_request',
  },
  {
    name: 'the password grant',
    send: redeeming({ grant_type: 'password', username: 'a', password: 'b' }),
    ours: '400 unsupported_grant_type',
  },
  {
    name: 'the client credentials grant',
    send: redeeming({ grant_type: 'client_credentials' }),
    ours: '400 unsupported_grant_type',
  },
  {
    name: 'the refresh grant of a client that registered for codes only',
    send: (side) =>
      side.token(
        form({
          grant_type: 'refresh_token',
          client_id: side.clients.codeOnly.id,
          refresh_token: 'bmr_nothing',
        }),
      ),
    ours: '400 invalid_grant',
    oracle: {
      answers: '400 invalid_request',
      because:
        'A registration caps nothing here, since clients ask for offline_access later: the token decides, and there is none.',
    },
  },
  {
    name: 'the grant type twice',
    send: (side) => {
      const sent = side.codeForm({ ...nobody, client: side.clients.public })
      return side.token(plus(sent, 'grant_type', 'refresh_token'))
    },
    ours: '400 invalid_request',
  },
  {
    name: 'by GET',
    send: (side) =>
      fetch(
        `${side.doors.token_endpoint}?${side.codeForm({ ...nobody, client: side.clients.public })}`,
        { headers: { accept: 'application/json' } },
      ).then(answerOf),
    ours: '405 invalid_request',
    oracle: { answers: '404', because: postOnly },
  },
  {
    name: 'everything in the query of a POST',
    send: (side) =>
      fetch(
        `${side.doors.token_endpoint}?${side.codeForm({ ...nobody, client: side.clients.public })}`,
        { method: 'POST', headers: { accept: 'application/json', 'content-type': formType } },
      ).then(answerOf),
    ours: '401 invalid_client',
    oracle: {
      answers: '400 invalid_request',
      because: 'RFC 6749 section 5.2 counts “no client authentication included” as invalid_client.',
    },
  },
  {
    name: 'JSON',
    send: sending('POST', JSON.stringify({ grant_type: 'authorization_code' }), 'application/json'),
    ours: '400 invalid_request',
  },
  {
    name: 'an empty form',
    send: sending('POST', '', formType),
    ours: '401 invalid_client',
    oracle: {
      answers: '400 invalid_request',
      because: 'RFC 6749 section 5.2 counts “no client authentication included” as invalid_client.',
    },
  },
  {
    name: 'a form of 100,000 bytes',
    send: sending('POST', `grant_type=${'g'.repeat(100_000)}`, formType),
    ours: '400 invalid_request',
  },
]
