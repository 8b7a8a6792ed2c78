/** What connections to the gRPC port may hold, by raw HTTP/2 and raw bytes. */
import { afterEach, describe, expect, test } from 'bun:test'
import { type ClientHttp2Session, connect, constants, type Http2ServerResponse } from 'node:http2'
import { connect as dial, type Socket } from 'node:net'
import { testLog } from '@bmm/lib/testing'
import { until } from '@bmm/lib/testing-until'
import { type GrpcLimits, type GrpcPort, openGrpcPort } from './port.ts'

let port: GrpcPort | undefined
const seen: string[] = []
const opened: { destroy(): void }[] = []
afterEach(async () => {
  for (const each of opened.splice(0)) each.destroy()
  await port?.stop(() => {})
})

async function listen(limits: Partial<GrpcLimits>, isProxy = false): Promise<string> {
  port = await openGrpcPort({
    handler(request, response) {
      seen.push(request.url)
      if (request.url === '/never') return
      if (request.url === '/flood') {
        void flood(response).then(() => seen.push('flood is over'))
        return
      }
      request.resume()
      request.once('end', () => response.end('ok'))
    },
    port: 0,
    isProxy: () => isProxy,
    log: testLog,
    limits,
  })
  return `http://127.0.0.1:${port.port}`
}

function session(address: string): ClientHttp2Session {
  const made = connect(address)
  made.on('error', () => {})
  opened.push(made)
  return made
}

function raw(address: string): Socket & { isClosed: boolean } {
  const { port: number } = new URL(address)
  const socket = Object.assign(dial(Number(number), '127.0.0.1'), { isClosed: false })
  socket.on('error', () => {})
  // One that nobody reads is never told of its end.
  socket.resume()
  socket.on('close', () => {
    socket.isClosed = true
  })
  opened.push(socket)
  return socket
}

/** Writes for ever as the adapter does: blocked, it waits for `drain` alone. */
async function flood(response: Http2ServerResponse): Promise<void> {
  const block = Buffer.alloc(8_192)
  while (!response.destroyed && !response.stream.destroyed) {
    if (response.write(block)) await Bun.sleep(0)
    else await new Promise<void>((resolve) => response.once('drain', resolve))
  }
}

/** `ok`, or the code of the reset. */
function ask(from: ClientHttp2Session, path = '/', end = true): Promise<string> {
  return new Promise((resolve) => {
    const stream = from.request({ ':method': 'POST', ':path': path }, { endStream: end })
    let text = ''
    stream.on('data', (chunk) => {
      text += chunk
    })
    stream.on('error', () => {})
    stream.on('close', () => resolve(text || `reset ${stream.rstCode}`))
  })
}

describe('connections', () => {
  test('are bounded in all; the next is there again when one has gone', async () => {
    const address = await listen({ connections: 2 })
    const [first, second] = [session(address), session(address)]
    expect([await ask(first), await ask(second)]).toEqual(['ok', 'ok'])
    const third = session(address)
    await until(() => third.destroyed || third.closed)
    first.destroy()
    await until(async () => {
      const fourth = session(address)
      const answer = await Promise.race([ask(fourth), Bun.sleep(500)])
      return answer === 'ok'
    })
  })

  test('are bounded for a peer, unless it is a trusted proxy', async () => {
    const address = await listen({ connectionsPerPeer: 1 })
    expect(await ask(session(address))).toBe('ok')
    const second = session(address)
    await until(() => second.destroyed || second.closed)
    await port?.stop(() => {})
    const proxied = await listen({ connectionsPerPeer: 1 }, true)
    expect(await ask(session(proxied))).toBe('ok')
    expect(await ask(session(proxied))).toBe('ok')
  })

  test('that never carry a call are closed soon, idle ones later', async () => {
    const address = await listen({ firstCallMs: 500, idleMs: 3_000 })
    const silent = raw(address)
    const used = session(address)
    expect(await ask(used)).toBe('ok')
    await until(() => silent.isClosed)
    expect(used.destroyed || used.closed).toBe(false)
    await until(() => used.destroyed || used.closed)
  })

  test('that do not speak HTTP/2 are ended', async () => {
    const address = await listen({})
    const socket = raw(address)
    socket.write('GET / HTTP/1.1\r\nhost: localhost\r\n\r\n')
    await until(() => socket.isClosed)
    expect(await ask(session(address))).toBe('ok')
  })
})

describe('calls', () => {
  test('on one connection are bounded: a client that does not care has the rest refused', async () => {
    const address = await listen({ streamsPerConnection: 3 })
    const socket = raw(address)
    const resets: number[] = []
    let received = Buffer.alloc(0)
    socket.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk])
      resets.splice(0, resets.length, ...resetCodes(received))
    })
    const preface = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'
    socket.write(Buffer.concat([Buffer.from(preface), frame(4, 0, 0, Buffer.alloc(0))]))
    await until(() => received.length > 0, 'the settings of the port')
    // POST http /never, authority "a".
    const path = Buffer.from('/never')
    const headers = Buffer.concat([
      Buffer.from([0x83, 0x86, 0x41, 1, 0x61, 0x44, path.length]),
      path,
    ])
    for (let id = 1; id <= 19; id += 2) socket.write(frame(1, 5, id, headers))
    await until(() => resets.length === 7)
    expect(new Set(resets)).toEqual(new Set([constants.NGHTTP2_REFUSED_STREAM]))
  })

  test('that end while they are blocked by a reader who does not read strand nothing', async () => {
    const address = await listen({})
    const stream = session(address).request({ ':method': 'POST', ':path': '/flood' })
    stream.on('error', () => {})
    stream.pause()
    await until(() => seen.at(-1) === '/flood')
    await Bun.sleep(200)
    stream.close(constants.NGHTTP2_CANCEL)
    await until(() => seen.at(-1) === 'flood is over')
  }, 20_000)

  test('that are broken off at once, over and over, end their connection and soon nothing of it is worked on', async () => {
    const address = await listen({ resets: 20, resetsPerSecond: 1 })
    const socket = raw(address)
    socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
    socket.write(frame(4, 0, 0, Buffer.alloc(0)))
    const path = Buffer.from('/broken')
    const headers = Buffer.concat([
      Buffer.from([0x83, 0x86, 0x41, 1, 0x61, 0x44, path.length]),
      path,
    ])
    const code = Buffer.from([0, 0, 0, constants.NGHTTP2_CANCEL])
    const streams = Array.from({ length: 2_000 }, (_, at) => at * 2 + 1)
    socket.write(
      Buffer.concat(streams.flatMap((id) => [frame(1, 4, id, headers), frame(3, 0, id, code)])),
    )
    await until(() => socket.isClosed)
    expect(seen.filter((path) => path === '/broken').length).toBeLessThan(200)
    expect(await ask(session(address))).toBe('ok')
  })

  test('that are broken off now and then are no reason to end anything', async () => {
    const address = await listen({ resets: 3, resetsPerSecond: 100 })
    const client = session(address)
    for (let call = 0; call < 10; call++) {
      const stream = client.request({ ':method': 'POST', ':path': '/never' })
      stream.on('error', () => {})
      await Bun.sleep(30)
      stream.close(constants.NGHTTP2_CANCEL)
    }
    expect(await ask(client)).toBe('ok')
  })

  test('whose message does not arrive are ended, and others go on', async () => {
    const address = await listen({ requestMs: 1_000 })
    const slow = session(address)
    const answer = ask(slow, '/', false)
    expect(await ask(slow)).toBe('ok')
    expect(await answer).toBe(`reset ${constants.NGHTTP2_ENHANCE_YOUR_CALM}`)
    expect(await ask(slow)).toBe('ok')
  })

  test('finish while the port stops; what does not is ended', async () => {
    const address = await listen({})
    const client = session(address)
    expect(await ask(client)).toBe('ok')
    const held = ask(client, '/never')
    await until(() => seen.at(-1) === '/never')
    let drained = false
    await port?.stop(() => {
      drained = true
    })
    expect(drained).toBe(true)
    expect(await held).toMatch(/^reset/)
  }, 20_000)
})

function frame(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const header = Buffer.alloc(9)
  header.writeUIntBE(payload.length, 0, 3)
  header[3] = type
  header[4] = flags
  header.writeUInt32BE(stream, 5)
  return Buffer.concat([header, payload])
}

/** Codes of the RST_STREAM frames in whole frames. */
function resetCodes(chunk: Buffer): number[] {
  const codes: number[] = []
  for (let at = 0; at + 9 <= chunk.length; at += 9 + chunk.readUIntBE(at, 3)) {
    if (chunk[at + 3] === 3) codes.push(chunk.readUInt32BE(at + 9))
  }
  return codes
}
