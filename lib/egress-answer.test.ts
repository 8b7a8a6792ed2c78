import { describe, expect, test } from 'bun:test'
import net from 'node:net'
import { gzipSync } from 'node:zlib'
import { egressFetch } from './egress.ts'
import { egressOfFile, failure, okAnswer, toLoopback } from './testing-egress.ts'
import { type Answer, listening } from './testing-upstream.ts'

const decoder = new TextDecoder()
const { upstream, get } = egressOfFile()

/** A chunked answer that goes on until the connection is closed. */
function endless(type: string, line: string, everyMs: number): Answer {
  return (_request, socket) => {
    socket.write(`HTTP/1.1 200 OK\r\nContent-Type: ${type}\r\nTransfer-Encoding: chunked\r\n\r\n`)
    const timer = setInterval(() => {
      socket.write(`${line.length.toString(16)}\r\n${line}\r\n`)
    }, everyMs)
    socket.on('close', () => clearInterval(timer))
    socket.on('error', () => clearInterval(timer))
  }
}

describe('the answer', () => {
  test('keeps repeated headers and loses those of the hop', async () => {
    const server = await upstream(
      'HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nConnection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=1\r\nX-A: 1\r\nContent-Length: 2\r\n\r\nok',
    )
    const answer = await get(server.port)
    expect(answer.headers).toEqual([
      ['set-cookie', 'a=1'],
      ['set-cookie', 'b=2'],
      ['x-a', '1'],
    ])
    expect(decoder.decode(answer.body)).toBe('ok')
  })

  test('to HEAD keeps the length that it announces', async () => {
    const server = await upstream('HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n')
    const answer = await get(server.port, { method: 'HEAD' })
    expect(answer).toMatchObject({ status: 200, headers: [['content-length', '99999999']] })
    expect(answer.body).toHaveLength(0)
  })

  test.each([
    ['text/event-stream', 'data: 1\n\n'],
    ['application/x-ndjson; charset=utf-8', '{"n":1}\n'],
    ['text/plain', 'a line of a log\n'],
    ['application/json;stream=watch', '{"type":"ADDED"}\n'],
  ])(
    'of type %s that does not end is what came in its time, where streams are taken',
    async (type, line) => {
      const server = await upstream(endless(type, line, 20))
      const limits = { streamMs: 300, totalMs: 5_000 }
      const answer = await get(server.port, { limits, takesStreams: true })
      expect(answer).toMatchObject({ status: 200, cut: 'time' })
      expect(decoder.decode(answer.body)).toStartWith(line + line)
      const refused = await failure(get(server.port, { limits: { streamMs: 100, totalMs: 500 } }))
      expect(refused.code).toBe('timeout')
    },
  )

  test('that is a stream larger than an answer may be is cut; other answers are refused', async () => {
    const limits = { answerBytes: 50_000, totalMs: 5_000 }
    const line = 'x'.repeat(20_000)
    const events = await upstream(endless('text/event-stream', line, 1))
    const answer = await get(events.port, { limits, takesStreams: true })
    expect(answer).toMatchObject({ cut: 'size' })
    expect(answer.body.length).toBeGreaterThan(0)
    expect(answer.body.length).toBeLessThanOrEqual(50_000)
    const binary = await upstream(endless('application/octet-stream', 'x', 20))
    const short = { streamMs: 100, totalMs: 500 }
    expect((await failure(get(binary.port, { limits: short, takesStreams: true }))).code).toBe(
      'timeout',
    )
    const plain = await upstream(endless('text/plain', line, 1))
    expect((await failure(get(plain.port, { limits, takesStreams: true }))).code).toBe(
      'answer_too_large',
    )
  })

  test('that is a stream and ends is whole', async () => {
    const server = await upstream(
      'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 9\r\n\r\ndata: 1\n\n',
    )
    const answer = await get(server.port, { takesStreams: true })
    expect(answer.cut).toBeUndefined()
    expect(decoder.decode(answer.body)).toBe('data: 1\n\n')
  })

  test('is decoded when it comes compressed though identity was asked for', async () => {
    const body = gzipSync('compressed')
    const server = await upstream(
      Buffer.concat([
        Buffer.from(
          `HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: ${body.length}\r\n\r\n`,
        ),
        body,
      ]),
    )
    const answer = await get(server.port)
    expect(decoder.decode(answer.body)).toBe('compressed')
    expect(answer.headers).toEqual([])
  })

  test('a small answer that decompresses to a huge one is refused', async () => {
    const body = gzipSync(Buffer.alloc(64 * 1024 * 1024))
    const server = await upstream(
      Buffer.concat([
        Buffer.from(
          `HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: ${body.length}\r\n\r\n`,
        ),
        body,
      ]),
    )
    expect((await failure(get(server.port))).code).toBe('answer_too_large')
  })

  test('in a coding that we do not know is refused', async () => {
    const server = await upstream(
      'HTTP/1.1 200 OK\r\nContent-Encoding: gzip, gzip\r\nContent-Length: 2\r\n\r\nok',
    )
    expect((await failure(get(server.port))).code).toBe('answer_invalid')
  })

  test('announced or sent beyond the limit ends the connection', async () => {
    const announced = await upstream('HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n')
    expect((await failure(get(announced.port))).code).toBe('answer_too_large')
    let sent = 0
    let closed = false
    const endless = await upstream((_request, socket) => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n')
      socket.on('close', () => {
        closed = true
      })
      const more = () => {
        if (closed || sent > 512 * 1024 * 1024) return
        sent += 65_536
        if (socket.write(Buffer.alloc(65_536))) setImmediate(more)
        else socket.once('drain', more)
      }
      more()
    })
    const limits = { answerBytes: 1024 * 1024 }
    expect((await failure(get(endless.port, { limits }))).code).toBe('answer_too_large')
    while (!closed) await Bun.sleep(5)
    expect(sent).toBeLessThan(64 * 1024 * 1024)
  })

  test('ends at once when the caller has no room for it', async () => {
    const server = await upstream(okAnswer)
    expect((await failure(get(server.port, { reserve: () => false }))).code).toBe('busy')
  })

  test.each([
    [
      'length and chunks',
      'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n',
    ],
    ['two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nokk'],
    [
      'a switch of protocols',
      'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nabc',
    ],
    ['garbage', '\x00\x01\x02 nonsense\r\n\r\n'],
    ['HTTP/0.9', 'hello world'],
    ['HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
    ['a huge header', `HTTP/1.1 200 OK\r\nX: ${'a'.repeat(200_000)}\r\n\r\n`],
    ['many headers', `HTTP/1.1 200 OK\r\n${'X: a\r\n'.repeat(500)}Content-Length: 2\r\n\r\nok`],
    ['a folded header', 'HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nok'],
    ['an unknown status', 'HTTP/1.1 999 X\r\nContent-Length: 2\r\n\r\nok'],
    ['interim answers without end', 'HTTP/1.1 103 Early Hints\r\n\r\n'.repeat(1_000)],
  ])('with %s is refused as malformed', async (_what, bytes) => {
    const server = await upstream(Buffer.from(bytes, 'latin1'))
    expect((await failure(get(server.port))).code).toBe('answer_invalid')
  })

  test('cut off is no answer', async () => {
    const server = await upstream((_request, socket) => {
      socket.end('HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhalf')
    })
    expect((await failure(get(server.port))).code).toBe('answer_invalid')
  })

  test('to one request never becomes the answer to the next', async () => {
    const server = await upstream(`${okAnswer}HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison`)
    for (let round = 0; round < 3; round++) {
      expect(decoder.decode((await get(server.port)).body)).toBe('ok')
    }
  })
})

describe('time', () => {
  test('an upstream that accepts and says nothing is left', async () => {
    const server = await upstream(() => {})
    const error = await failure(get(server.port, { limits: { firstByteMs: 200 } }))
    expect(error.code).toBe('timeout')
    expect(error.message).toBe('api.example.com did not answer within 0.2 s.')
  })

  test('an upstream that drips is left when the whole time is over', async () => {
    let isClosed = false
    const server = await upstream((_request, socket) => {
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n')
      const drip = setInterval(() => socket.write('x'), 20)
      socket.on('close', () => {
        clearInterval(drip)
        isClosed = true
      })
    })
    expect((await failure(get(server.port, { limits: { totalMs: 500 } }))).code).toBe('timeout')
    while (!isClosed) await Bun.sleep(5)
  })

  test('a resolver that hangs is left', async () => {
    const policy = { ...toLoopback, resolve: () => new Promise<string[]>(() => {}) }
    expect((await failure(get(1, { policy, limits: { connectMs: 200 } }))).code).toBe('timeout')
  })

  test('a TLS handshake that hangs is left', async () => {
    const server = await upstream(() => {})
    const act = egressFetch(`https://api.example.com:${server.port}/`, {
      policy: toLoopback,
      limits: { connectMs: 300 },
    })
    expect((await failure(act)).code).toBe('timeout')
  })

  test('a caller that goes away ends the request and the connection', async () => {
    let isClosed = false
    const server = await upstream((_request, socket) => {
      socket.on('close', () => {
        isClosed = true
      })
    })
    const stop = new AbortController()
    const act = failure(get(server.port, { signal: stop.signal }))
    while (server.requests.length === 0) await Bun.sleep(5)
    stop.abort()
    expect((await act).code).toBe('cancelled')
    while (!isClosed) await Bun.sleep(5)
    expect((await failure(get(server.port, { signal: AbortSignal.abort() }))).code).toBe(
      'cancelled',
    )
  })

  test('a closed port is a failure that names host and port', async () => {
    const server = net.createServer()
    const port = await listening(server)
    await new Promise((resolve) => server.close(resolve))
    const error = await failure(get(port))
    expect(error.code).toBe('connect_failed')
    expect(error.message).toContain(`api.example.com at port ${port}`)
    expect(error.isRefusal).toBe(false)
  })
})
