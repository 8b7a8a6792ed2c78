/** Spans on their way to a collector that speaks OTLP over HTTP: well, badly, late and not at all. */
import { afterEach, expect, test } from 'bun:test'
import { version } from '../package.json'
import { testLog } from './testing.ts'
import { until } from './testing-until.ts'
import { isTrace, openTracing, type Tracing } from './tracing.ts'

type Sent = {
  traceId: string
  spanId: string
  parentSpanId?: string
  name: string
  kind: number
  status: { code?: number }
  traceState?: string
  links: { traceId: string; spanId: string; traceState?: string }[]
  attributes: { key: string; value: Record<string, unknown> }[]
}

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

/** `answer` plays the collector; the spans that it was given are kept. */
function collector(answer: (request: Request) => Response | Promise<Response>) {
  const spans: Sent[] = []
  const services: unknown[] = []
  const resources: Sent['attributes'][] = []
  let requests = 0
  const server = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    async fetch(request) {
      requests++
      if (new URL(request.url).pathname !== '/v1/traces') return new Response('', { status: 404 })
      const body = (await request.clone().json()) as {
        resourceSpans: {
          resource: { attributes: Sent['attributes'] }
          scopeSpans: { spans: Sent[] }[]
        }[]
      }
      const response = await answer(request)
      if (!response.ok) return response
      for (const { resource, scopeSpans } of body.resourceSpans) {
        resources.push(resource.attributes)
        services.push(
          resource.attributes.find(({ key }) => key === 'service.name')?.value.stringValue,
        )
        for (const scope of scopeSpans) spans.push(...scope.spans)
      }
      return response
    },
  })
  cleanups.push(() => server.stop(true))
  const url = `http://127.0.0.1:${server.port}/v1/traces`
  return {
    ...{ url, spans, services, resources },
    requests: () => requests,
  }
}

async function open(url: string, ratio = 1): Promise<Tracing> {
  const tracing = await openTracing({ service: 'test', config: { url, ratio }, log: testLog })
  if (tracing === undefined) throw new Error('nothing is traced')
  cleanups.push(() => tracing[Symbol.asyncDispose]())
  return tracing
}

const server = { kind: 'server', attributes: { tool: 'echo' } } as const
const foreign = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'

test('without a collector nothing is traced', async () => {
  expect(await openTracing({ service: 'test', config: undefined, log: testLog })).toBeUndefined()
})

test('a trace over two processes arrives as one, with kinds, attributes and failures', async () => {
  const { url, spans, services } = collector(() => Response.json({}))
  const [gateway, runner] = [await open(url), await open(url)]
  const root = gateway.start('call', server)
  const child = runner.continue('run', root?.trace ?? '', { kind: 'client', attributes: {} })
  child.set({ 'http.response.status_code': 200 })
  child.end('deadline')
  root?.end()
  await until(() => spans.length === 2)
  const byName = (name: string) => spans.find((span) => span.name === name)
  const [call, run] = [byName('call'), byName('run')]
  expect([call?.kind, run?.kind, call?.parentSpanId]).toEqual([2, 3, undefined])
  expect([run?.traceId, run?.parentSpanId]).toEqual([call?.traceId, call?.spanId])
  expect([call?.status.code ?? 0, run?.status.code]).toEqual([0, 2])
  expect(run?.attributes).toContainEqual({ key: 'error.type', value: { stringValue: 'deadline' } })
  expect(run?.attributes).toContainEqual({
    ...{ key: 'http.response.status_code', value: { intValue: 200 } },
  })
  expect(new Set(services)).toEqual(new Set(['bmm-test']))
})

test('the collector is told the headers that it wants and our version, and the log hears of no header', async () => {
  const told: unknown[] = []
  const log = Object.assign(Object.create(testLog), {
    info: (...words: unknown[]) => void told.push(words),
    warn: (...words: unknown[]) => void told.push(words),
  })
  const given: (string | null)[] = []
  const { url, spans, resources } = collector((request) => {
    given.push(request.headers.get('authorization'))
    return given.length > 1 ? Response.json({}) : new Response(`no ${given[0]}`, { status: 401 })
  })
  const headers = { authorization: 'Bearer canary' }
  const tracing = await openTracing({ service: 'test', config: { url, ratio: 1, headers }, log })
  cleanups.push(() => tracing?.[Symbol.asyncDispose]())
  tracing?.start('refused', server)?.end()
  await until(() => told.length > 1)
  tracing?.start('taken', server)?.end()
  await until(() => spans.length === 1)
  expect(given).toEqual(['Bearer canary', 'Bearer canary'])
  expect(resources[0]).toContainEqual({ key: 'service.version', value: { stringValue: version } })
  await until(() => told.length > 2)
  expect(Bun.inspect(told)).toContain('the collector takes no spans')
  expect(Bun.inspect(told, { depth: 20 })).not.toContain('canary')
})

test('a trace of the client is pointed at, or gone on with where the operator wants it', async () => {
  const { url, spans } = collector(() => Response.json({}))
  const tracing = await open(url)
  tracing.start('linked', { ...server, client: { traceparent: foreign, as: 'link' } })?.end()
  tracing.start('child', { ...server, client: { traceparent: foreign, as: 'parent' } })?.end()
  tracing.start('bogus', { ...server, client: { traceparent: '00-zz', as: 'parent' } })?.end()
  await until(() => spans.length === 3)
  const [, traceId = '', spanId = ''] = foreign.split('-')
  const [linked, child, bogus] = spans
  expect(linked?.links).toMatchObject([{ traceId, spanId }])
  expect(linked?.traceId).not.toBe(traceId)
  expect([child?.traceId, child?.parentSpanId]).toEqual([traceId, spanId])
  expect([bogus?.parentSpanId, bogus?.links]).toEqual([undefined, []])
})

test('the tracestate of a client is passed on with its traceparent, and no more of it than there may be', async () => {
  const { url, spans } = collector(() => Response.json({}))
  const tracing = await open(url)
  const begin = (tracestate: string, as: 'link' | 'parent' = 'parent') =>
    tracing.start('call', { ...server, client: { traceparent: foreign, tracestate, as } })
  const call = begin('a=1, t@v=x y,BAD=1,,b')
  expect(call?.trace).toMatch(/^00-0af7651916cd43dd8448eb211c80319c-[0-9a-f]{16}-01 a=1,t@v=x y$/)
  expect(isTrace(call?.trace)).toBe(true)
  tracing.continue('run', call?.trace ?? '', { kind: 'client', attributes: {} }).end()
  await until(() => spans.length === 1)
  expect(spans[0]).toMatchObject({ name: 'run', traceState: 'a=1,t@v=x y' })
  begin('a=1', 'link')?.end()
  await until(() => spans.length === 2)
  expect(spans[1]?.links).toMatchObject([{ traceState: 'a=1' }])
  const many = Array.from({ length: 40 }, (_, at) => `k${at}=1`).join()
  expect(begin(many)?.trace.split(',')).toHaveLength(32)
  expect(begin(`a=${'1'.repeat(600)}`)?.trace).not.toContain(' ')
  expect(begin('a=1', 'link')?.trace).not.toContain(' ')
})

test('a trace that is gone on with says whether it is recorded, whatever the share', async () => {
  const { url } = collector(() => Response.json({}))
  const [all, none] = [await open(url), await open(url, 0)]
  const unrecorded = foreign.replace(/01$/, '00')
  const asked = (traceparent: string, as: 'link' | 'parent') => ({
    ...server,
    client: { traceparent, as },
  })
  expect(all.start('call', asked(unrecorded, 'parent'))).toBeUndefined()
  expect(none.start('call', asked(foreign, 'parent'))).toBeDefined()
  expect(all.start('call', asked(unrecorded, 'link'))).toBeDefined()
  expect(none.start('call', asked(foreign, 'link'))).toBeUndefined()
  expect(none.start('call', asked('00-zz', 'parent'))).toBeUndefined()
})

test('only the share that was asked for is traced', async () => {
  const { url } = collector(() => Response.json({}))
  const tracing = await open(url, 0.25)
  const count = Array.from({ length: 4_000 }, () => tracing.start('call', server)).filter(Boolean)
  expect(count.length).toBeWithin(800, 1_200)
  const none = await open(url, 0)
  expect(none.start('call', server)).toBeUndefined()
})

test('a collector that refuses, then takes, loses what it refused for good and nothing more', async () => {
  let status = 400
  const { url, spans, requests } = collector(() => new Response('{}', { status }))
  const tracing = await open(url)
  tracing.start('refused', server)?.end()
  await until(() => requests() > 0)
  status = 200
  tracing.start('taken', server)?.end()
  await until(() => spans.some(({ name }) => name === 'taken'))
  expect(spans.map(({ name }) => name)).not.toContain('refused')
})

test.each([
  ['never answers', () => new Promise<Response>(() => {})],
  ['is not there', undefined],
] as const)(
  'a collector that %s costs calls nothing, and memory has a bound',
  async (_, answer) => {
    const url = answer === undefined ? 'http://127.0.0.1:1/v1/traces' : collector(answer).url
    const tracing = await open(url)
    const startedAt = performance.now()
    for (let n = 0; n < 50_000; n++) tracing.start('call', server)?.end()
    const took = performance.now() - startedAt
    await Bun.sleep(50)
    expect(took / 50_000).toBeLessThan(1)
    const closing = performance.now()
    await tracing[Symbol.asyncDispose]()
    expect(performance.now() - closing).toBeLessThan(10_000)
  },
  60_000,
)

test('what is no trace is told apart', () => {
  expect(isTrace(foreign)).toBe(true)
  for (const text of [
    ...['', '00-', foreign.replace('00-', '01-'), foreign.toUpperCase(), `${foreign}-more`],
    ...[`00-${'0'.repeat(32)}-b7ad6b7169203331-01`, undefined, 7],
    `${foreign} ${'a'.repeat(600)}`,
  ]) {
    expect(isTrace(text)).toBe(false)
  }
})
