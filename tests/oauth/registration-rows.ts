/** Requests at the registration endpoint. */
import { answerOf, ask } from '../account.ts'
import { postOnly, type Row } from './row.ts'
import { type Side, soundMetadata } from './side.ts'

const registering = (changes: object) => (side: Side) =>
  side.register({ ...soundMetadata, ...changes })

const redirecting = (...uris: unknown[]) => registering({ redirect_uris: uris })

const posting = (body: string, type: string) => async (side: Side) =>
  answerOf(
    await fetch(side.doors.registration_endpoint, {
      method: 'POST',
      headers: { 'content-type': type, accept: 'application/json' },
      body,
    }),
  )

export const registrationRows: Row[] = [
  {
    name: 'no JSON',
    send: posting('{', 'application/json'),
    ours: '400 invalid_client_metadata',
    oracle: {
      answers: '400 invalid_request',
      because:
        'RFC 7591 section 3.2.2 has invalid_client_metadata for metadata that cannot be used.',
    },
  },
  {
    name: 'a list',
    send: posting('[]', 'application/json'),
    ours: '400 invalid_client_metadata',
    oracle: {
      answers: '400 invalid_request',
      because:
        'RFC 7591 section 3.2.2 has invalid_client_metadata for metadata that cannot be used.',
    },
  },
  {
    name: 'a form',
    send: posting('redirect_uris=a', 'application/x-www-form-urlencoded'),
    ours: '400 invalid_request',
  },
  {
    name: 'metadata of 100,000 bytes',
    send: registering({ client_name: 'n'.repeat(100_000) }),
    ours: '400 invalid_request',
  },
  {
    name: 'by GET',
    send: (side) => ask(side.doors.registration_endpoint, 'GET'),
    ours: '405 invalid_request',
    oracle: { answers: '404', because: postOnly },
  },
  {
    name: 'no redirect addresses',
    send: registering({ redirect_uris: undefined }),
    ours: '400 invalid_redirect_uri',
  },
  {
    name: 'an empty list of redirect addresses',
    send: redirecting(),
    ours: '400 invalid_redirect_uri',
  },
  {
    name: 'a redirect address that is no text',
    send: redirecting(7),
    ours: '400 invalid_redirect_uri',
  },
  {
    name: 'one redirect address that is no list',
    send: registering({ redirect_uris: 'http://127.0.0.1:1/callback' }),
    ours: '400 invalid_redirect_uri',
  },
  {
    name: 'a relative redirect address',
    send: redirecting('/callback'),
    ours: '400 invalid_redirect_uri',
  },
  {
    name: 'a script as redirect address',
    send: redirecting('javascript:alert(1)'),
    ours: '400 invalid_redirect_uri',
  },
  {
    name: 'data as redirect address',
    send: redirecting('data:text/html,hello'),
    ours: '400 invalid_redirect_uri',
  },
  {
    name: 'http on a public host',
    send: redirecting('http://client.example/callback'),
    ours: '400 invalid_redirect_uri',
  },
  {
    name: 'a redirect address with a fragment',
    send: redirecting('http://127.0.0.1:1/callback#here'),
    ours: '400 invalid_redirect_uri',
  },
  {
    name: 'a redirect address with an empty fragment',
    send: redirecting('http://127.0.0.1:1/callback#'),
    ours: '400 invalid_redirect_uri',
  },
  {
    name: 'one good redirect address and a bad one',
    send: redirecting('http://127.0.0.1:1/callback', 'javascript:alert(1)'),
    ours: '400 invalid_redirect_uri',
  },
  {
    name: 'a redirect address with a user name',
    send: redirecting('https://client.example@evil.example/callback'),
    ours: '400 invalid_redirect_uri',
    oracle: {
      answers: '201',
      because:
        'RFC 3986 section 7.5: what stands before the @ misleads who reads the address on the consent page.',
    },
  },
  {
    name: 'a redirect address that brings a code along',
    send: redirecting('https://client.example/callback?code=1'),
    ours: '400 invalid_redirect_uri',
    oracle: {
      answers: '201',
      because:
        'The client could not tell that parameter from the answer, which is what mix-up attacks need (RFC 9700 section 4.4).',
    },
  },
  {
    name: 'eleven redirect addresses',
    send: redirecting(...Array.from({ length: 11 }, (_, at) => `http://127.0.0.1:1/${at}`)),
    ours: '400 invalid_redirect_uri',
    oracle: {
      answers: '201',
      because:
        'Everything that strangers may store has a limit; ten addresses are more than any known client registers.',
    },
  },
  {
    name: 'a method of authentication that is not offered',
    send: registering({ token_endpoint_auth_method: 'private_key_jwt' }),
    ours: '400 invalid_client_metadata',
  },
  {
    name: 'the implicit grant only',
    send: registering({ grant_types: ['implicit'], response_types: ['token'] }),
    ours: '400 invalid_client_metadata',
  },
  {
    name: 'the client credentials grant only',
    send: registering({ grant_types: ['client_credentials'], response_types: [] }),
    ours: '400 invalid_client_metadata',
  },
  {
    name: 'the response type token',
    send: registering({ response_types: ['token'] }),
    ours: '400 invalid_client_metadata',
  },
  {
    name: 'grant types that are no list',
    send: registering({ grant_types: 'authorization_code' }),
    ours: '400 invalid_client_metadata',
  },
  {
    name: 'a name that is no text',
    send: registering({ client_name: { first: 'A' } }),
    ours: '400 invalid_client_metadata',
  },
  {
    name: 'keys in two ways',
    send: registering({ jwks: { keys: [] }, jwks_uri: 'https://client.example/keys' }),
    ours: '400 invalid_client_metadata',
  },
]
