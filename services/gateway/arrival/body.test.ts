/** Bodies: up to a size, within a time, of one media type. */
import { expect, test } from 'bun:test'
import { connect } from 'node:net'
import { accepts, BodyFault, mediaTypeOf, readBody } from './body.ts'

const rules = { mediaType: 'application/json', limitBytes: 10 }

function posted(
  body: string | ReadableStream<Uint8Array> | null,
  contentType = 'application/json',
): Request {
  return new Request('http://localhost/', {
    method: 'POST',
    headers: { 'content-type': contentType },
    body,
  })
}

async function faultOf(request: Request, more = {}): Promise<string> {
  try {
    await readBody(request, { ...rules, ...more })
    return 'none'
  } catch (error) {
    if (error instanceof BodyFault) return error.kind
    throw error
  }
}

function stream(chunks: string[], end: 'close' | 'stall' | 'error'): ReadableStream<Uint8Array> {
  return new ReadableStream({
    async start(controller) {
      for (const chunk of chunks) {
        controller.enqueue(new TextEncoder().encode(chunk))
        await Bun.sleep(1)
      }
      if (end === 'close') controller.close()
      if (end === 'error') controller.error(new Error('gone'))
    },
  })
}

test('a body at the limit is read, in one piece or in many', async () => {
  const whole = await readBody(posted('0123456789'), rules)
  expect(new TextDecoder().decode(whole)).toBe('0123456789')
  const parts = await readBody(posted(stream(['01234', '56789'], 'close')), rules)
  expect(new TextDecoder().decode(parts)).toBe('0123456789')
  expect(await readBody(posted(null), rules)).toHaveLength(0)
})

test('one byte more is refused, declared or not', async () => {
  expect(await faultOf(posted('0123456789a'))).toBe('too_large')
  expect(await faultOf(posted(stream(['01234', '56789', 'a'], 'close')))).toBe('too_large')
})

test('a body that drips or stalls is given up', async () => {
  expect(await faultOf(posted(stream(['0'], 'stall')), { timeoutMs: 50 })).toBe('too_slow')
})

test('a connection whose body does not come in time is closed after its answer', async () => {
  using server = Bun.serve({
    port: 0,
    hostname: '127.0.0.1',
    fetch: (request) =>
      readBody(request, { ...rules, timeoutMs: 50 }).then(
        () => new Response(),
        ({ status, headers }: BodyFault) => new Response(null, { status, headers }),
      ),
  })
  for (const framing of ['Content-Length: 10', 'Transfer-Encoding: chunked']) {
    const socket = connect(server.port ?? 0, '127.0.0.1')
    let answer = ''
    socket.on('data', (bytes) => {
      answer += bytes.toString('latin1')
    })
    const closed = Promise.withResolvers<void>()
    socket.on('close', () => closed.resolve())
    socket.write(
      `POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n${framing}\r\n\r\n1\r\n0`,
    )
    await closed.promise
    expect(answer).toStartWith('HTTP/1.1 408 ')
  }
})

test('a body of single bytes is read into one buffer, for which room is asked as it grows', async () => {
  const asked: number[] = []
  let held = 0
  const reserve = (bytes: number) => {
    asked.push(bytes)
    if (held + bytes > 48 * 1024) return undefined
    held += bytes
    return () => {
      held -= bytes
    }
  }
  const bytes = (count: number) =>
    posted(
      new ReadableStream({
        start(controller) {
          for (let at = 0; at < count; at++) controller.enqueue(new Uint8Array([0x30]))
          controller.close()
        },
      }),
    )
  const more = { limitBytes: 100_000, reserve }
  expect((await readBody(bytes(20_000), { ...rules, ...more })).length).toBe(20_000)
  expect([asked.splice(0), held]).toEqual([[16_384, 16_386], 0])
  expect(await faultOf(bytes(40_000), more)).toBe('too_many')
  expect(held).toBe(0)
})

test('a body that breaks off is refused', async () => {
  expect(await faultOf(posted(stream(['0'], 'error')))).toBe('aborted')
})

test('the media type must be the one, its parameters do not matter', async () => {
  expect(await faultOf(posted('{}', 'application/json; charset=utf-8'))).toBe('none')
  expect(await faultOf(posted('{}', 'Application/JSON'))).toBe('none')
  for (const other of ['text/plain', 'application/jsonp', 'application/json-seq', '']) {
    expect(await faultOf(posted('{}', other))).toBe('media_type')
  }
  expect(mediaTypeOf(posted('{}', 'a/b ; c=d'))).toBe('a/b')
})

test('an Accept header is read by its ranges', () => {
  const accepting = (accept: string) =>
    accepts(new Request('http://localhost/', { headers: { accept } }), 'text/event-stream')
  expect(accepting('application/json, text/event-stream')).toBe(true)
  expect(accepting('text/event-stream;q=0.5')).toBe(true)
  expect(accepting('text/event-stream')).toBe(true)
  expect(accepting('Text/Event-Stream , application/json')).toBe(true)
  expect(accepting('text/event-streams')).toBe(false)
  expect(accepting('x-text/event-stream')).toBe(false)
  expect(accepting('application/json')).toBe(false)
  expect(accepting('*/*')).toBe(false)
})
