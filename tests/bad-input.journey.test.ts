import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Account, obtainTokens, type Served, serve, signUp, type Tokens } from './account.ts'
import { hostileSpec } from './hostile-tool.ts'
import { canary, problemOf, send } from './refusal.ts'
import { type Stack, startStack } from './stack.ts'
import { startUpstream, type Upstream } from './upstream.ts'

const json = 'application/json'
const form = 'application/x-www-form-urlencoded'
const deep = '['.repeat(100_000)
const digest = `sha256:${'0'.repeat(64)}`

let stack: Stack
let upstream: Upstream
let account: Account
let other: Account
let server: Served
let tokens: Tokens

beforeAll(async () => {
  upstream = startUpstream('the key')
  stack = await startStack()
  account = await signUp(stack, 'bad-input@example.com')
  other = await signUp(stack, 'somebody-else@example.com')
  const spec = hostileSpec(upstream.origin, 'https://example.com')
  const credentials = [{ name: 'API_KEY', value: 'the key' }]
  server = await serve(account, { source: { spec }, slug: 'bad-input', credentials })
  tokens = await obtainTokens(stack, account, server.url)
}, 180_000)
afterAll(async () => {
  await stack?.[Symbol.asyncDispose]()
  await upstream?.[Symbol.asyncDispose]()
})

describe('the command line', () => {
  test.each<[string[], number, RegExp]>([
    [['frobnicate', canary], 2, /unknown command/],
    [['servers', 'create', '--slug', 'bad-two'], 2, /--openapi/],
    [
      ['servers', 'create', '--openapi', `${canary}.json`, '--slug', 'bad-two'],
      2,
      /There is no file/,
    ],
    [['servers', 'show', 'no-such-server'], 1, /no such server|There is no/i],
    [['servers', 'show', '../../etc'], 2, /by its slug/],
    [['servers', 'delete', 'bad-input'], 2, /cannot be undone/],
    [['servers', 'pause', 'no-such-server'], 1, /There is no/],
    [['credentials', 'set', 'bad-input', `API_KEY`], 2, /no value/],
    [['credentials', 'set', 'bad-input', `NONE=${canary}`], 1, /no credential of that name/],
    [['credentials', 'set', 'bad-input', `lower=${canary}`], 2, /UPPER_SNAKE_CASE/],
    [['builds', 'show', canary], 1, /\./],
    [['call', 'bad-input', 'honest', `{"${canary}":`], 2, /JSON object/],
    [['call', 'bad-input', 'no-such-tool', '{}'], 1, /no tool of that name/],
    [['targets', 'allow', `http://${canary}`], 2, /HOST:PORT/],
    [['login', '--email', `not an address ${canary}`], 2, /must be an address/],
    [['logs', 'no-such-server'], 1, /There is no/],
  ])('%p', async (words, code, said) => {
    const ended = await stack.attempt(...words)
    const shown = ended.stdout + ended.stderr
    expect([ended.code, ended.stderr]).toEqual([code, expect.stringMatching(said)])
    expect(shown).not.toMatch(/this is a bug|\n\s+at /)
    // Names of commands and files are shown, since the person has to find the mistake; values are not.
    if (!/command|file/.test(shown)) expect(shown).not.toContain(canary)
  })

  test.each<[string, string, RegExp]>([
    ['HTML', `<!doctype html><title>${canary}</title>`, /HTML/],
    ['nothing', '', /empty/],
    ['broken JSON', `{\n "openapi": "3.1.0",\n "x": "${canary}" oops }`, /line 3, column \d+/],
    ['another kind of JSON', `{"name":"${canary}"}`, /openapi|swagger/],
  ])('a document that is %s', async (_, text, said) => {
    const file = join(stack.data, 'wrong.json')
    writeFileSync(file, text)
    const words = ['servers', 'create', '--openapi', file, '--slug', 'wrong-document']
    const ended = await stack.attempt(...words)
    expect([ended.code, ended.stderr]).toEqual([1, expect.stringMatching(said)])
    expect(ended.stdout + ended.stderr).not.toContain(canary)
  })

  beforeAll(async () => {
    await stack.run('login', '--email', account.email)
  })
})

describe('the REST API', () => {
  type Row = [string, string, string | Uint8Array | undefined, number, Record<string, string>?]
  const drafts: Row[] = [
    ['POST', '/v1/drafts', '', 400],
    ['POST', '/v1/drafts', `{"document": "${canary}`, 400],
    ['POST', '/v1/drafts', 'null', 400],
    ['POST', '/v1/drafts', `["${canary}"]`, 400],
    ['POST', '/v1/drafts', '{}', 400],
    ['POST', '/v1/drafts', `{"document":5,"name":"${canary}"}`, 400],
    ['POST', '/v1/drafts', `{"document":"a","url":"https://${canary}.example"}`, 400],
    ['POST', '/v1/drafts', `{"document":"{}","${canary}":1}`, 400],
    ['POST', '/v1/drafts', `{"document":"a","document":"${canary}"}`, 400],
    ['POST', '/v1/drafts', `{"url":"file:///etc/${canary}"}`, 400],
    ['POST', '/v1/drafts', `{"url":"http://127.0.0.1:1/${canary}"}`, 400],
    ['POST', '/v1/drafts', `{"url":"http://169.254.169.254/${canary}"}`, 400],
    ['POST', '/v1/drafts', `{"url":"${canary}"}`, 400],
    ['POST', '/v1/drafts', `{"spec":{"specVersion":1,"${canary}":true}}`, 400],
    ['POST', '/v1/drafts', `{"spec":[]}`, 400],
    ['POST', '/v1/drafts', `{"document":"openapi: 3.1.0","name":"${canary}\\u0000"}`, 400],
    ['POST', '/v1/drafts', deep, 400],
    ['POST', '/v1/drafts', `{"spec":${'{"a":'.repeat(5_000)}1${'}'.repeat(5_000)}}`, 400],
    ['POST', '/v1/drafts', `\ufeff{"document":"${canary}"}`, 400],
    ['POST', '/v1/drafts', Uint8Array.of(0x7b, 0xff, 0xfe, 0x7d), 400],
    ['POST', '/v1/drafts', `document=${canary}`, 415, { 'content-type': form }],
    ['POST', '/v1/drafts', `{"document":"${canary}"}`, 415, { 'content-type': 'text/plain' }],
    ['GET', `/v1/drafts/${canary}`, undefined, 400],
    ['GET', '/v1/drafts/dft_00000000000000000000000000', undefined, 404],
  ]
  const servers: Row[] = [
    ['POST', '/v1/servers', `{"draftId":"${canary}","digest":"${digest}","slug":"fine-slug"}`, 400],
    ['POST', '/v1/servers', `{"draftId":"d","digest":"${canary}","slug":"fine-slug"}`, 400],
    ['POST', '/v1/servers', `{"draftId":"d","digest":"${digest}","slug":5}`, 400],
    ['POST', '/v1/servers', `{"x":"${'y'.repeat(300_000)}"}`, 413],
    ['GET', '/v1/servers?limit=many', undefined, 400],
    ['GET', '/v1/servers?limit=0', undefined, 400],
    ['GET', '/v1/servers?limit=100000', undefined, 400],
    ['GET', `/v1/servers?cursor=${canary}`, undefined, 400],
    ['GET', `/v1/servers/${canary}`, undefined, 404],
    ['GET', '/v1/servers/%00', undefined, 400],
    ['GET', '/v1/servers/..%2f..%2fetc', undefined, 404],
    ['GET', `/v1/servers/${'x'.repeat(5_000)}`, undefined, 400],
    ['DELETE', `/v1/servers/${canary}`, undefined, 404],
    ['POST', `/v1/servers/${canary}/pause`, undefined, 404],
    ['POST', '/v1/servers/bad-input/resume', `{"specDigest":"${canary}"}`, 400],
    ['GET', '/v1/servers/bad-input/logs?limit=many', undefined, 400],
    ['GET', `/v1/servers/bad-input/logs?cursor=${canary}`, undefined, 400],
  ]
  const rest: Row[] = [
    ['PUT', '/v1/servers/bad-input/credentials/API_KEY', `{"value":["${canary}"]}`, 400],
    ['PUT', '/v1/servers/bad-input/credentials/API_KEY', `{"value":""}`, 400],
    [
      'PUT',
      '/v1/servers/bad-input/credentials/API_KEY',
      `{"value":"${canary.repeat(2_000)}"}`,
      400,
    ],
    ['PUT', '/v1/servers/bad-input/credentials/API_KEY', `{"value":"a","to":"${canary}"}`, 400],
    [
      'PUT',
      '/v1/servers/bad-input/credentials/API_KEY',
      `{"value":"${canary}","origins":["https://evil.example"]}`,
      409,
    ],
    ['PUT', `/v1/servers/bad-input/credentials/NONE`, `{"value":"${canary}"}`, 404],
    ['PUT', `/v1/servers/bad-input/credentials/${canary}`, `{"value":"${canary}"}`, 404],
    ['GET', `/v1/builds/${canary}`, undefined, 400],
    ['POST', `/v1/builds/${canary}/cancel`, undefined, 400],
    ['POST', '/v1/login', `{"email":"${canary}"}`, 400],
    ['POST', '/v1/login', `{"email":["${canary}"]}`, 400],
    ['POST', '/v1/login/finish', `{"token":"${canary}"}`, 400],
    ['POST', '/v1/login/finish', `{"token":{"a":"${canary}"}}`, 400],
    ['GET', `/v1/${canary}`, undefined, 404],
    ['PATCH', '/v1/servers/bad-input', `{"name":"${canary}"}`, 404],
    ['GET', `/${canary}`, undefined, 404],
  ]
  const rows = [...drafts, ...servers, ...rest].map(
    (row) => [`${row[0]} ${row[1]} ${row[2] ?? ''}`.slice(0, 90), ...row] as const,
  )
  test.each(rows)('%#: %s', async (_, method, path, body, status, headers = {}) => {
    const answer = await send(`${stack.gateway}${path}`, {
      method,
      ...(body === undefined ? {} : { body }),
      headers: {
        authorization: `Bearer ${account.session}`,
        ...(body === undefined ? {} : { 'content-type': json }),
        ...headers,
      },
    })
    const found = problemOf(answer)
    expect([method, path.slice(0, 80), found.status, found.said]).toEqual([
      method,
      path.slice(0, 80),
      status,
      expect.any(String),
    ])
  })

  test('a body beyond every limit is refused before it is read', async () => {
    const answer = await send(`${stack.gateway}/v1/drafts`, {
      body: new Uint8Array(70 * 1024 * 1024).fill(0x20),
      headers: { authorization: `Bearer ${account.session}`, 'content-type': json },
    })
    expect(problemOf(answer)).toMatchObject({ status: 413, code: 'body_too_large' })
  })

  test.each([
    ['no session', {}],
    ['a made-up bearer', { authorization: `Bearer bms_${canary}` }],
    ['another scheme', { authorization: `Basic ${canary}` }],
    ['a made-up cookie', { cookie: `__Host-bmm=bms_${canary}` }],
    ['an access token', () => ({ authorization: `Bearer ${tokens.accessToken}` })],
  ])('%s is not signed in', async (_, headers) => {
    const answer = await send(`${stack.gateway}/v1/servers`, {
      method: 'GET',
      headers: typeof headers === 'function' ? headers() : headers,
    })
    expect(problemOf(answer).status).toBe(401)
  })

  test('what belongs to another organisation is not there', async () => {
    for (const path of [
      '/v1/servers/bad-input',
      `/v1/servers/${server.id}`,
      `/v1/builds/${server.buildId}`,
      '/v1/servers/bad-input/credentials',
      '/v1/servers/bad-input/logs',
    ]) {
      expect([path, problemOf(await other.ask('GET', path)).status]).toEqual([path, 404])
    }
    expect(problemOf(await other.ask('DELETE', '/v1/servers/bad-input')).status).toBe(404)
  })
})

describe('documents', () => {
  const paths = (pathItem: unknown) =>
    JSON.stringify({
      openapi: '3.1.0',
      info: { title: 'T', version: '1' },
      servers: [{ url: 'https://api.example.com' }],
      paths: { '/a': pathItem },
    })
  const bomb = ['a0: &a0 [x, x, x, x, x, x, x, x, x, x]']
  for (let level = 1; level < 10; level++) {
    bomb.push(
      `a${level}: &a${level} [${Array(10)
        .fill(`*a${level - 1}`)
        .join(', ')}]`,
    )
  }
  test.each<[string, string, number, RegExp]>([
    ['HTML', `<!DOCTYPE html><html><body>${canary}</body></html>`, 400, /HTML/],
    ['plain text', `${canary} and nothing else`, 400, /OpenAPI|object/],
    ['another JSON', `{"swagger":"1.2","x":"${canary}"}`, 400, /1\.2|version|OpenAPI/],
    ['JSON with a fault', `{"openapi":"3.1.0",\n"k":"${canary}",,}`, 400, /line 2/i],
    ['YAML with a fault', `openapi: 3.1.0\ninfo: {title: "${canary}\n`, 400, /line \d/i],
    ['a YAML bomb', `openapi: 3.1.0\n${bomb.join('\n')}\n`, 400, /./],
    ['YAML with code', `openapi: !!js/function "${canary}"\n`, 400, /./],
    ['nested 100,000 deep', `{"openapi":"3.1.0","paths":${deep}`, 400, /nest|deep|brackets/],
    ['YAML nested 100,000 deep', `openapi: 3.1.0\npaths: ${deep}`, 400, /nest|deep|brackets/],
    [
      'another file’s',
      paths({ $ref: `https://me:${canary}@evil.example/a.json?key=${canary}#/b` }),
      400,
      /\$ref|file|tool|operation/,
    ],
    ['binary', '\0\u0001\u0002PK\u0003\u0004', 400, /./],
  ])('%s', async (_, document, status, said) => {
    const startedAt = performance.now()
    const found = problemOf(await account.ask('POST', '/v1/drafts', { body: { document } }))
    expect([found.status, found.said]).toEqual([status, expect.stringMatching(said)])
    expect(performance.now() - startedAt).toBeLessThan(30_000)
  })

  test('50 MB', async () => {
    const document = `{"openapi":"3.1.0","x":"${'y'.repeat(50 * 1024 * 1024)}"}`
    const found = problemOf(await account.ask('POST', '/v1/drafts', { body: { document } }))
    expect([400, 413]).toContain(found.status)
  }, 60_000)

  test('an operation that cannot be understood is left out, with what and where', async () => {
    const parameters = [{ $ref: `https://evil.example/${canary}.json` }]
    const answer = await account.ask('POST', '/v1/drafts', {
      body: { document: paths({ get: { parameters, responses: {} } }) },
    })
    expect(answer.text).toMatch(/paths/)
    expect(answer.status).toBeLessThan(500)
  })
})
