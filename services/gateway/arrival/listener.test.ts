/** The doors: both loopback addresses, slow and idle visitors, and stopping without cutting answers. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { type ListenAddress, listenAddresses } from '@bmm/lib/listen-addresses'
import { testLog } from '@bmm/lib/testing'
import { outcomeOf } from '@bmm/lib/testing-outcome'
import { until } from '@bmm/lib/testing-until'
import { openRoom } from '../limits/room.ts'
import { openArrivals } from './arrival.ts'
import { trustedProxies } from './client-ip.ts'
import { type Listener, listen } from './listener.ts'
import { unnamedProxies } from './unnamed-proxies.ts'

const arrivals = openArrivals()
const release = Promise.withResolvers<void>()
let listener: Listener
let origin: string
const seen: string[] = []

const trusted = trustedProxies([])
const unnamed = unnamedProxies({ trusted, log: testLog })
const v4: ListenAddress = { hostname: '127.0.0.1', isNamed: false }

function start(addresses?: ListenAddress[], ownUrl?: string): Listener {
  const publicUrl = { value: ownUrl ?? 'http://localhost' }
  const started = listen({
    app: {
      async fetch(request) {
        const { clientIp, requestId } = arrivals.of(request)
        seen.push(requestId)
        if (request.url.endsWith('/echo')) return new Response(await request.bytes())
        if (request.url.endsWith('/wait')) await release.promise
        return new Response(clientIp)
      },
    },
    arrivals,
    bodies: openRoom({ perPerson: 1024 * 1024, total: 1024 * 1024 }),
    get publicUrl() {
      return publicUrl.value
    },
    port: 0,
    trusted,
    unnamed,
    log: testLog,
    ...(addresses === undefined ? {} : { addresses }),
  })
  publicUrl.value = ownUrl ?? `http://localhost:${started.port}`
  return started
}

beforeAll(() => {
  listener = start()
  origin = `http://localhost:${listener.port}`
})
afterAll(async () => {
  release.resolve()
  await listener.stop(() => {})
})

describe('the doors', () => {
  test('are both loopback addresses on one port', async () => {
    const host = `localhost:${listener.port}`
    for (const [address, expected] of [
      ['127.0.0.1', '127.0.0.1'],
      ['[::1]', '::1'],
    ]) {
      const response = await fetch(`http://${address}:${listener.port}/`, { headers: { host } })
      expect([response.status, await response.text()]).toEqual([200, expected ?? ''])
    }
  })

  test('an address that the machine does not have is left out', async () => {
    const partial = start([{ hostname: '192.0.2.1', isNamed: false }, v4])
    const response = await fetch(`http://127.0.0.1:${partial.port}/`, {
      headers: { host: `localhost:${partial.port}` },
    })
    expect(response.status).toBe(200)
    await partial.stop(() => {})
  })

  test('a named address must be there', () => {
    expect(() => start(listenAddresses('192.0.2.1'))).toThrow('BMM_LISTEN names 192.0.2.1')
    expect(() => start([{ hostname: '192.0.2.1', isNamed: false }])).toThrow()
  })

  test('forwarded addresses are not believed from strangers', async () => {
    const response = await fetch(`${origin}/`, { headers: { 'x-forwarded-for': '198.51.100.1' } })
    expect(await response.text()).not.toContain('198.51.100.1')
    expect(unnamed.warning()).toMatch(/start with BMM_TRUSTED_PROXIES=(::1|127\.0\.0\.1)/)
  })

  test('a request without a host is refused, however it is written', async () => {
    for (const head of ['GET / HTTP/1.0', 'GET / HTTP/1.1\r\nHost: evil.example']) {
      const text = await rawAnswer(`${head}\r\n\r\n`)
      expect(text).toStartWith('HTTP/1.1 421 ')
    }
    const host = `localhost:${listener.port}`
    const twice = await rawAnswer(`GET / HTTP/1.1\r\nHost: ${host}\r\nHost: evil.example\r\n\r\n`)
    expect(twice).toStartWith('HTTP/1.1 421 ')
  })

  test('a person who came by another name is led to the right one', async () => {
    const text = await rawAnswer('GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/html\r\n\r\n')
    expect(text).toStartWith('HTTP/1.1 421 ')
    expect(text).toContain(`<a class="button" href="${origin}">`)
    expect(text).toContain("default-src 'none'")
  })

  test('take their public name in any case and with the default port, and no other name', async () => {
    const named = start([v4], 'https://mcp.example.test')
    const statusAs = async (host: string) =>
      (await fetch(`http://127.0.0.1:${named.port}/`, { headers: { host } })).status
    const own = [
      'mcp.example.test',
      'MCP.Example.test',
      'mcp.example.test:443',
      'MCP.example.TEST:443',
    ]
    for (const host of own) expect([host, await statusAs(host)]).toEqual([host, 200])
    const others = ['mcp.example.test:80', 'mcp.example.test:8443', 'mcp.example.test.evil.example']
    for (const host of others) expect([host, await statusAs(host)]).toEqual([host, 421])
    await named.stop(() => {})
  })

  test('tell who runs a proxy that does not pass the host on what to set', async () => {
    const origins = ['https://mcp.example.test', 'https://mcp.example.test:8443']
    for (const [at, own] of origins.entries()) {
      const named = start([v4], own)
      const ask = (headers: Record<string, string>) =>
        fetch(`http://127.0.0.1:${named.port}/login`, { headers })
      const renamed = { 'x-forwarded-host': new URL(own).host.toUpperCase() }
      const page = await ask({ ...renamed, accept: 'text/html' })
      const line = `proxy_set_header Host ${at === 0 ? '$host' : '$http_host'};`
      expect([page.status, await page.text()]).toEqual([421, expect.stringContaining(line)])
      const { detail } = (await (await ask(renamed)).json()) as { detail: string }
      expect(detail).toStartWith(`The proxy in front of ${own} sent its own name`)
      const plain = (await (
        await ask({ 'x-forwarded-host': 'evil.example' })
      ).json()) as typeof page
      expect(plain).toMatchObject({
        code: 'wrong_host',
        detail: expect.stringMatching(
          /^This address answers for .* If you did, a proxy is in front/,
        ),
      })
      await named.stop(() => {})
    }
  })

  test('two ways to say where a body ends are refused', async () => {
    const text = await rawAnswer(
      `POST / HTTP/1.1\r\nHost: localhost:${listener.port}\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n`,
    )
    expect(text).toStartWith('HTTP/1.1 400 ')
    expect(text.split('HTTP/1.1').length).toBe(2)
  })

  test('bodies on their way from one network are bounded, and give their room back', async () => {
    const open: Bun.Socket[] = []
    const half = `POST /echo HTTP/1.1\r\nHost: localhost:${listener.port}\r\nContent-Length: 300000\r\n\r\nx`
    for (let at = 0; at < 4; at++) {
      const socket = await Bun.connect({
        ...{ hostname: '127.0.0.1', port: listener.port },
        socket: { data() {} },
      })
      open.push(socket)
      socket.write(half)
    }
    await until(async () => (await rawAnswer(half)).startsWith('HTTP/1.1 429 '))
    const refused = await fetch(`${origin}/echo`, { method: 'POST', body: 'x' })
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '2'])
    expect(await refused.json()).toMatchObject({ code: 'too_many_bodies' })
    expect((await fetch(`${origin}/`)).status).toBe(200)
    for (const socket of open) socket.terminate()
    await until(async () => (await fetch(`${origin}/echo`, { method: 'POST', body: 'x' })).ok)
  })

  test('each request has an id of its own', async () => {
    const ids = new Set<string | null>()
    for (let request = 0; request < 5; request++) {
      ids.add((await fetch(`${origin}/`)).headers.get('x-request-id'))
    }
    expect(ids.size).toBe(5)
    expect(seen).toContain([...ids][0] ?? '')
  })
})

describe('stopping', () => {
  test('lets an answer under way finish and takes no new ones', async () => {
    const stopping = start()
    const url = `http://localhost:${stopping.port}`
    const before = seen.length
    const slow = fetch(`${url}/wait`)
    await until(() => seen.length > before)
    const stopped = stopping.stop(() => {})
    expect(await outcomeOf(fetch(`${url}/`, { keepalive: false }))).toThrow()
    release.resolve()
    expect((await slow).status).toBe(200)
    await stopped
  }, 30_000)
})

/** What comes back on a plain socket until it ends or says no more for a moment. */
async function rawAnswer(text: string): Promise<string> {
  const done = Promise.withResolvers<void>()
  let received = ''
  const socket = await Bun.connect({
    hostname: '127.0.0.1',
    port: listener.port,
    socket: {
      data(_, bytes) {
        received += new TextDecoder().decode(bytes)
        setTimeout(done.resolve, 200)
      },
      close: () => done.resolve(),
    },
  })
  socket.write(text)
  await done.promise
  socket.end()
  return received
}
