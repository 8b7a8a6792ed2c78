import { describe, expect, test } from 'bun:test'
import { drafted, oneOperation, toolOf } from './testing.ts'

const header = (name: string, more: object = {}) => ({
  ...{ name, in: 'header', schema: { type: 'string' } },
  ...more,
})
const query = (name: string, more: object = {}) => ({ ...header(name, more), in: 'query' })

function signedWith(scheme: object, parameters: object[], name = 'hmac') {
  return drafted(
    oneOperation(
      { parameters },
      { security: [{ [name]: [] }], components: { securitySchemes: { [name]: scheme } } },
    ),
  )
}

function keysOf(draft: ReturnType<typeof drafted>): string[] {
  return Object.keys(Object(toolOf(draft, 'run').inputSchema.properties))
}

const amazon = {
  ...{ type: 'apiKey', name: 'Authorization', in: 'header' },
  description: 'Amazon Signature authorization v4',
  'x-amazon-apigateway-authtype': 'awsSigv4',
}

describe('requests that must be signed', () => {
  test('by AWS are warned of, without a credential and without what a signature is made of', () => {
    const draft = signedWith(amazon, [
      ...['X-Amz-Content-Sha256', 'X-Amz-Date', 'X-Amz-Algorithm', 'X-Amz-Credential'].map((n) =>
        header(n),
      ),
      ...['X-Amz-Security-Token', 'X-Amz-Signature', 'X-Amz-SignedHeaders'].map((n) => header(n)),
      header('X-Amz-Target', { required: true }),
      header('x-amz-object-lock-retain-until-date'),
      query('signatureTimestamp'),
    ])
    expect(draft.spec.credentials).toEqual([])
    expect(keysOf(draft)).toEqual([
      'signatureTimestamp',
      'X-Amz-Target',
      'x-amz-object-lock-retain-until-date',
    ])
    expect(draft.warnings).toEqual([
      {
        path: '/paths/~1things/post',
        message:
          'The API wants requests signed (AWS Signature Version 4), which this server cannot do, so it will probably refuse the calls. Give the base URL of a proxy that signs them, or leave the operation out. Left out, as only a signature needs them: X-Amz-Content-Sha256, X-Amz-Date, X-Amz-Algorithm, X-Amz-Credential, X-Amz-Security-Token, X-Amz-Signature, X-Amz-SignedHeaders.',
      },
    ])
  })

  test.each([
    ['sig', { type: 'apiKey', in: 'query', name: 'sig' }],
    ['HeaderSignature', { type: 'apiKey', in: 'header', name: 'X-AIO-Signature' }],
    [
      'auth',
      { type: 'apiKey', in: 'header', name: 'X-Auth', description: 'HMAC-SHA256 of the body' },
    ],
    ['aws', { ...amazon, 'x-amazon-apigateway-authtype': 'awsSigv2' }],
  ])('by the scheme %s get no credential', (name, scheme) => {
    const draft = signedWith(scheme, [header('Date'), query('timestamp'), query('limit')], name)
    expect(draft.spec.credentials).toEqual([])
    expect(keysOf(draft)).toEqual(['limit'])
    expect(draft.warnings[0]?.message).toStartWith('The API wants requests signed')
  })

  test.each([
    ['a header', [header('X-Jws-Signature'), header('X-Date'), query('limit')]],
    ['a query parameter', [query('signature'), query('timestamp'), query('limit')]],
    ['OAuth 1', [query('oauth_signature'), query('oauth_nonce'), query('limit')]],
    ['AWS in the query', [query('X-Amz-Signature'), query('X-Amz-Date'), query('limit')]],
  ])('by %s without a scheme do not ask the model for it', (_name, parameters) => {
    const draft = drafted(oneOperation({ parameters }))
    expect(keysOf(draft)).toEqual(['limit'])
    expect(draft.warnings.some(({ message }) => message.includes('wants requests signed'))).toBe(
      true,
    )
  })

  test('keep the credentials that go beside the signature', () => {
    const draft = drafted(
      oneOperation(
        {},
        {
          security: [{ key: [], sig: [] }],
          components: {
            securitySchemes: {
              key: { type: 'apiKey', in: 'header', name: 'X-Key' },
              sig: { type: 'apiKey', in: 'header', name: 'X-Signature' },
            },
          },
        },
      ),
    )
    expect(draft.spec.credentials.map(({ name }) => name)).toEqual(['KEY'])
  })

  test('are called by another alternative where there is one', () => {
    const draft = drafted(
      oneOperation(
        {},
        {
          security: [{ sig: [] }, { key: [] }],
          components: {
            securitySchemes: {
              key: { type: 'apiKey', in: 'header', name: 'X-Key' },
              sig: { type: 'apiKey', in: 'header', name: 'X-Signature' },
            },
          },
        },
      ),
    )
    expect(draft.spec.credentials.map(({ name }) => name)).toEqual(['KEY'])
    expect(draft.warnings).toEqual([])
  })
})

test.each([
  ['a date', [query('date'), query('timestamp')]],
  ['a signature of a document', [query('signature')]],
  ['a digest of a file', [header('x-vercel-digest')]],
  ['music', [query('min_time_signature')]],
])('%s is an ordinary parameter', (_name, parameters) => {
  const draft = drafted(oneOperation({ parameters }))
  expect(keysOf(draft)).toHaveLength(parameters.length)
})

test('a token that is signed is a credential', () => {
  const draft = signedWith(
    { type: 'apiKey', in: 'header', name: 'X-Token', description: 'A JWT, signed by HMAC' },
    [],
    'jwt',
  )
  expect(draft.spec.credentials.map(({ name }) => name)).toEqual(['JWT'])
})
