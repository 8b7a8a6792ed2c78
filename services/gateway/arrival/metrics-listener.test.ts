/** The operator's page of metrics: the figures of all services in one, whoever of them is away, for nobody else's page. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { mkdirSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { counter, histogram } from '@bmm/lib/metrics'
import { serveRpc } from '@bmm/lib/server'
import { type TestRpc, testIdentities, testLog, testRpc } from '@bmm/lib/testing'
import { listenForMetrics } from './metrics-listener.ts'

let rpc: TestRpc
let listener: ReturnType<typeof listenForMetrics>
const closing = new AsyncDisposableStack()

beforeAll(async () => {
  const identities = await testIdentities()
  rpc = closing.use(testRpc(identities))
  for (const [name, count] of [
    ['runner', 3],
    ['broker', 4],
  ] as const) {
    mkdirSync(join(rpc.rpcDir, name), { recursive: true })
    closing.use(
      serveRpc({
        ...{ identity: identities.of(name), routes: () => {}, log: testLog },
        socket: join(rpc.rpcDir, name, 'rpc.sock'),
        metrics: () => [
          counter('test_total', 'How "many"\nof them.', [[count, { kind: 'a "b"\n\\c' }]]),
          histogram('test_seconds', 'Time.', [0.1], [{ counts: [1, 2], sum: 5, labels: {} }]),
        ],
      }),
    )
  }
  const address = { hostname: '127.0.0.1', port: 0 }
  listener = closing.use(listenForMetrics({ address, rpcDir: rpc.rpcDir, log: testLog }))
})
afterAll(() => closing[Symbol.asyncDispose]())

/** As a client with any Host would ask. */
function ask(
  path: string,
  host: string,
  method = 'GET',
): Promise<{ status: number; text: string; type: string }> {
  return new Promise((resolve, reject) => {
    const asked = request(
      { host: '127.0.0.1', port: listener.port, path, method, headers: { host } },
      async (response) => {
        const chunks: Buffer[] = []
        for await (const chunk of response) chunks.push(Buffer.from(chunk))
        const type = String(response.headers['content-type'])
        resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString(), type })
      },
    )
    asked.on('error', reject)
    asked.end()
  })
}
const page = () => ask('/metrics', `127.0.0.1:${listener.port}`)

test('each figure carries its service, and each name is described once', async () => {
  const { status, text, type } = await page()
  expect([status, type]).toEqual([200, 'text/plain; version=0.0.4; charset=utf-8'])
  const lines = text.split('\n')
  expect(lines).toContain('test_total{kind="a \\"b\\"\\n\\\\c",service="runner"} 3')
  expect(lines).toContain('test_total{kind="a \\"b\\"\\n\\\\c",service="broker"} 4')
  expect(lines).toContain('test_seconds_bucket{le="+Inf",service="runner"} 3')
  expect(lines).toContain('test_seconds_sum{service="broker"} 5')
  for (const name of ['test_total', 'test_seconds', 'process_resident_memory_bytes', 'bmm_up']) {
    expect(lines.filter((line) => line.startsWith(`# TYPE ${name} `))).toHaveLength(1)
  }
  expect(text).toContain('# HELP test_total How "many"\\nof them.\n')
})

test('a service that does not answer is said to be down, and the others are there', async () => {
  const { text } = await page()
  expect(text).toContain('bmm_up{service="runner"} 1\n')
  expect(text).toContain('bmm_up{service="auth"} 0\n')
})

test('a page of another name that points here, another path and another method get nothing', async () => {
  const { port } = listener
  for (const [path, host, method, status] of [
    ['/metrics', `evil.example:${port}`, 'GET', 421],
    ['/metrics', `127.0.0.1:${port + 1}`, 'GET', 421],
    ['/metrics', `127.0.0.1:${port}`, 'POST', 405],
    ['/', `127.0.0.1:${port}`, 'GET', 404],
    ['/health/live', `localhost:${port}`, 'GET', 404],
  ] as const) {
    const refused = await ask(path, host, method)
    expect([path, refused.status, refused.text.includes('test_total')]).toEqual([
      path,
      status,
      false,
    ])
  }
})
