/** What the span of a request says, and what the code that asks cannot make it say. */
import { expect, test } from 'bun:test'
import type { SpanOptions, Tracing } from '@bmm/lib/tracing'
import { operationRules } from './operation-match.ts'
import { FetchFailure } from './outgoing.ts'
import { traced } from './request-span.ts'

const origin = 'https://api.example.com'
const contract = { rules: new Map([[origin, operationRules({ origin })]]) }

/** All that one request put into its span. */
async function spanOf(
  method: string,
  url: string,
  { failure, status = 200 }: { failure?: string; status?: number } = {},
): Promise<unknown> {
  const said: unknown[] = []
  const tracing: Tracing = {
    start: () => undefined,
    continue(name: string, _parent: string, { attributes }: SpanOptions) {
      said.push(name, attributes)
      return { trace: '', set: (more) => said.push(more), end: (why) => said.push(why) }
    },
    async [Symbol.asyncDispose]() {},
  }
  const ask = { method, url, headers: [], body: undefined }
  await traced(tracing, 'parent', ask, contract, async () => {
    if (failure !== undefined) throw new FetchFailure(failure, 'no', 'host', true)
    return { status, headers: [], body: new Uint8Array() }
  }).catch(() => {})
  return said
}

test('names method, confirmed host, port and status', async () => {
  expect(await spanOf('get', `${origin}/items/7?q=1`)).toEqual([
    'GET',
    { 'http.request.method': 'GET', 'server.address': 'api.example.com', 'server.port': 443 },
    { 'http.response.status_code': 200 },
    undefined,
  ])
})

test('an answer with the status of an error is a failed span', async () => {
  for (const status of [400, 404, 503]) {
    expect(await spanOf('GET', origin, { status })).toContain(String(status))
  }
  expect(await spanOf('GET', origin, { status: 302 })).not.toContain('302')
})

test('names no host that was never confirmed: the code could write arguments into it', async () => {
  for (const url of [
    'https://an-argument.example.com/',
    'https://api.example.com.an-argument.example/',
    'https://api.example.com:8443/',
    'http://api.example.com/',
    'an-argument',
  ]) {
    expect(await spanOf('ARGUMENT', url, { failure: 'origin_not_allowed' })).toEqual([
      'HTTP',
      { 'http.request.method': '_OTHER' },
      'origin_not_allowed',
    ])
  }
})
