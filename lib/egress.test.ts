import { describe, expect, test } from 'bun:test'
import { egressFetch } from './egress.ts'
import { type EgressPolicy, publicPolicy } from './egress-policy.ts'
import { egressOfFile, failure, okAnswer, toLoopback } from './testing-egress.ts'

const { pool, upstream, get } = egressOfFile()

describe('the request', () => {
  test('has our Host, our framing and the allowed headers, and nothing else', async () => {
    const server = await upstream(okAnswer)
    const answer = await get(server.port, {
      method: 'POST',
      body: Buffer.from('hello'),
      headers: [
        ['Host', 'evil.example'],
        ['Content-Length', '3'],
        ['Transfer-Encoding', 'chunked'],
        ['transfer_encoding', 'chunked'],
        ['Connection', 'x-secret'],
        ['Proxy-Authorization', 'Basic eA=='],
        ['X-Forwarded-For', '10.0.0.1'],
        ['X_Forwarded_Host', 'evil.example'],
        ['X-HTTP-Method-Override', 'DELETE'],
        ['X-Original-URL', '/admin'],
        ['Expect', '100-continue'],
        ['TE', 'trailers'],
        ['Accept-Encoding', 'gzip'],
        ['Stripe-Version', '2026-01-01'],
        ['X-Trace', 'a'],
        ['X-Trace', 'b'],
      ],
    })
    expect(answer.status).toBe(200)
    expect(server.requests).toHaveLength(1)
    const [head = '', body] = (server.requests[0] ?? '').split('\r\n\r\n')
    expect(body).toBe('hello')
    expect(head.toLowerCase().split('\r\n').sort()).toEqual(
      [
        'post / http/1.1',
        'stripe-version: 2026-01-01',
        'x-trace: a',
        'x-trace: b',
        `host: api.example.com:${server.port}`,
        'accept-encoding: identity',
        'user-agent: build-my-mcp/1',
        'accept: */*',
        'content-length: 5',
        'connection: keep-alive',
      ].sort(),
    )
  })

  test('refuses Upgrade, CONNECT, TRACE and made-up methods before anything is sent', async () => {
    const server = await upstream(okAnswer)
    const upgrade = get(server.port, { headers: [['Upgrade', 'websocket']] })
    expect((await failure(upgrade)).code).toBe('upgrade_refused')
    for (const method of ['CONNECT', 'TRACE', 'GET / HTTP/1.1\r\nX: y\r\n\r\nGET', 'X']) {
      expect((await failure(get(server.port, { method }))).code).toBe('method_refused')
    }
    expect(server.connections).toBe(0)
  })

  test('refuses headers that would split the request', async () => {
    const server = await upstream(okAnswer)
    for (const header of [
      ['X-A', 'b\r\nX-Injected: 1'],
      ['X-A', 'b\nX-Injected: 1'],
      ['X-A', 'b\0'],
      ['X-A\r\nX-Injected', '1'],
      ['X A', '1'],
      ['', '1'],
      ['X-A', '\u{1F600}'],
    ] as const) {
      expect((await failure(get(server.port, { headers: [header] }))).code).toBe('header_refused')
    }
    const many = Array.from({ length: 101 }, (_, n) => [`X-${n}`, '1'] as const)
    expect((await failure(get(server.port, { headers: many }))).code).toBe('header_refused')
    expect(server.connections).toBe(0)
  })

  test('carries Range, but not where a credential goes along', async () => {
    const server = await upstream(okAnswer)
    const headers = [
      ['Range', 'bytes=0-1'],
      ['If-Range', '"x"'],
    ] as const
    await get(server.port, { headers })
    await get(server.port, { headers, isCredentialed: true })
    expect(server.requests[0]).toContain('range: bytes=0-1')
    expect(server.requests[1]?.toLowerCase()).not.toContain('range')
  })

  test('with a body over the limit is refused', async () => {
    const server = await upstream(okAnswer)
    const limits = { requestBytes: 4 }
    const body = Buffer.from('hello')
    expect((await failure(get(server.port, { method: 'POST', body, limits }))).code).toBe(
      'request_too_large',
    )
    expect(server.connections).toBe(0)
  })

  test('keeps the path as it was checked', async () => {
    const server = await upstream(okAnswer)
    await get(server.port, {}, '/a/../b/%2e%2e/c%2Fd?x=%2F..%00&y=é#frag')
    expect(server.requests[0]).toStartWith('GET /c%2Fd?x=%2F..%00&y=%C3%A9 HTTP/1.1\r\n')
  })
})

describe('the destination', () => {
  test('a name is resolved once and the connection goes to the checked address', async () => {
    const server = await upstream(okAnswer)
    let asked = 0
    const policy: EgressPolicy = {
      ...toLoopback,
      // Public at the check, loopback for whoever asks again.
      resolve: async () => (++asked === 1 ? ['192.88.98.1'] : ['127.0.0.1']),
    }
    const error = await failure(get(server.port, { policy, limits: { connectMs: 300 } }))
    expect(['timeout', 'connect_failed']).toContain(error.code)
    expect(asked).toBe(1)
    expect(server.connections).toBe(0)
  })

  test('a name with one private address among public ones is refused', async () => {
    const server = await upstream(okAnswer)
    const policy = publicPolicy({ resolve: async () => ['93.184.215.14', '127.0.0.1'] })
    expect((await failure(get(server.port, { policy }))).code).toBe('private_address')
    expect(server.connections).toBe(0)
  })

  test('the next address is tried when the first does not answer', async () => {
    const server = await upstream(okAnswer)
    const policy = { ...toLoopback, resolve: async () => ['127.0.0.2', '127.0.0.1'] }
    expect((await get(server.port, { policy })).status).toBe(200)
  })

  test('a literal is refused as a name would be', async () => {
    const server = await upstream(okAnswer)
    for (const host of ['127.0.0.1', '[::ffff:127.0.0.1]', '2130706433', 'localhost']) {
      const act = egressFetch(`http://${host}:${server.port}/`, { policy: publicPolicy() })
      expect(['private_address', 'host_refused']).toContain((await failure(act)).code)
    }
    expect(server.connections).toBe(0)
  })

  test('a redirect comes back as an answer and its target is refused when asked for', async () => {
    const inner = await upstream(okAnswer)
    const location = `http://127.0.0.1:${inner.port}/admin`
    const server = await upstream(
      `HTTP/1.1 302 Found\r\nLocation: ${location}\r\nContent-Length: 0\r\n\r\n`,
    )
    const answer = await get(server.port)
    expect(answer.status).toBe(302)
    expect(answer.headers).toContainEqual(['location', location])
    const next = egressFetch(location, { policy: toLoopback })
    expect((await failure(next)).code).toBe('private_address')
    expect(inner.connections).toBe(0)
  })

  test('a kept connection does not outlive the leave to use it, nor serve another key', async () => {
    const server = await upstream(okAnswer)
    await get(server.port)
    await get(server.port)
    expect(server.connections).toBe(1)
    await get(server.port, { connections: { pool, key: 'sandbox-2' } })
    expect(server.connections).toBe(2)
    const policy = { ...toLoopback, isTargetAllowed: () => false }
    expect((await failure(get(server.port, { policy }))).code).toBe('private_address')
    expect(server.requests).toHaveLength(3)
    pool.drop('sandbox-1')
    await get(server.port)
    expect(server.connections).toBe(3)
  })

  test('a connection that the server closed while idle is replaced for repeatable methods', async () => {
    const server = await upstream(okAnswer)
    await get(server.port)
    for (const socket of server.sockets) socket.destroy()
    expect((await get(server.port)).status).toBe(200)
  })

  test('an upstream slower than the idle time of kept connections is waited for', async () => {
    const server = await upstream((_request, socket) => {
      setTimeout(() => socket.write(okAnswer), 4_500)
    })
    expect((await get(server.port)).status).toBe(200)
  })
})
