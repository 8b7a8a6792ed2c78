import { afterAll, beforeAll, expect, test } from 'bun:test'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { until } from '@bmm/lib/testing-until'
import { type Account, ask, callTool, obtainTokens, type Served, serve, signUp } from './account.ts'
import { type Collector, type Span, startCollector } from './collector.ts'
import { type Stack, startStack } from './stack.ts'
import { startUpstream, type Upstream } from './upstream.ts'

const apiKey = 'tracing-key-93b1f2'
const collectorKey = 'collector-key-5e0d'
const argument = 'tracing-argument-4c77'
const client = { traceId: '0af7651916cd43dd8448eb211c80319c', spanId: 'b7ad6b7169203331' }

let collector: Collector
let upstream: Upstream
let stack: Stack
let account: Account
let server: Served
let bearer: string

beforeAll(async () => {
  collector = startCollector()
  upstream = startUpstream(apiKey)
  stack = await startStack('bwrap', {
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.endpoint,
    OTEL_EXPORTER_OTLP_HEADERS: `authorization=Bearer%20${collectorKey}`,
    BMM_TRACE_CLIENTS: 'link',
  })
  await stack.run('targets', 'allow', upstream.target, '--everyone')
  account = await signUp(stack, 'tracer@example.com')
  server = await serve(account, {
    source: { document: upstream.document },
    slug: 'traced',
    credentials: [{ name: 'KEY', value: apiKey }],
  })
  bearer = (await obtainTokens(stack, account, server.url)).accessToken
}, 180_000)
afterAll(async () => {
  await stack?.[Symbol.asyncDispose]()
  await upstream?.[Symbol.asyncDispose]()
  await collector?.[Symbol.asyncDispose]()
})

/** The spans of the call with this traceparent, once its parts have all arrived. */
async function traceOf(spanCount: number, root: (span: Span) => boolean): Promise<Span[]> {
  let found: Span[] = []
  await until(() => {
    const first = collector.spans.find(root)
    found = collector.spans.filter(({ traceId }) => traceId === first?.traceId)
    return first !== undefined && found.length >= spanCount
  }, 'the trace is whole')
  return found
}

test('a call is one trace from its message to the request that it sent', async () => {
  const answer = await ask(server.url, 'POST', {
    body: {
      ...{ jsonrpc: '2.0', id: 1, method: 'tools/call' },
      params: {
        ...{ name: 'getItem', arguments: { id: argument } },
        _meta: { traceparent: `00-${client.traceId}-${client.spanId}-01` },
      },
    },
    headers: {
      authorization: `Bearer ${bearer}`,
      'mcp-protocol-version': '2025-11-25',
      traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
    },
  })
  expect([answer.status, answer.text.includes(argument)]).toEqual([200, true])
  const linked = `${client.traceId}-${client.spanId}`
  const spans = await traceOf(5, ({ links }) => links.includes(linked))
  const of = (name: string) => {
    const span = spans.find((each) => each.name === name)
    if (span === undefined) throw new Error(`there is no span ${name}`)
    return span
  }
  const [call, run, wake] = [of('tools/call getItem'), of('run getItem'), of('wake')]
  const [sandbox, request] = [of('sandbox getItem'), of('GET')]
  expect([call, run, wake, sandbox, request].map(({ service }) => service)).toEqual([
    ...['bmm-gateway', 'bmm-runner', 'bmm-runner', 'bmm-runner', 'bmm-broker'],
  ])
  expect([call.parentSpanId ?? '', run.parentSpanId, wake.parentSpanId]).toEqual([
    ...['', call.spanId, run.spanId],
  ])
  expect([sandbox.parentSpanId, request.parentSpanId]).toEqual([run.spanId, sandbox.spanId])
  expect(request.attributes).toEqual({
    'http.request.method': 'GET',
    'server.address': '127.0.0.1',
    'server.port': Number(upstream.target.split(':').at(-1)),
    'http.response.status_code': 200,
  })
  expect(call.attributes).toMatchObject({
    'gen_ai.tool.name': 'getItem',
    'bmm.server.id': server.id,
  })
  expect(spans.filter(({ failed }) => failed)).toEqual([])
  expect(call.traceId).not.toBe(client.traceId)
}, 60_000)

test('a refused request is a failed part of it', async () => {
  const before = new Set(collector.spans.map(({ traceId }) => traceId))
  await callTool(server.url, bearer, { name: 'mirror' })
  const spans = await traceOf(4, ({ traceId, name }) => {
    return !before.has(traceId) && name === 'tools/call mirror'
  })
  const request = spans.find(({ service }) => service === 'bmm-broker')
  expect([request?.failed, request?.attributes['error.type']]).toEqual([true, 'secret_in_answer'])
  const call = spans.find(({ service }) => service === 'bmm-gateway')
  expect([call?.failed, call?.attributes['error.type']]).toEqual([true, 'tool_error'])
}, 60_000)

test('no span holds an argument, a token, a credential or an address with its path', () => {
  const sent = collector.bodies.join('\n')
  expect(sent).toContain('tools/call getItem')
  for (const secret of [argument, apiKey, bearer, bearer.split('.')[2] ?? bearer, '/items/']) {
    expect(sent).not.toContain(secret)
  }
  expect(sent).not.toContain(account.email)
})

test('every process tells the collector the key that it wants, and no log has it', () => {
  expect([...collector.authorizations]).toEqual([`Bearer ${collectorKey}`])
  const logs = join(stack.data, 'logs')
  const found = readdirSync(logs).filter((name) =>
    readFileSync(join(logs, name), 'utf8').includes(collectorKey),
  )
  expect(found).toEqual([])
  expect(readdirSync(logs)).not.toEqual([])
})

test('a collector that goes away is nothing to the calls', async () => {
  await collector[Symbol.asyncDispose]()
  for (let n = 0; n < 50; n++) {
    const answer = await callTool(server.url, bearer, { name: 'getItem', args: { id: `${n}` } })
    expect([n, answer.status, answer.text.includes('"isError":true')]).toEqual([n, 200, false])
  }
}, 60_000)
