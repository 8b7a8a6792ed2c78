/** Headers that reach the model beside an answer, and those that do not. */
import { expect, test } from 'bun:test'
import { toolResultFrom } from './answer.ts'
import { headerLines } from './answer-headers.ts'

const url = 'https://api.example.com/answers/next-page'
const link = `<${url}?cursor=c2>; rel="next"`

test('tell the next page, the place, the version and the limits, and nothing else', () => {
  const lines = headerLines([
    ['Link', link],
    ['location', '/answers/77'],
    ['ETag', '"v7"'],
    ['x-total-count', '42'],
    ['X-RateLimit-Remaining', '3'],
    ['ratelimit', 'limit=10'],
    ['x-next-cursor', 'c2'],
    ['content-disposition', "attachment; filename*=UTF-8''a%20b.csv"],
    ['content-type', 'application/json'],
    ['date', 'Tue, 01 Dec 2026 00:00:00 GMT'],
    ['set-cookie', 'sid=secret'],
    ['x-request-id', '1'],
    ['content-security-policy', 'x'],
  ])
  expect(lines.split('\n')).toEqual([
    `link: ${link}`,
    'location: /answers/77',
    'etag: "v7"',
    'x-total-count: 42',
    'x-ratelimit-remaining: 3',
    'ratelimit: limit=10',
    'x-next-cursor: c2',
    "content-disposition: attachment; filename*=UTF-8''a%20b.csv",
  ])
})

test('of HEAD are all there, but cookies', () => {
  const headers: [string, string][] = [
    ['content-length', '12'],
    ['content-type', 'image/png'],
    ['x-own', '1'],
    ['set-cookie', 'sid=secret'],
  ]
  const head = toolResultFrom(
    { status: 200, headers, body: new Uint8Array() },
    { url, method: 'HEAD' },
  )
  expect(head.content[1]).toEqual({
    type: 'text',
    text: 'Headers of the answer:\ncontent-length: 12\ncontent-type: image/png\nx-own: 1',
  })
})

test('are bounded, in letters, and without controls', () => {
  const long = headerLines(Array.from({ length: 200 }, () => ['link', 'x'.repeat(5_000)] as const))
  expect(long.length).toBeLessThanOrEqual(4_000)
  expect(headerLines([['etag', '"Ã¼\u0085\u0000"']])).not.toMatch(/\p{Cc}/u)
  expect(headerLines([['content-disposition', 'filename="Ã¼.csv"']])).toContain('"ü.csv"')
})

test('stand beside the content and never in structured content', () => {
  const body = new TextEncoder().encode('{"name":"a"}')
  const headers: [string, string][] = [
    ['content-type', 'application/json'],
    ['etag', '"v7"'],
  ]
  expect(toolResultFrom({ status: 200, headers, body }, { url })).toEqual({
    content: [
      { type: 'text', text: '{"name":"a"}' },
      { type: 'text', text: 'Headers of the answer:\netag: "v7"' },
    ],
    structuredContent: { name: 'a' },
  })
  const made = toolResultFrom(
    { status: 201, headers: [['location', '/answers/77']], body: new Uint8Array() },
    { url, method: 'POST' },
  )
  expect(JSON.stringify(made.content)).toContain('location: /answers/77')
})
