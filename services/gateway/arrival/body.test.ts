/** Bodies: up to a size, within a time, of one media type. */
import { expect, test } from 'bun:test'
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
