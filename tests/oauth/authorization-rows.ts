/** Requests at the authorization endpoint, by somebody who is signed in unless the row says otherwise. */
import type { Row } from './row.ts'
import { type Fields, form, plus, redirectUri, type Side, webRedirectUri } from './side.ts'

type Asked = { client?: 'public' | 'web' | 'two'; as?: 'signed in' | 'signed out' }

/** Sends a sound request with these changes. */
function asking(changes: Fields, { client = 'public', as = 'signed in' }: Asked = {}) {
  return (side: Side) => side.authorize(side.query(side.clients[client], changes), as)
}

/** Sends a sound request with one more parameter. */
function twice(name: string, value: (side: Side) => string) {
  return (side: Side) =>
    side.authorize(plus(side.query(side.clients.public), name, value(side)), 'signed in')
}

const untrusted =
  'RFC 6749 section 4.1.2.1 knows no such code; what cannot be trusted to redirect to is an invalid_request.'

const openRedirector =
  'RFC 9700 section 4.11.2: registration is open here, so a person signs in first and goes to a site that she does not know yet by herself.'

export const authorizationRows: Row[] = [
  {
    name: 'no client',
    send: asking({ client_id: undefined }),
    ours: 'page 400 invalid_request',
  },
  {
    name: 'an unknown client',
    send: asking({ client_id: 'cli_00000000000000000000000000' }),
    ours: 'page 400 invalid_client',
  },
  {
    name: 'the client twice',
    send: twice('client_id', (side) => side.clients.other.id),
    ours: 'page 400 invalid_request',
  },
  {
    name: 'no redirect address, of a client with one',
    send: asking({ redirect_uri: undefined }),
    ours: 'redirect code',
  },
  {
    name: 'no redirect address, of a client with two',
    send: asking({ redirect_uri: undefined }, { client: 'two' }),
    ours: 'page 400 invalid_request',
  },
  {
    name: 'a redirect address that is not registered',
    send: asking({ redirect_uri: 'https://evil.example/callback' }),
    ours: 'page 400 invalid_request',
    oracle: { answers: 'page 400 invalid_redirect_uri', because: untrusted },
  },
  {
    name: 'another port of the loopback address',
    send: asking({ redirect_uri: 'http://127.0.0.1:50999/callback' }),
    ours: 'redirect code',
  },
  {
    name: 'another path of the loopback address',
    send: asking({ redirect_uri: 'http://127.0.0.1:33418/other' }),
    ours: 'page 400 invalid_request',
    oracle: { answers: 'page 400 invalid_redirect_uri', because: untrusted },
  },
  {
    name: 'localhost where 127.0.0.1 is registered',
    send: asking({ redirect_uri: 'http://localhost:33418/callback' }),
    ours: 'page 400 invalid_request',
    oracle: { answers: 'page 400 invalid_redirect_uri', because: untrusted },
  },
  {
    name: 'https where http is registered',
    send: asking({ redirect_uri: 'https://127.0.0.1:33418/callback' }),
    ours: 'page 400 invalid_request',
    oracle: { answers: 'page 400 invalid_redirect_uri', because: untrusted },
  },
  {
    name: 'http where https is registered',
    send: asking({ redirect_uri: webRedirectUri.replace('https:', 'http:') }, { client: 'web' }),
    ours: 'page 400 invalid_request',
    oracle: { answers: 'page 400 invalid_redirect_uri', because: untrusted },
  },
  {
    name: 'another port of an https address',
    send: asking({ redirect_uri: 'https://client.example:8443/callback' }, { client: 'web' }),
    ours: 'page 400 invalid_request',
    oracle: { answers: 'page 400 invalid_redirect_uri', because: untrusted },
  },
  {
    name: 'the registered address with a slash more',
    send: asking({ redirect_uri: `${redirectUri}/` }),
    ours: 'page 400 invalid_request',
    oracle: { answers: 'page 400 invalid_redirect_uri', because: untrusted },
  },
  {
    name: 'the registered address with a query',
    send: asking({ redirect_uri: `${redirectUri}?to=evil` }),
    ours: 'page 400 invalid_request',
    oracle: { answers: 'page 400 invalid_redirect_uri', because: untrusted },
  },
  {
    name: 'the registered address with a fragment',
    send: asking({ redirect_uri: `${redirectUri}#here` }),
    ours: 'page 400 invalid_request',
    oracle: { answers: 'page 400 invalid_redirect_uri', because: untrusted },
  },
  {
    name: 'a foreign host behind the registered address as user information',
    send: asking({ redirect_uri: 'http://127.0.0.1:33418@evil.example/callback' }),
    ours: 'page 400 invalid_request',
    oracle: { answers: 'page 400 invalid_redirect_uri', because: untrusted },
  },
  {
    name: 'the redirect address twice',
    send: twice('redirect_uri', () => redirectUri),
    ours: 'page 400 invalid_request',
    oracle: {
      answers: 'redirect invalid_request',
      because:
        'RFC 6749 section 4.1.2.1: while it is open which of the two is meant, the person is told and nobody else.',
    },
  },
  {
    name: 'no response type',
    send: asking({ response_type: undefined }),
    ours: 'redirect invalid_request',
  },
  {
    name: 'the response type of the implicit grant',
    send: asking({ response_type: 'token' }),
    ours: 'redirect unsupported_response_type',
  },
  {
    name: 'the response type of the hybrid flow',
    send: asking({ response_type: 'code token' }),
    ours: 'redirect unsupported_response_type',
  },
  {
    name: 'an unknown response mode',
    send: asking({ response_mode: 'pigeon' }),
    ours: 'redirect invalid_request',
    oracle: {
      answers: 'redirect unsupported_response_mode',
      because:
        'No RFC registers that code; a value that is not supported is an invalid_request (RFC 6749 section 4.1.2.1).',
    },
  },
  {
    name: 'no challenge',
    send: asking({ code_challenge: undefined, code_challenge_method: undefined }),
    ours: 'redirect invalid_request',
  },
  {
    name: 'a method without a challenge',
    send: asking({ code_challenge: undefined }),
    ours: 'redirect invalid_request',
  },
  {
    name: 'a challenge without a method, which means plain',
    send: asking({ code_challenge_method: undefined }),
    ours: 'redirect invalid_request',
  },
  {
    name: 'the method plain',
    send: asking({ code_challenge_method: 'plain' }),
    ours: 'redirect invalid_request',
  },
  {
    name: 'an unknown method',
    send: asking({ code_challenge_method: 'S512' }),
    ours: 'redirect invalid_request',
  },
  {
    name: 'a challenge that is too short',
    send: asking({ code_challenge: 'c'.repeat(42) }),
    ours: 'redirect invalid_request',
  },
  {
    name: 'a challenge that no SHA-256 has',
    send: asking({ code_challenge: 'c'.repeat(60) }),
    ours: 'redirect invalid_request',
    oracle: {
      answers: 'redirect code',
      because:
        'A challenge of S256 has 43 characters (RFC 7636 section 4.2): no verifier can ever meet another one.',
    },
  },
  {
    name: 'a challenge with foreign characters',
    send: asking({ code_challenge: `${'c'.repeat(42)}=` }),
    ours: 'redirect invalid_request',
  },
  {
    name: 'the challenge twice',
    send: twice('code_challenge', () => 'c'.repeat(43)),
    ours: 'redirect invalid_request',
  },
  {
    name: 'scopes that do not exist',
    send: asking({ scope: 'everything' }),
    ours: 'redirect invalid_scope',
    oracle: {
      answers: 'redirect access_denied',
      because: 'RFC 6749 section 4.1.2.1 has invalid_scope for that; nobody denied anything.',
    },
  },
  {
    name: 'a scope that is malformed',
    send: asking({ scope: 'mcp:tools "' }),
    ours: 'redirect invalid_scope',
  },
  {
    name: 'the scope twice',
    send: twice('scope', () => 'mcp:tools'),
    ours: 'redirect invalid_request',
  },
  {
    name: 'the state twice',
    send: twice('state', () => 'another'),
    ours: 'redirect invalid_request',
  },
  {
    name: 'no resource',
    send: asking({ resource: undefined }),
    ours: 'redirect invalid_target',
  },
  {
    name: 'an unknown resource',
    send: (side) => asking({ resource: `${side.resource}x` })(side),
    ours: 'redirect invalid_target',
  },
  {
    name: 'a resource elsewhere',
    send: asking({ resource: 'https://evil.example/s/a/mcp' }),
    ours: 'redirect invalid_target',
  },
  {
    name: 'a resource that is no address',
    send: asking({ resource: 'refusals-a' }),
    ours: 'redirect invalid_target',
  },
  {
    name: 'a resource with a fragment',
    send: (side) => asking({ resource: `${side.resource}#part` })(side),
    ours: 'redirect invalid_target',
  },
  {
    name: 'two resources',
    send: twice('resource', (side) => side.otherResource),
    ours: 'redirect invalid_target',
    oracle: {
      answers: 'redirect code',
      because:
        'A token is for exactly one server here, so the request must name exactly one (RFC 8707 section 2: invalid_target).',
    },
  },
  {
    name: 'a request object',
    send: asking({ request: 'eyJhbGciOiJub25lIn0.e30.' }),
    ours: 'redirect request_not_supported',
  },
  {
    name: 'a request object by address',
    send: asking({ request_uri: 'https://client.example/request' }),
    ours: 'redirect request_uri_not_supported',
  },
  {
    name: 'no question, of somebody who is signed out',
    send: asking({ prompt: 'none' }, { as: 'signed out' }),
    ours: 'redirect login_required',
  },
  {
    name: 'no question, of somebody who is signed in and has not consented',
    send: asking({ prompt: 'none' }),
    ours: 'redirect consent_required',
    oracle: {
      answers: 'redirect interaction_required',
      because:
        'OpenID Connect Core section 3.1.2.6 has both; what is missing here is the consent, so the code that says so.',
    },
  },
  {
    name: 'no question together with one',
    send: asking({ prompt: 'none login' }),
    ours: 'redirect invalid_request',
  },
  {
    name: 'a sound request that the person denies',
    send: asking({ login_hint: 'deny' }),
    ours: 'redirect access_denied',
  },
  {
    name: 'a state of 20,000 characters',
    send: asking({ state: 's'.repeat(20_000) }),
    ours: 'page 431',
  },
  {
    name: 'a scope that does not exist, of somebody who is signed out',
    send: asking({ scope: 'everything' }, { as: 'signed out' }),
    ours: 'page 200',
    oracle: { answers: 'redirect access_denied', because: openRedirector },
  },
  {
    name: 'no resource, of a client on the web that she allows nothing yet',
    send: asking({ redirect_uri: webRedirectUri, resource: undefined }, { client: 'web' }),
    ours: 'page 400 invalid_target',
    oracle: { answers: 'redirect invalid_target', because: openRedirector },
  },
  {
    name: 'a sound request of a client on the web, which she denies',
    send: asking({ redirect_uri: webRedirectUri, login_hint: 'deny' }, { client: 'web' }),
    ours: 'page 400 access_denied',
    oracle: { answers: 'redirect access_denied', because: openRedirector },
  },
  {
    name: 'nothing at all',
    send: (side) => side.authorize(form({}), 'signed in'),
    ours: 'page 400 invalid_request',
  },
]
