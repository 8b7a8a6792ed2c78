/** The MCP endpoint over real HTTP, with the official clients of both eras and a runner that speaks frames. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import {
  Client as ModernClient,
  StreamableHTTPClientTransport as ModernTransport,
} from '@modelcontextprotocol/client'
import { Client as LegacyClient } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport as LegacyTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import {
  addToolServer,
  rpcAnswer,
  rpcAnswers,
  type TestGateway,
  type TestServer,
  testGateway,
} from './testing.ts'

let gw: TestGateway
let server: TestServer

beforeAll(async () => {
  gw = await testGateway({ callTimeoutMs: 20_000 })
  server = addToolServer(gw)
})
afterAll(async () => {
  await gw[Symbol.asyncDispose]()
})

const envelope = {
  'io.modelcontextprotocol/protocolVersion': '2026-07-28',
  'io.modelcontextprotocol/clientCapabilities': {},
}

async function bearer(claims: Record<string, unknown> = {}) {
  return { authorization: `Bearer ${await gw.token(server, claims)}` }
}

function request(method: string, params: Record<string, unknown> = {}, id: number | string = 1) {
  return { jsonrpc: '2.0', id, method, params }
}

describe('official clients', () => {
  test('the client of 2026-07-28 negotiates, lists and calls', async () => {
    const headers = await bearer()
    const client = new ModernClient(
      { name: 'test', version: '1' },
      { versionNegotiation: { mode: 'auto' } },
    )
    await client.connect(new ModernTransport(new URL(server.url), { requestInit: { headers } }))
    expect(client.getServerVersion()).toMatchObject({ name: 'pets', title: 'Test server' })
    const { tools } = await client.listTools()
    expect(tools.map((tool) => tool.name)).toContain('echo')
    const result = await client.callTool({ name: 'echo', arguments: { text: 'grüße' } })
    expect(result.content).toEqual([{ type: 'text', text: '{"text":"grüße"}' }])
    await client.close()
  })

  test('the same client speaks the earlier era when told to', async () => {
    const headers = await bearer()
    const client = new ModernClient({ name: 'test', version: '1' })
    await client.connect(new ModernTransport(new URL(server.url), { requestInit: { headers } }))
    const result = await client.callTool({ name: 'echo', arguments: {} })
    expect(result.content).toEqual([{ type: 'text', text: '{}' }])
    await client.close()
  })

  test('the client of SDK v1 initializes, lists, calls and sees progress', async () => {
    const headers = await bearer()
    const client = new LegacyClient({ name: 'test', version: '1' })
    await client.connect(new LegacyTransport(new URL(server.url), { requestInit: { headers } }))
    expect((await client.listTools()).tools).toHaveLength(7)
    const seen: number[] = []
    const result = await client.callTool({ name: 'steps', arguments: {} }, undefined, {
      onprogress: ({ progress }) => void seen.push(progress),
    })
    expect(result.content).toEqual([{ type: 'text', text: 'done' }])
    expect(seen).toEqual([1, 2, 3])
    await client.ping()
    await client.close()
  })
})

test('a service token is refused here, and told where it is good', async () => {
  const authorization = `Bearer bmm_${'x'.repeat(49)}`
  const response = await gw.post(server, request('tools/list'), { authorization })
  expect(response.status).toBe(401)
  expect(response.headers.get('www-authenticate')).toContain('error="invalid_token"')
  expect(await response.text()).toContain('over gRPC')
})

describe('messages', () => {
  const modernHeaders = (method: string, name?: string) => ({
    'mcp-protocol-version': '2026-07-28',
    'mcp-method': method,
    ...(name === undefined ? {} : { 'mcp-name': name }),
  })

  test('a modern call answers with a result type and the name of the server', async () => {
    const response = await gw.post(
      server,
      request('tools/call', { name: 'echo', arguments: { a: 1 }, _meta: envelope }, 'x-1'),
      { ...(await bearer()), ...modernHeaders('tools/call', 'echo') },
    )
    expect(response.status).toBe(200)
    expect(response.headers.get('x-request-id')).toMatch(/^req_[0-9a-z]{26}$/)
    expect<unknown>(await rpcAnswer(response)).toEqual({
      jsonrpc: '2.0',
      id: 'x-1',
      result: {
        resultType: 'complete',
        _meta: {
          'io.modelcontextprotocol/serverInfo': {
            name: 'pets',
            title: 'Test server',
            version: '1',
          },
        },
        content: [{ type: 'text', text: '{"a":1}' }],
      },
    })
  })

  test('the runner is told server, epoch, person, organisation and the request id', async () => {
    const response = await gw.post(server, request('tools/call', { name: 'echo' }), await bearer())
    const header = gw.world.calls.at(-1)
    expect(header).toMatchObject({
      serverId: server.serverId,
      epoch: 1,
      tool: 'echo',
      userId: gw.person.userId,
      orgId: gw.person.orgId,
      progress: true,
      timeoutMs: 20_000,
    })
    expect(response.headers.get('x-request-id')).toBe(header?.requestId ?? '')
  })

  test('an id from outside is never taken for the request id', async () => {
    const response = await gw.post(server, request('ping'), {
      ...(await bearer()),
      'x-request-id': 'req_forged',
    })
    expect(response.headers.get('x-request-id')).not.toBe('req_forged')
  })

  test('a mismatch of header and body is refused before the runner hears of it', async () => {
    const before = gw.world.calls.length
    const response = await gw.post(
      server,
      request('tools/call', { name: 'slow', arguments: {}, _meta: envelope }),
      { ...(await bearer()), ...modernHeaders('tools/call', 'echo') },
    )
    expect(response.status).toBe(400)
    expect((await rpcAnswer(response)).error.code).toBe(-32020)
    expect(gw.world.calls.length).toBe(before)
  })

  test('notifications are accepted without a body, GET and DELETE are not', async () => {
    const accepted = await gw.post(
      server,
      { jsonrpc: '2.0', method: 'notifications/initialized' },
      await bearer(),
    )
    expect([accepted.status, await accepted.text()]).toEqual([202, ''])
    for (const method of ['GET', 'DELETE', 'PUT']) {
      const response = await fetch(server.url, { method, headers: await bearer() })
      expect([response.status, response.headers.get('allow')]).toEqual([405, 'POST'])
    }
  })

  test('a batch of 2025-03-26 is decided element by element', async () => {
    const response = await gw.post(
      server,
      [
        request('tools/call', { name: 'echo', arguments: { n: 1 } }, 1),
        { jsonrpc: '2.0', method: 'notifications/initialized' },
        request('tools/call', { name: 'nope' }, 2),
        request('initialize', { protocolVersion: '2025-03-26' }, 3),
        { nonsense: true },
        request('ping', {}, 4),
      ],
      await bearer(),
    )
    const answers = await rpcAnswers(response)
    expect(answers.map((answer) => answer.id)).toEqual([1, 2, 3, null, 4])
    expect(answers[0]?.result.content).toEqual([{ type: 'text', text: '{"n":1}' }])
    expect(answers.slice(1, 4).map((answer) => answer.error.code)).toEqual([-32602, -32600, -32600])
    expect<unknown>(answers[4]?.result).toEqual({})
  })

  test('a batch of notifications has no answer, a modern element spoils the batch', async () => {
    const quiet = await gw.post(
      server,
      [{ jsonrpc: '2.0', method: 'notifications/initialized' }],
      await bearer(),
    )
    expect([quiet.status, await quiet.text()]).toEqual([202, ''])
    const before = gw.world.calls.length
    const mixed = await gw.post(
      server,
      [request('tools/call', { name: 'echo', _meta: envelope }), request('ping')],
      await bearer(),
    )
    expect(mixed.status).toBe(400)
    const later = await gw.post(server, [request('ping')], {
      ...(await bearer()),
      'mcp-protocol-version': '2025-06-18',
    })
    expect(later.status).toBe(400)
    expect(gw.world.calls.length).toBe(before)
  })

  test('a version header that nobody speaks is refused', async () => {
    const response = await gw.post(server, request('tools/list'), {
      ...(await bearer()),
      'mcp-protocol-version': '2024-11-05',
    })
    expect(response.status).toBe(400)
    const twice = await gw.post(server, request('tools/list'), {
      ...(await bearer()),
      'mcp-protocol-version': '2025-11-25, 2025-06-18',
    })
    expect(twice.status).toBe(400)
  })

  test('takes one version named twice, and answers a newer one on initialize with its own', async () => {
    const twice = await gw.post(server, request('tools/list'), {
      ...(await bearer()),
      'mcp-protocol-version': '2025-11-25, 2025-11-25',
    })
    expect(twice.status).toBe(200)
    const later = await gw.post(server, request('initialize', { protocolVersion: '2099-01-01' }), {
      ...(await bearer()),
      'mcp-protocol-version': '2099-01-01',
    })
    expect(later.status).toBe(200)
    expect((await rpcAnswer(later)).result.protocolVersion).toBe('2025-11-25')
  })

  test('reads params that are null as left out', async () => {
    const ping = { jsonrpc: '2.0', id: 3, method: 'ping', params: null }
    const response = await gw.post(server, ping, await bearer())
    expect(await rpcAnswer(response)).toMatchObject({ id: 3, result: {} })
  })
})

describe('at the door without a good token', () => {
  test('looks before signing in meet the challenge, and 405 with a token', async () => {
    for (const method of ['GET', 'HEAD']) {
      const stranger = await fetch(server.url, { method })
      expect([method, stranger.status]).toEqual([method, 401])
      expect(stranger.headers.get('www-authenticate')).toContain('resource_metadata=')
      const headers = { authorization: `Bearer  ${await gw.token(server)}` }
      const known = await fetch(server.url, { method, headers })
      expect([method, known.status, known.headers.get('allow')]).toEqual([method, 405, 'POST'])
    }
  })

  test('refuses a second spelling of a good token', async () => {
    const token = await gw.token(server)
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
    const respelt = `${token.slice(0, -1)}${alphabet[alphabet.indexOf(token.at(-1) ?? '') + 1]}`
    const list = (text: string) =>
      gw.post(server, request('tools/list'), { authorization: `Bearer ${text}` })
    expect((await list(respelt)).status).toBe(401)
    expect((await list(token)).status).not.toBe(401)
  })
})

describe('garbage at the door', () => {
  const garbage: [string, string | Uint8Array, string, number, number][] = [
    ['no JSON', 'hello', 'application/json', 400, -32700],
    ['half a message', '{"jsonrpc":"2.0"', 'application/json', 400, -32700],
    ['nothing', '', 'application/json', 400, -32700],
    [
      'a byte order mark',
      new Uint8Array([0xef, 0xbb, 0xbf, ...new TextEncoder().encode('{}')]),
      'application/json',
      400,
      -32700,
    ],
    [
      'a repeated key',
      '{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}',
      'application/json',
      400,
      -32600,
    ],
    ['a deep nest', '['.repeat(100_000), 'application/json', 400, -32600],
    ['a form', 'a=b', 'application/x-www-form-urlencoded', 415, -32000],
    ['plain text', '{}', 'text/plain', 415, -32000],
    ['more than a megabyte', `"${'x'.repeat(1024 * 1024)}"`, 'application/json', 413, -32000],
  ]
  for (const [what, body, contentType, status, code] of garbage) {
    test(`${what} is refused with ${status}`, async () => {
      const response = await fetch(server.url, {
        method: 'POST',
        headers: { ...(await bearer()), 'content-type': contentType },
        body,
      })
      expect(response.status).toBe(status)
      const answer = await rpcAnswer(response)
      expect(answer.error.code).toBe(code)
      expect(answer.id).toBeNull()
    })
  }

  test('a packed body is refused with 415, which says how it would be taken', async () => {
    const send = async (coding: string, body: string | Uint8Array<ArrayBuffer>) =>
      fetch(server.url, {
        method: 'POST',
        headers: {
          ...(await bearer()),
          'content-type': 'application/json',
          'content-encoding': coding,
        },
        body,
      })
    const message = '{"jsonrpc":"2.0","id":1,"method":"ping"}'
    const packed = await send('gzip', Bun.gzipSync(message))
    expect([packed.status, packed.headers.get('accept-encoding')]).toEqual([415, 'identity'])
    const { error } = await rpcAnswer(packed)
    expect(error.message).toContain('without Content-Encoding')
    expect((await send('identity', message)).status).toBe(200)
  })

  test('a body without a declared length is cut at the limit', async () => {
    const body = new ReadableStream({
      start(controller) {
        for (let chunk = 0; chunk < 20; chunk++) controller.enqueue(new Uint8Array(128 * 1024))
        controller.close()
      },
    })
    const response = await fetch(server.url, {
      method: 'POST',
      headers: { ...(await bearer()), 'content-type': 'application/json' },
      body,
    })
    expect(response.status).toBe(413)
  })
})

test('a message with too many keys is refused by the count of them, whatever it asks for', async () => {
  const x = Object.fromEntries(Array.from({ length: 70_000 }, (_, at) => [`k${at}`, 0]))
  const message = request('tools/call', { name: 'no-such-tool', arguments: { x } })
  const response = await gw.post(server, message, await bearer())
  expect(response.status).toBe(400)
  expect(await response.json()).toMatchObject({
    error: { code: -32600, message: expect.stringContaining('too many keys and values') },
  })
})
