import { describe, expect, test } from 'bun:test'
import { authOfFile, jsonBytes, jsonOf, randomIp } from '../testing.ts'
import { parseClientMetadata } from './client-registration.ts'
import { OAuthError } from './oauth-error.ts'

const auth = await authOfFile()
const callback = 'https://client.example/callback'

function refusal(metadata: unknown): string | undefined {
  const bytes = metadata instanceof Uint8Array ? metadata : jsonBytes(metadata)
  try {
    parseClientMetadata(bytes)
    return undefined
  } catch (thrown) {
    if (thrown instanceof OAuthError) return thrown.code
    throw thrown
  }
}

describe('client metadata', () => {
  test('get the defaults of RFC 7591, and unknown members are ignored', () => {
    const metadata = {
      redirect_uris: [callback, callback],
      logo_uri: 'javascript:alert(1)',
      scope: 'anything',
      software_statement: 'x',
      application_type: 'native',
    }
    expect(parseClientMetadata(jsonBytes(metadata))).toEqual({
      authMethod: 'client_secret_basic',
      name: 'client.example',
      redirectUris: [callback],
      grantTypes: ['authorization_code', 'refresh_token'],
      toldGrantTypes: ['authorization_code'],
    })
  })

  test('reads members that are null as left out', () => {
    const bare = { redirect_uris: [callback] }
    const nulls = {
      token_endpoint_auth_method: null,
      grant_types: null,
      jwks: null,
      jwks_uri: null,
    }
    expect(parseClientMetadata(jsonBytes({ ...bare, ...nulls }))).toEqual(
      parseClientMetadata(jsonBytes(bare)),
    )
  })

  test('keep the grant types that exist here', () => {
    const grant_types = ['refresh_token', 'authorization_code', 'implicit', 'password']
    const { grantTypes } = parseClientMetadata(
      jsonBytes({ redirect_uris: [callback], grant_types }),
    )
    expect(grantTypes).toEqual(['authorization_code', 'refresh_token'])
  })

  test('have a name of one visible line', () => {
    const name = (client_name: string) =>
      parseClientMetadata(jsonBytes({ redirect_uris: [callback], client_name })).name
    expect(name('  Claude \u202e\u200b\n Code  ')).toBe('Claude Code')
    expect(name('x'.repeat(500))).toHaveLength(80)
    expect(name('\u200b')).toBe('client.example')
    expect(name('<b>Bold</b>')).toBe('<b>Bold</b>')
  })

  test.each([
    ['no JSON', new TextEncoder().encode('{'), 'invalid_client_metadata'],
    ['no UTF-8', new Uint8Array([0x22, 0xff, 0x22]), 'invalid_client_metadata'],
    ['an array', [], 'invalid_client_metadata'],
    ['null', null, 'invalid_client_metadata'],
    ['no redirect', {}, 'invalid_redirect_uri'],
    ['an empty list', { redirect_uris: [] }, 'invalid_redirect_uri'],
    ['eleven redirects', { redirect_uris: Array(11).fill(callback) }, 'invalid_redirect_uri'],
    ['a number', { redirect_uris: [1] }, 'invalid_redirect_uri'],
    [
      'a bad one beside a good one',
      { redirect_uris: [callback, 'javascript:x'] },
      'invalid_redirect_uri',
    ],
    [
      'a key method',
      { redirect_uris: [callback], token_endpoint_auth_method: 'private_key_jwt' },
      'invalid_client_metadata',
    ],
    [
      'only implicit',
      { redirect_uris: [callback], grant_types: ['implicit'] },
      'invalid_client_metadata',
    ],
    [
      'only token',
      { redirect_uris: [callback], response_types: ['token'] },
      'invalid_client_metadata',
    ],
    [
      'a name that is none',
      { redirect_uris: [callback], client_name: {} },
      'invalid_client_metadata',
    ],
  ])('with %s are refused', (_, metadata, code) => {
    expect(refusal(metadata)).toBe(code)
  })

  test('nested sixty thousand deep are refused and harm nobody', () => {
    expect(refusal(new TextEncoder().encode('['.repeat(60_000)))).toBe('invalid_client_metadata')
    const deep = `${'['.repeat(30_000)}${']'.repeat(30_000)}`
    expect(refusal(new TextEncoder().encode(`{"x":${deep}}`))).toBeDefined()
  })
})

describe('registration', () => {
  const register = async (metadata: object, clientIp = randomIp()) =>
    (await auth.oauth.registerClient({ metadata: jsonBytes(metadata), clientIp })).outcome

  test('answers 201 with an id, and a secret only to who needs one', async () => {
    const open = { redirect_uris: [callback], token_endpoint_auth_method: 'none' }
    const outcome = await register(open)
    if (outcome.case !== 'answer') throw new Error('refused')
    expect(outcome.value.status).toBe(201)
    const body = jsonOf(outcome.value.body)
    expect(body).toEqual({
      client_id: expect.stringMatching(/^cli_[0-9a-z]{26}$/),
      client_id_issued_at: expect.any(Number),
      client_name: 'client.example',
      redirect_uris: [callback],
      grant_types: ['authorization_code'],
      response_types: ['code'],
      token_endpoint_auth_method: 'none',
    })
    const secret = await register({ redirect_uris: [callback] })
    if (secret.case !== 'answer') throw new Error('refused')
    expect(jsonOf(secret.value.body)).toMatchObject({
      client_secret: expect.stringMatching(/^bmk_/),
      client_secret_expires_at: 0,
    })
  })

  test('is limited to sixty an hour and visitor', async () => {
    const clientIp = randomIp()
    const metadata = { redirect_uris: [callback], token_endpoint_auth_method: 'none' }
    for (let count = 0; count < 60; count++) {
      expect((await register(metadata, clientIp)).case).toBe('answer')
    }
    const refused = await register(metadata, clientIp)
    expect(refused).toMatchObject({ case: 'fault', value: { status: 429 } })
    expect(refused.case === 'fault' && refused.value.retryAfterSeconds).toBeGreaterThan(0)
    expect((await register(metadata)).case).toBe('answer')
    auth.clock.advance(3_600_000)
    expect((await register(metadata, clientIp)).case).toBe('answer')
  })
})
