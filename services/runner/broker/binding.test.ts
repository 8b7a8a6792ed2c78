import { describe, expect, test } from 'bun:test'
import { Scheme } from '@bmm/proto/secrets/v1/secret'
import { OpenedSecretSchema } from '@bmm/proto/secrets/v1/secrets_service'
import { create } from '@bufbuild/protobuf'
import {
  BindingError,
  type Credential,
  credentialsFor,
  guardedTexts,
  type Header,
  withCredentials,
  withoutOwnCredentials,
} from './binding.ts'

const origin = 'https://api.example.com'

function credential(part: Partial<Credential> = {}): Credential {
  return { name: 'API_KEY', description: '', scheme: 'bearer', origins: [origin], ...part }
}

function opened(
  value: string,
  destination: { scheme: Scheme; parameter?: string; origins?: string[] },
  name = 'API_KEY',
) {
  return create(OpenedSecretSchema, {
    name,
    value: Buffer.from(value),
    destination: { parameter: '', origins: [origin], ...destination },
  })
}

function put(
  credentials: Credential[],
  secrets: ReturnType<typeof opened>[],
  url = `${origin}/v1?a=1`,
) {
  const map = new Map(secrets.map((secret) => [secret.name, secret]))
  return withCredentials({ url: new URL(url), headers: [] }, credentials, map, () => 'Set it.')
}

function codeOf(act: () => unknown): string {
  try {
    act()
    return 'done'
  } catch (error) {
    return error instanceof BindingError ? error.code : String(error)
  }
}

describe('a value is put in', () => {
  test('as bearer', () => {
    const { headers } = put([credential()], [opened('k1', { scheme: Scheme.BEARER })])
    expect(headers).toEqual([['authorization', 'Bearer k1']])
  })

  test('as basic, with a colon for a lone user name', () => {
    const basic = [credential({ scheme: 'basic' })]
    const header = (value: string) =>
      put(basic, [opened(value, { scheme: Scheme.BASIC })]).headers[0]?.[1]
    expect(header('Aladdin:open sesame')).toBe('Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==')
    expect(header('sk_live')).toBe(`Basic ${btoa('sk_live:')}`)
  })

  test('as header, in UTF-8 bytes', () => {
    const { headers } = put(
      [credential({ scheme: 'header', parameter: 'X-API-Key' })],
      [opened('kü', { scheme: Scheme.HEADER, parameter: 'X-API-Key' })],
    )
    expect(headers).toEqual([['X-API-Key', 'kÃ¼']])
  })

  test('as query parameter behind the others', () => {
    const { url } = put(
      [credential({ scheme: 'query', parameter: 'api key' })],
      [opened('a&b=c', { scheme: Scheme.QUERY, parameter: 'api key' })],
      `${origin}/v1?a=%2F+x`,
    )
    expect(url.href).toBe(`${origin}/v1?a=%2F+x&api%20key=a%26b%3Dc`)
  })

  test('as cookies in one header', () => {
    const cookie = (name: string, parameter: string) =>
      credential({ name, scheme: 'cookie', parameter })
    const { headers } = put(
      [cookie('ONE', 'sid'), cookie('TWO', 'csrf')],
      [
        opened('1', { scheme: Scheme.COOKIE, parameter: 'sid' }, 'ONE'),
        opened('2', { scheme: Scheme.COOKIE, parameter: 'csrf' }, 'TWO'),
      ],
    )
    expect(headers).toEqual([['cookie', 'sid=1; csrf=2']])
  })

  test('as a cookie in front of those that the request has', () => {
    const { headers } = withCredentials(
      {
        url: new URL(origin),
        headers: [
          ['cookie', 'lang=de'],
          ['x-a', '1'],
          ['Cookie', 'cart="c1'],
        ],
      },
      [credential({ scheme: 'cookie', parameter: 'sid' })],
      new Map([['API_KEY', opened('1', { scheme: Scheme.COOKIE, parameter: 'sid' })]]),
      () => 'Set it.',
    )
    expect(headers).toEqual([
      ['x-a', '1'],
      ['cookie', 'sid=1; lang=de; cart="c1'],
    ])
  })

  test('only for the origins of the contract', () => {
    const all = [
      credential(),
      credential({ name: 'OTHER', origins: ['https://other.example.com'] }),
    ]
    expect(credentialsFor(all, origin).map(({ name }) => name)).toEqual(['API_KEY'])
    expect(credentialsFor(all, 'https://api.example.com:8443')).toEqual([])
    expect(credentialsFor(all, 'http://api.example.com')).toEqual([])
  })
})

describe('a request is refused', () => {
  test('without a value, unless the credential is optional', () => {
    expect(codeOf(() => put([credential()], []))).toBe('credential_missing')
    expect(put([credential({ optional: true })], []).headers).toEqual([])
  })

  test('when the value was entered for another scheme, parameter or origin', () => {
    const header = credential({ scheme: 'header', parameter: 'X-Key' })
    for (const destination of [
      { scheme: Scheme.BEARER },
      { scheme: Scheme.HEADER, parameter: 'X-Other' },
      { scheme: Scheme.HEADER, parameter: 'X-Key', origins: ['https://old.example.com'] },
    ]) {
      expect(codeOf(() => put([header], [opened('k', destination)]))).toBe('credential_destination')
    }
  })

  test('when the value cannot travel', () => {
    for (const value of ['', 'a\r\nX-Injected: 1', 'a\0', 'a\\\\\\\\b']) {
      expect(codeOf(() => put([credential()], [opened(value, { scheme: Scheme.BEARER })]))).toBe(
        'credential_unusable',
      )
    }
    const cookie = [credential({ scheme: 'cookie', parameter: 'sid' })]
    for (const value of ['a; b=c', 'a b', 'a,b', 'ü']) {
      const secret = opened(value, { scheme: Scheme.COOKIE, parameter: 'sid' })
      expect(codeOf(() => put(cookie, [secret]))).toBe('credential_unusable')
    }
  })

  test('with a sentence that names the credential, says how to set it and holds no value', () => {
    try {
      put([credential()], [opened('hunter2-hunter2', { scheme: Scheme.BASIC })])
      expect.unreachable()
    } catch (error) {
      expect(String(error)).toContain('API_KEY')
      expect(String(error)).toContain('Set it.')
      expect(String(error)).not.toContain('hunter2')
    }
  })
})

describe("the code's own credentials are taken out", () => {
  const strip = (headers: Header[], search: string, credentials: Credential[]) => {
    const out = withoutOwnCredentials(
      { url: new URL(`${origin}/v1${search}`), headers },
      credentials,
    )
    return { names: out.headers.map(([name]) => name), search: out.url.search }
  }

  test('from headers, whatever their case or spelling', () => {
    const headers: Header[] = [
      ['Authorization', 'Bearer own'],
      ['COOKIE', 'sid=own'],
      ['x-api-key', 'own'],
      ['X_Api_Key', 'own'],
      ['X-Other', 'kept'],
    ]
    const bound = [credential({ scheme: 'header', parameter: 'X-API-Key' })]
    expect(strip(headers, '', bound).names).toEqual(['X-Other', 'cookie'])
    expect(strip(headers, '', [credential()]).names).toEqual([
      'x-api-key',
      'X_Api_Key',
      'X-Other',
      'cookie',
    ])
  })

  test('from cookies of their name, whatever their spelling, and other cookies stay', () => {
    const bound = [credential({ scheme: 'cookie', parameter: 'session_id' })]
    const cookie = (value: string, credentials = bound) =>
      withoutOwnCredentials({ url: new URL(origin), headers: [['Cookie', value]] }, credentials)
        .headers
    expect(cookie('lang=de; cart=c1')).toEqual([['cookie', 'lang=de; cart=c1']])
    for (const own of [
      'session_id=x',
      'SESSION-ID=x',
      'session.id=x',
      '%73ession_id=x',
      ' session_id',
    ]) {
      expect(cookie(`lang=de; ${own}`)).toEqual([['cookie', 'lang=de']])
    }
    for (const hidden of ['a=1,session_id=x', 'a="1;session_id=x"']) {
      expect(JSON.stringify(cookie(hidden))).not.toContain('session_id')
    }
    expect(cookie('session_id=x')).toEqual([])
    expect(cookie('session_id=x', [credential()])).toEqual([['cookie', 'session_id=x']])
  })

  test('from the query, whatever their encoding, and nothing else changes', () => {
    const bound = [credential({ scheme: 'query', parameter: 'api_key' })]
    expect(strip([], '?q=%2F+a&api_key=own&API_KEY=own&%61pi_key=own&x', bound).search).toBe(
      '?q=%2F+a&x',
    )
    expect(strip([], '?api_key=own', bound).search).toBe('')
    expect(strip([], '?api_key=own', [credential()]).search).toBe('?api_key=own')
  })
})

test('what must not come back is the value, and of basic credentials the password', () => {
  expect(guardedTexts(opened('a:b', { scheme: Scheme.BEARER }))).toEqual(['a:b'])
  expect(guardedTexts(opened('user:pass:word', { scheme: Scheme.BASIC }))).toEqual([
    'user:pass:word',
    'pass:word',
  ])
})
