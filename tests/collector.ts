/** An OpenTelemetry collector: takes spans by OTLP over HTTP as JSON and keeps them. */
import { z } from 'zod'

const attributesSchema = z.array(
  z.object({ key: z.string(), value: z.record(z.string(), z.unknown()) }),
)
const tracesSchema = z.object({
  resourceSpans: z.array(
    z.object({
      resource: z.object({ attributes: attributesSchema }),
      scopeSpans: z.array(
        z.object({
          spans: z.array(
            z.object({
              traceId: z.string().regex(/^[0-9a-f]{32}$/),
              spanId: z.string().regex(/^[0-9a-f]{16}$/),
              parentSpanId: z.string().optional(),
              name: z.string(),
              kind: z.number(),
              startTimeUnixNano: z.string().regex(/^\d+$/),
              endTimeUnixNano: z.string().regex(/^\d+$/),
              attributes: attributesSchema,
              status: z.object({ code: z.number().optional() }),
              links: z.array(z.object({ traceId: z.string(), spanId: z.string() })).default([]),
            }),
          ),
        }),
      ),
    }),
  ),
})

export type Span = {
  service: string
  traceId: string
  spanId: string
  parentSpanId: string | undefined
  name: string
  failed: boolean
  attributes: Record<string, unknown>
  links: string[]
}

export type Collector = AsyncDisposable & {
  /** What `OTEL_EXPORTER_OTLP_ENDPOINT` is to be. */
  endpoint: string
  spans: Span[]
  /** All that was sent, as it came. */
  bodies: string[]
  /** What came as Authorization. */
  authorizations: Set<string | null>
}

/** Listens on a free port of loopback; a body that is no OTLP is refused and kept. */
export function startCollector(): Collector {
  const spans: Span[] = []
  const bodies: string[] = []
  const authorizations = new Set<string | null>()
  const server = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    async fetch(request) {
      const text = await request.text()
      bodies.push(text)
      authorizations.add(request.headers.get('authorization'))
      const isTraces = new URL(request.url).pathname === '/v1/traces' && request.method === 'POST'
      const parsed = tracesSchema.safeParse(isTraces ? JSON.parse(text) : undefined)
      if (!parsed.success) return new Response('', { status: 400 })
      spans.push(...spansFrom(parsed.data))
      return Response.json({})
    },
  })
  return {
    ...{ spans, bodies, authorizations, endpoint: `http://127.0.0.1:${server.port}` },
    [Symbol.asyncDispose]: () => server.stop(true),
  }
}

function spansFrom({ resourceSpans }: z.infer<typeof tracesSchema>): Span[] {
  return resourceSpans.flatMap(({ resource, scopeSpans }) => {
    const service = String(plain(resource.attributes)['service.name'])
    return scopeSpans.flatMap((scope) =>
      scope.spans.map(({ attributes, status, links, parentSpanId, traceId, spanId, name }) => ({
        ...{ service, traceId, spanId, parentSpanId, name },
        failed: status.code === 2,
        attributes: plain(attributes),
        links: links.map((link) => `${link.traceId}-${link.spanId}`),
      })),
    )
  })
}

function plain(attributes: z.infer<typeof attributesSchema>): Record<string, unknown> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]))
}
