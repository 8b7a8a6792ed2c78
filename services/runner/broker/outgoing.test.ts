import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { lanOnly, startTestBroker, type TestBroker, type TestSandbox } from './testing.ts'

let broker: TestBroker

beforeAll(async () => {
  broker = await startTestBroker({ resolve: lanOnly, limits: { totalMs: 10_000 } })
})
afterAll(async () => {
  await broker[Symbol.asyncDispose]()
})

/** A sandbox of a server that may talk to these origins. */
function sandbox(origins: string[]): Promise<TestSandbox> {
  return broker.sandbox(broker.sign({ egress: origins.map((origin) => ({ origin })) }).signed)
}

describe('a request of a sandbox', () => {
  test('reaches an allowed origin and comes back', async () => {
    const server = await broker.upstream(
      'HTTP/1.1 201 Created\r\nX-A: 1\r\nContent-Length: 5\r\n\r\nhello',
    )
    const { fetch } = await sandbox([server.origin])
    const answer = await fetch(`${server.origin}/v1/pets?x=1`, {
      method: 'POST',
      headers: [['content-type', 'application/json']],
      body: '{"name":"Rex"}',
    })
    expect(answer).toEqual({ status: 201, headers: [['x-a', '1']], body: 'hello' })
    expect(server.requests[0]).toStartWith('POST /v1/pets?x=1 HTTP/1.1\r\n')
    expect(server.requests[0]).toContain('content-type: application/json')
    expect(server.requests[0]).toEndWith('\r\n\r\n{"name":"Rex"}')
  })

  test('carries bodies of several megabytes both ways', async () => {
    const body = 'x'.repeat(5 * 1024 * 1024)
    const server = await broker.upstream((request, socket) => {
      const echoed = request.slice(request.indexOf('\r\n\r\n') + 4)
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${echoed.length}\r\n\r\n`)
      socket.write(echoed)
    })
    const { fetch } = await sandbox([server.origin])
    const answer = await fetch(`${server.origin}/`, { method: 'PUT', body })
    expect('body' in answer && answer.body === body).toBe(true)
  })

  test('to an origin outside the contract is refused before any DNS', async () => {
    const server = await broker.upstream()
    const other = await broker.upstream()
    const { fetch } = await sandbox([server.origin])
    for (const url of [
      `${other.origin}/`,
      `http://api.lan/`,
      `https://api.lan:${server.port}/`,
      `http://API.lan.:${server.port}/`,
      `http://127.0.0.1:${server.port}/`,
      'file:///etc/passwd',
    ]) {
      expect(await fetch(url)).toMatchObject({ failed: 'origin_not_allowed' })
    }
    expect(await fetch('not a url')).toMatchObject({ failed: 'url_invalid' })
    expect(server.connections + other.connections).toBe(0)
  })

  test('that is refused again and again waits for its answers, and for nothing else', async () => {
    const server = await broker.upstream()
    const { fetch } = await sandbox([server.origin])
    const refused = async () => {
      expect(await fetch('https://other.example/')).toMatchObject({ failed: 'origin_not_allowed' })
    }
    const begun = performance.now()
    // Fifty at once, and then twenty a second.
    for (let time = 0; time < 60; time++) await refused()
    expect(performance.now() - begun).toBeGreaterThan(450)
    let isTold = false
    const waiting = Promise.all(Array.from({ length: 40 }, refused)).then(() => {
      isTold = true
    })
    expect(await fetch(`${server.origin}/`)).toMatchObject({ status: 200 })
    expect(isTold).toBe(false)
    await waiting
  })

  test('to a private origin of its contract is refused unless the operator allows it', async () => {
    const { fetch } = await sandbox([
      'http://localhost:1',
      'http://10.0.0.1',
      'http://169.254.169.254',
      'https://metadata.google.internal',
      'http://[::ffff:127.0.0.1]'.replace('127.0.0.1', '7f00:1'),
    ])
    expect(await fetch('http://localhost:1/')).toMatchObject({
      failed: 'host_refused',
      message: expect.stringContaining('./bmm targets allow localhost:1 --org ID'),
    })
    expect(await fetch('http://10.0.0.1/')).toMatchObject({ failed: 'private_address' })
    expect(await fetch('http://169.254.169.254/')).toMatchObject({ failed: 'private_address' })
    expect(await fetch('https://metadata.google.internal/')).toMatchObject({
      failed: 'host_refused',
    })
    expect(await fetch('http://[::ffff:7f00:1]/')).toMatchObject({ failed: 'private_address' })
  })

  test('is not redirected: the next hop is a request of its own and judged as one', async () => {
    const server = await broker.upstream(
      'HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n',
    )
    const { fetch } = await sandbox([server.origin])
    const answer = await fetch(`${server.origin}/`)
    expect(answer).toMatchObject({ status: 302 })
    expect(await fetch('http://169.254.169.254/')).toMatchObject({ failed: 'origin_not_allowed' })
  })

  test('must be one of the listed operations', async () => {
    const server = await broker.upstream()
    const operations = [{ method: 'GET' as const, path: '/v1/pets/{id}' }]
    const { signed } = broker.sign({ egress: [{ origin: server.origin, operations }] })
    const { fetch } = await broker.sandbox(signed)
    expect(await fetch(`${server.origin}/v1/pets/7`)).toMatchObject({ status: 200 })
    for (const [method, path] of [
      ['DELETE', '/v1/pets/7'],
      ['GET', '/v1/admin'],
      ['GET', '/v1/pets/..%2fadmin'],
      ['GET', '/v1/pets/7%2Fowner'],
    ] as const) {
      expect(await fetch(`${server.origin}${path}`, { method })).toMatchObject({
        failed: 'operation_not_allowed',
      })
    }
    const override: [string, string][] = [['X-HTTP-Method-Override', 'DELETE']]
    await fetch(`${server.origin}/v1/pets/8`, { headers: override })
    expect(server.requests).toHaveLength(2)
    expect(server.requests[1]?.toLowerCase()).not.toContain('override')
  })

  test('that upgrades, connects or splits is refused', async () => {
    const server = await broker.upstream()
    const { fetch } = await sandbox([server.origin])
    const url = `${server.origin}/`
    expect(await fetch(url, { headers: [['Upgrade', 'websocket']] })).toMatchObject({
      failed: 'upgrade_refused',
    })
    expect(await fetch(url, { method: 'CONNECT' })).toMatchObject({ failed: 'method_refused' })
    expect(await fetch(url, { headers: [['a', 'b\r\nc: d']] })).toMatchObject({
      failed: 'header_refused',
    })
    expect(server.connections).toBe(0)
  })

  test('without a call in flight is refused', async () => {
    const server = await broker.upstream()
    const { fetch, slot } = await sandbox([server.origin])
    expect(await fetch(`${server.origin}/`, { call: 2 })).toMatchObject({
      failed: 'no_call_in_flight',
    })
    broker.running.calls.delete(`${slot} 1`)
    expect(await fetch(`${server.origin}/`)).toMatchObject({ failed: 'no_call_in_flight' })
    expect(server.connections).toBe(0)
  })

  test('in the name of another sandbox of the same machine is not possible', async () => {
    const server = await broker.upstream()
    const mine = await sandbox([server.origin])
    const theirs = await sandbox([server.origin])
    broker.running.calls.delete(`${mine.slot} 1`)
    broker.running.calls.add(`${theirs.slot} 7`)
    expect(await mine.fetch(`${server.origin}/`, { call: 7 })).toMatchObject({
      failed: 'no_call_in_flight',
    })
  })

  test('before the sandbox serves anybody is refused', async () => {
    const { fetch } = await broker.sandbox()
    expect(await fetch('https://api.example.com/')).toMatchObject({ failed: 'not_assigned' })
  })

  test('to an upstream that sends too much or breaks off fails with a sentence', async () => {
    const huge = await broker.upstream('HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n')
    const cut = await broker.upstream((_request, socket) => {
      socket.end('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf')
    })
    const { fetch } = await sandbox([huge.origin, cut.origin])
    expect(await fetch(`${huge.origin}/`)).toMatchObject({
      failed: 'answer_too_large',
      message: 'The answer of api.lan is larger than 8388608 bytes.',
    })
    expect(await fetch(`${cut.origin}/`)).toMatchObject({ failed: 'answer_invalid' })
  })

  test('shares no connection with another sandbox', async () => {
    const server = await broker.upstream()
    const [one, two] = [await sandbox([server.origin]), await sandbox([server.origin])]
    await one.fetch(`${server.origin}/`)
    await one.fetch(`${server.origin}/`)
    await two.fetch(`${server.origin}/`)
    expect(server.connections).toBe(2)
  })
})
