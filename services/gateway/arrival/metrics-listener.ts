/** The operator's door: the figures of all processes as one Prometheus page, on an address of its own. */
import { join } from 'node:path'
import { errorFrom } from '@bmm/lib/errors'
import type { Log } from '@bmm/lib/log'
import { gauge, type Metric } from '@bmm/lib/metrics'
import { AggregatorRegistry } from 'prom-client'
import { z } from 'zod'

const ASK_TIMEOUT_MS = 2_000
/** The keeper has no socket for questions: the runner tells of its sandboxes. */
const services = ['auth', 'secrets', 'generator', 'runner', 'broker', 'gateway']

const metricsSchema = z.array(
  z.object({
    name: z.string(),
    help: z.string(),
    type: z.enum(['counter', 'gauge', 'histogram']),
    values: z.array(
      z.object({
        metricName: z.string().optional(),
        value: z.number(),
        labels: z.record(z.string(), z.union([z.string(), z.number()])),
      }),
    ),
  }),
)

export type MetricsAddress = { hostname: string; port: number }

type MetricsOptions = { address: MetricsAddress; rpcDir: string; log: Log }

/** Answers `GET /metrics`, for requests to this address by its own name only. */
export function listenForMetrics(options: MetricsOptions): AsyncDisposable & { port: number } {
  const { hostname, port } = options.address
  let underWay: Promise<string> | undefined
  const server = Bun.serve({
    ...{ hostname, port, development: false },
    error(thrown) {
      options.log.error({ err: thrown }, 'the page of metrics failed')
      return new Response('The metrics cannot be had; see the log.\n', { status: 500 })
    },
    async fetch(request) {
      const refused = refusal(request, hostname, server.port ?? port)
      if (refused !== undefined) return refused
      // Whoever asks meanwhile gets the same answer.
      underWay ??= page(options).finally(() => {
        underWay = undefined
      })
      const headers = { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' }
      return new Response(await underWay, { headers })
    },
  })
  const listening = server.port ?? port
  options.log.info({ hostname, port: listening }, 'metrics for the operator')
  return { port: listening, [Symbol.asyncDispose]: () => server.stop(true) }
}

function refusal(request: Request, hostname: string, port: number): Response | undefined {
  // A page in the operator's browser reaches this address too, by a name of its own that points here.
  const names = [hostname.includes(':') ? `[${hostname}]` : hostname, 'localhost']
  const host = request.headers.get('host')
  if (!names.some((name) => host === `${name}:${port}`)) {
    return new Response('Another host is meant.\n', { status: 421 })
  }
  if (new URL(request.url).pathname !== '/metrics') {
    return new Response('Only /metrics is here.\n', { status: 404 })
  }
  if (request.method === 'GET') return undefined
  return new Response('GET only.\n', { status: 405, headers: { allow: 'GET' } })
}

async function page({ rpcDir, log }: MetricsOptions): Promise<string> {
  const all = await Promise.all(
    services.map(async (service) => {
      const labels = { service }
      try {
        const metrics = await ask(rpcDir, service)
        return [...metrics, up(1)].map((metric) => labelled(metric, labels))
      } catch (thrown) {
        log.warn({ service, fault: errorFrom(thrown).message }, 'a service gives no metrics')
        return [labelled(up(0), labels)]
      }
    }),
  )
  return AggregatorRegistry.aggregate(all).metrics()
}

async function ask(rpcDir: string, service: string) {
  const response = await fetch('http://rpc.localhost/metrics', {
    unix: join(rpcDir, service, 'rpc.sock'),
    signal: AbortSignal.timeout(ASK_TIMEOUT_MS),
  })
  if (!response.ok) throw new Error(`it answered ${response.status}`)
  return metricsSchema.parse(await response.json())
}

function up(value: number): Metric {
  return gauge('bmm_up', 'Whether a service answers.', value)
}

function labelled(metric: z.infer<typeof metricsSchema>[number], own: { service: string }) {
  const values = metric.values.map((value) => ({ ...value, labels: { ...value.labels, ...own } }))
  // Every figure names its service, so there is never a second one to add.
  return { ...metric, values, aggregator: 'sum' }
}
