/** Upstream answers as tool results. */
import { expect, test } from 'bun:test'
import { MAX_BINARY_BYTES, MAX_TEXT_CHARACTERS, toolResultFrom } from './answer.ts'

const url = 'https://api.example.com/pets/1?key=secret'

function answer(status: number, type: string | undefined, body: string | Uint8Array, more = {}) {
  const headers: [string, string][] = Object.entries(more)
  if (type !== undefined) headers.push(['Content-Type', type])
  const bytes = typeof body === 'string' ? new TextEncoder().encode(body) : body
  return toolResultFrom({ status, headers, body: bytes }, { url })
}

test('a JSON object is text and structured content', () => {
  expect(answer(200, 'application/json; charset=utf-8', '{"a":1}')).toEqual({
    content: [{ type: 'text', text: '{"a":1}' }],
    structuredContent: { a: 1 },
  })
})

test('lists, scalars and malformed JSON are text alone', () => {
  for (const body of ['[1]', '"a"', '12', 'null', '{"a":']) {
    expect(answer(200, 'application/hal+json', body)).toEqual({
      content: [{ type: 'text', text: body }],
    })
  }
})

test('an answer with more digits than a double holds is text alone, as it came', () => {
  const body = '{"id":9007199254740993}'
  expect(answer(200, 'application/json', body)).toEqual({ content: [{ type: 'text', text: body }] })
})

test('an answer without a type is text when it reads as text', () => {
  expect(answer(200, undefined, 'héllo').content).toEqual([{ type: 'text', text: 'héllo' }])
  expect(answer(200, undefined, new Uint8Array([0, 1, 2])).content[0]?.type).toBe('resource')
})

test('images and audio are blocks of their own, other bytes an embedded resource without the query', () => {
  const bytes = new Uint8Array([1, 2, 255])
  expect(answer(200, 'image/png', bytes).content).toEqual([
    { type: 'image', data: 'AQL/', mimeType: 'image/png' },
  ])
  expect(answer(200, 'audio/mpeg', bytes).content).toEqual([
    { type: 'audio', data: 'AQL/', mimeType: 'audio/mpeg' },
  ])
  expect(answer(200, 'application/pdf', bytes).content).toEqual([
    {
      type: 'resource',
      resource: {
        uri: 'https://api.example.com/pets/1',
        mimeType: 'application/pdf',
        blob: 'AQL/',
      },
    },
  ])
})

test('a failure is an error with status and body', () => {
  expect(answer(404, 'application/problem+json', '{"title":"no pet"}')).toEqual({
    content: [{ type: 'text', text: 'The API answered with status 404.\n{"title":"no pet"}' }],
    isError: true,
  })
  const limited = answer(429, 'text/plain', 'slow', { 'Retry-After': '30' })
  expect(limited.content[0]).toEqual({
    type: 'text',
    text: 'The API answered with status 429.\nThe API asks to slow down.\nslow',
  })
  expect(limited.content[1]).toEqual({
    type: 'text',
    text: 'Headers of the answer:\nretry-after: 30',
  })
  expect(answer(500, 'image/png', new Uint8Array([0])).content[0]).toEqual({
    type: 'text',
    text: 'The API answered with status 500.\n(1 bytes of image/png)',
  })
})

test('a redirect is an error that names its target', () => {
  const { content, isError } = answer(302, undefined, '', {
    location: 'https://elsewhere.example/',
  })
  expect(isError).toBe(true)
  expect(content[0]).toEqual({
    type: 'text',
    text: 'The API answered with status 302, a redirect to https://elsewhere.example/',
  })
})

test.each([
  [200, '200 (empty answer)'],
  [201, '201 (empty answer)'],
  [204, '204 (done, no content)'],
  [205, '205 (done, reset the form or view)'],
  [304, '304 (not modified)'],
])('an empty answer of status %d says so', (status, wanted) => {
  expect(answer(status, undefined, '')).toEqual({ content: [{ type: 'text', text: wanted }] })
})

test('the beginning of a stream is given and said to be one', () => {
  const body = new TextEncoder().encode('data: {"n":1}\n\n')
  const headers: [string, string][] = [['content-type', 'text/event-stream']]
  const { content } = toolResultFrom({ status: 200, headers, body, cut: 'time' }, { url })
  expect(content).toEqual([
    { type: 'text', text: 'data: {"n":1}\n\n' },
    {
      type: 'text',
      text: '(The API answers with a stream that had not ended when the time for it was over. These are its first 15 bytes.)',
    },
  ])
})

test('cookies are told by name: those that later calls send, and those that were dropped', () => {
  const response = { status: 204, headers: [], body: new Uint8Array() }
  const kept = toolResultFrom(response, { url, keptCookies: ['sid', 'csrf'] })
  expect(JSON.stringify(kept)).toContain('sid, csrf')
  const dropped = toolResultFrom({ ...response, droppedCookies: ['sid'] }, { url })
  expect(JSON.stringify(dropped)).toContain('were dropped')
})

test('too large text is cut with a note, too large binary refused', () => {
  const long = answer(200, 'text/plain', 'x'.repeat(MAX_TEXT_CHARACTERS + 1))
  const [block] = long.content
  expect(block?.type === 'text' && block.text.length).toBeLessThan(MAX_TEXT_CHARACTERS + 200)
  expect(block?.type === 'text' && block.text).toContain(
    `cut here: ${MAX_TEXT_CHARACTERS + 1} characters in all`,
  )
  const big = answer(200, 'application/zip', new Uint8Array(MAX_BINARY_BYTES + 1))
  expect(big.isError).toBe(true)
  expect(big.content[0]?.type).toBe('text')
})
