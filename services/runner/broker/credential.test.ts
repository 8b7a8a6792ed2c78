import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import tls from 'node:tls'
import { until } from '@bmm/lib/testing-until'
import { type Answer, listening, makeCertificates, serveRaw } from '@bmm/lib/testing-upstream'
import { TargetService } from '@bmm/proto/broker/v1/broker_service'
import type { ServeStatement } from '@bmm/spec/statement'
import {
  lanOnly,
  okAnswer,
  startTestBroker,
  type TestBroker,
  type TestSandbox,
  type TestSecret,
} from './testing.ts'

const canary = 'sk-canary-0123456789abcdef'
/** Promised is one second; a value that nobody says anything about is kept for thirty. */
const ANEW_MS = 15_000
const closers: (() => void)[] = []
let broker: TestBroker

beforeAll(async () => {
  broker = await startTestBroker({ resolve: lanOnly, limits: { totalMs: 10_000 } })
})
afterAll(async () => {
  await broker[Symbol.asyncDispose]()
  for (const close of closers) close()
})

function credential(
  origin: string,
  part: Partial<ServeStatement['credentials'][number]> = {},
): ServeStatement['credentials'][number] {
  return { name: 'API_KEY', description: '', scheme: 'bearer', origins: [origin], ...part }
}

/** A sandbox of a server that may talk to the origins, with these credentials and secrets. */
async function sandbox(
  origins: string[],
  credentials: ServeStatement['credentials'] = [],
  secrets: Partial<TestSecret>[] = [],
): Promise<TestSandbox & { statement: ServeStatement }> {
  const egress = origins.map((origin) => ({ origin }))
  const { statement, signed } = broker.sign({ egress, credentials })
  broker.vault.secrets.set(
    statement.serverId,
    secrets.map((secret) => ({
      name: 'API_KEY',
      value: canary,
      scheme: credentials[0]?.scheme ?? 'bearer',
      origins,
      ...(credentials[0]?.parameter === undefined ? {} : { parameter: credentials[0].parameter }),
      ...secret,
    })),
  )
  return { ...(await broker.sandbox(signed)), statement }
}

/** Repeats the request's head as the body of the answer. */
const echo: Answer = (request, socket) => {
  socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${request.length}\r\n\r\n${request}`)
}

describe('a credential', () => {
  test('goes with the operations that name it alone, and the answers of others are searched', async () => {
    const server = await broker.upstream(echo)
    const { origin } = server
    const operations = [
      { method: 'GET' as const, path: '/private', credentials: ['API_KEY'] },
      { method: 'GET' as const, path: '/public', credentials: [] },
    ]
    const { statement, signed } = broker.sign({
      egress: [{ origin, operations }],
      credentials: [credential(origin)],
    })
    broker.vault.secrets.set(statement.serverId, [
      { name: 'API_KEY', value: canary, scheme: 'bearer', origins: [origin] },
    ])
    const { fetch } = await broker.sandbox(signed)
    const headers: [string, string][] = [['X-Own', '1']]
    expect(await fetch(`${origin}/public`, { headers })).toMatchObject({ status: 200 })
    expect(server.requests[0]?.toLowerCase()).not.toContain('authorization')
    expect(await fetch(`${origin}/private`)).toMatchObject({ failed: 'secret_in_answer' })
    expect(server.requests[1]).toContain(`Bearer ${canary}`)
    const told: [string, string][] = [['X-Own', canary]]
    expect(await fetch(`${origin}/public`, { headers: told })).toMatchObject({
      failed: 'secret_in_answer',
    })
  })

  test("is put in, and the code's own is taken out", async () => {
    const server = await broker.upstream()
    const { fetch } = await sandbox([server.origin], [credential(server.origin)], [{}])
    const headers: [string, string][] = [
      ['Authorization', 'Bearer stolen'],
      ['Cookie', 'cart=kept'],
      ['Range', 'bytes=0-0'],
      ['X-Kept', '1'],
    ]
    expect(await fetch(`${server.origin}/`, { headers })).toMatchObject({ status: 200 })
    expect(server.requests[0]).toContain(`authorization: Bearer ${canary}\r\n`)
    expect(server.requests[0]).toContain('x-kept: 1')
    expect(server.requests[0]).toContain('cookie: cart=kept\r\n')
    expect(server.requests[0]).not.toContain('stolen')
    expect(server.requests[0]?.toLowerCase()).not.toContain('range')
  })

  test.each([
    ['basic', undefined, `authorization: Basic ${btoa(`${canary}:`)}\r\n`],
    ['header', 'X-API-Key', `x-api-key: ${canary}\r\n`],
    ['query', 'api_key', `GET /?a=1&api_key=${canary} HTTP/1.1`],
    ['cookie', 'sid', `cookie: sid=${canary}\r\n`],
  ] as const)('travels as %s', async (scheme, parameter, expected) => {
    const server = await broker.upstream()
    const part = parameter === undefined ? { scheme } : { scheme, parameter }
    const { fetch } = await sandbox([server.origin], [credential(server.origin, part)], [{}])
    await fetch(
      `${server.origin}/?a=1&api_key=own`.replace(
        '&api_key=own',
        scheme === 'query' ? '&api_key=own' : '',
      ),
    )
    expect(server.requests[0]).toContain(expected)
  })

  test('that is a cookie travels in one header with the cookies of the request', async () => {
    const server = await broker.upstream()
    const part = { scheme: 'cookie', parameter: 'session_id' } as const
    const { fetch } = await sandbox([server.origin], [credential(server.origin, part)], [{}])
    const headers: [string, string][] = [['cookie', 'lang=de; session_id=stolen']]
    expect(await fetch(`${server.origin}/`, { headers })).toMatchObject({ status: 200 })
    expect(server.requests[0]).toContain(`cookie: session_id=${canary}; lang=de\r\n`)
    expect(server.requests[0]).not.toContain('stolen')
  })

  test('does not go to another origin of the same server', async () => {
    const [bound, other] = [await broker.upstream(), await broker.upstream()]
    const origins = [bound.origin, other.origin]
    const { fetch } = await sandbox(origins, [credential(bound.origin)], [{}])
    await fetch(`${other.origin}/`, { headers: [['authorization', 'Bearer own']] })
    expect(other.requests[0]).toContain('Bearer own')
    expect(other.requests[0]).not.toContain(canary)
  })

  test('that was entered for another destination is not put in', async () => {
    const server = await broker.upstream()
    const credentials = [credential(server.origin)]
    const moved = await sandbox([server.origin], credentials, [
      { origins: ['https://old.example'] },
    ])
    expect(await moved.fetch(`${server.origin}/`)).toMatchObject({
      failed: 'credential_destination',
    })
    const reshaped = await sandbox([server.origin], credentials, [
      { scheme: 'query', parameter: 'q' },
    ])
    expect(await reshaped.fetch(`${server.origin}/`)).toMatchObject({
      failed: 'credential_destination',
    })
    expect(server.connections).toBe(0)
  })

  test('without a value is a sentence that says how to set it, and works soon after', async () => {
    const server = await broker.upstream()
    const { fetch, statement } = await sandbox([server.origin], [credential(server.origin)])
    expect(await fetch(`${server.origin}/`)).toEqual({
      failed: 'credential_missing',
      message:
        'The credential API_KEY has no value yet. Set it with: ./bmm credentials set pets API_KEY=-',
    })
    broker.vault.secrets.set(statement.serverId, [
      { name: 'API_KEY', value: canary, scheme: 'bearer', origins: [server.origin] },
    ])
    broker.clock.offsetMs += 1_500
    expect(await fetch(`${server.origin}/`)).toMatchObject({ status: 200 })
  })

  test('that is optional may be missing', async () => {
    const server = await broker.upstream()
    const optional = credential(server.origin, { optional: true })
    const { fetch } = await sandbox([server.origin], [optional])
    expect(await fetch(`${server.origin}/`)).toMatchObject({ status: 200 })
    expect(server.requests[0]).not.toContain('authorization')
  })

  test('is not sent over plain http to the public internet', async () => {
    const origin = 'http://api.example.com'
    const { fetch } = await sandbox([origin], [credential(origin)], [{}])
    expect(await fetch(`${origin}/`)).toMatchObject({ failed: 'credential_needs_https' })
  })

  test('is asked for once, again after half a minute, and again after the slot was released', async () => {
    const server = await broker.upstream()
    const box = await sandbox([server.origin], [credential(server.origin)], [{}])
    const before = broker.vault.asked
    await box.fetch(`${server.origin}/`)
    await box.fetch(`${server.origin}/`)
    expect(broker.vault.asked).toBe(before + 1)
    broker.clock.offsetMs += 31_000
    await box.fetch(`${server.origin}/`)
    expect(broker.vault.asked).toBe(before + 2)
  })

  test('that was changed is asked for anew long before the half minute is over, by who is told of it alone', async () => {
    const server = await broker.upstream()
    const [box, other] = [
      await sandbox([server.origin], [credential(server.origin)], [{}]),
      await sandbox([server.origin], [credential(server.origin)], [{}]),
    ]
    await box.fetch(`${server.origin}/`)
    await other.fetch(`${server.origin}/`)
    broker.vault.secrets.set(box.statement.serverId, [])
    const before = broker.vault.asked
    broker.changed.announce(box.statement.serverId)
    const isMissing = async () => 'failed' in (await box.fetch(`${server.origin}/`))
    await until(isMissing, 'the old value to be forgotten', ANEW_MS)
    expect(broker.vault.asked).toBe(before + 1)
    await other.fetch(`${server.origin}/`)
    expect(broker.vault.asked).toBe(before + 1)
  })

  test('that the API does not take is asked for anew by the next request', async () => {
    const server = await broker.upstream((request, socket) => {
      const status = request.includes(canary) ? '200 OK' : '401 Unauthorized'
      socket.write(`HTTP/1.1 ${status}\r\nContent-Length: 0\r\n\r\n`)
    })
    const wrong = [{ value: 'mistyped-key' }]
    const box = await sandbox([server.origin], [credential(server.origin)], wrong)
    expect(await box.fetch(`${server.origin}/`)).toMatchObject({ status: 401 })
    broker.vault.secrets.set(box.statement.serverId, [
      { name: 'API_KEY', value: canary, scheme: 'bearer', origins: [server.origin] },
    ])
    broker.clock.offsetMs += 1_500
    expect(await box.fetch(`${server.origin}/`)).toMatchObject({ status: 200 })
  })

  test('cannot be used while the vault is away, nor under a replaced statement', async () => {
    const server = await broker.upstream()
    const credentials = [credential(server.origin)]
    const away = await sandbox([server.origin], credentials, [{}])
    broker.vault.isDown = true
    expect(await away.fetch(`${server.origin}/`)).toMatchObject({ failed: 'vault_unavailable' })
    broker.vault.isDown = false
    expect(await away.fetch(`${server.origin}/`)).toMatchObject({ status: 200 })
    const replaced = await sandbox([server.origin], credentials, [{}])
    broker.vault.secrets.delete(replaced.statement.serverId)
    expect(await replaced.fetch(`${server.origin}/`)).toMatchObject({
      failed: 'statement_superseded',
    })
    expect(server.requests).toHaveLength(1)
  })
})

describe('an answer of a credentialed origin', () => {
  test.each([
    ['as the server received it', echo],
    ['in a header', `HTTP/1.1 200 OK\r\nX-Echo: ${canary}\r\nContent-Length: 0\r\n\r\n`],
    [
      'in a redirect',
      `HTTP/1.1 302 Found\r\nLocation: /?key=${canary}\r\nContent-Length: 0\r\n\r\n`,
    ],
    ['in an error', `HTTP/1.1 401 No\r\nContent-Length: ${canary.length}\r\n\r\n${canary}`],
    ['in base64', `HTTP/1.1 200 OK\r\nContent-Length: 36\r\n\r\n${btoa(canary)}`],
  ] as const)('that holds the secret %s is withheld', async (_how, answer) => {
    const server = await broker.upstream(answer)
    const { fetch } = await sandbox([server.origin], [credential(server.origin)], [{}])
    const fetched = await fetch(`${server.origin}/`)
    expect(fetched).toMatchObject({ failed: 'secret_in_answer' })
    expect(JSON.stringify(fetched)).not.toContain(canary)
    expect(server.requests).toHaveLength(1)
  })

  test('loses its cookies and keeps the rest', async () => {
    const server = await broker.upstream(
      'HTTP/1.1 200 OK\r\nSet-Cookie: session=1\r\nX-A: 1\r\nContent-Length: 2\r\n\r\nok',
    )
    const { fetch } = await sandbox([server.origin], [credential(server.origin)], [{}])
    expect(await fetch(`${server.origin}/`)).toEqual({
      status: 200,
      headers: [['x-a', '1']],
      droppedCookies: ['session'],
      body: 'ok',
    })
  })

  test('of an origin without a credential passes as it is', async () => {
    const server = await broker.upstream(echo)
    const { fetch } = await sandbox([server.origin])
    const answer = await fetch(`${server.origin}/`, { headers: [['x-mine', canary]] })
    expect('body' in answer && answer.body).toContain(canary)
  })
})

test('over TLS the name of the contract is checked and the credential arrives', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'bmm-broker-tls-'))
  closers.push(() => rmSync(folder, { recursive: true }))
  const { ca, key, cert } = makeCertificates(folder)
  const requests: string[] = []
  const server = tls.createServer({ key, cert }, (socket) => serveRaw(socket, requests, okAnswer))
  server.on('tlsClientError', () => {})
  const port = await listening(server)
  closers.push(() => server.close())
  await using secure = await startTestBroker({ resolve: async () => ['127.0.0.1'], extraCa: [ca] })
  const targets = secure.rpc.client(TargetService, 'broker', 'operator')
  const [good, wrong] = [`https://api.example.com:${port}`, `https://other.example.com:${port}`]
  for (const host of ['api.example.com', 'other.example.com']) {
    await targets.allowTarget({ host, port })
  }
  const { statement, signed } = secure.sign({
    egress: [{ origin: good }, { origin: wrong }],
    credentials: [credential(good)],
  })
  secure.vault.secrets.set(statement.serverId, [
    { name: 'API_KEY', value: canary, scheme: 'bearer', origins: [good] },
  ])
  const { fetch } = await secure.sandbox(signed)
  expect(await fetch(`${good}/`)).toMatchObject({ status: 200 })
  expect(requests[0]).toContain(`authorization: Bearer ${canary}\r\n`)
  expect(await fetch(`${wrong}/`)).toMatchObject({ failed: 'tls_failed' })
  await until(() => requests.length === 1)
})
