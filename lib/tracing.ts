/** Spans of the call path on their way to the operator's OTLP collector. Without one configured nothing of it is loaded. */
import type { SpanContext } from '@opentelemetry/api'
import type { SpanExporter } from '@opentelemetry/sdk-trace'
import { version } from '../package.json'
import { errorFrom } from './errors.ts'
import type { Log } from './log.ts'

export type TracingConfig = {
  /** Where spans are posted. */
  url: string
  /** Which share of the calls is traced. */
  ratio: number
  /** What each post says besides; may hold a secret. */
  headers?: Record<string, string>
}

type Attributes = Record<string, string | number | boolean>

/** Never arguments, tokens, addresses with a path, or what a tool answered. */
export type SpanOptions = {
  kind: 'server' | 'client' | 'internal'
  attributes: Attributes
}

export type TraceSpan = {
  /** What a child in another process is begun with: a traceparent, and after a space the client's tracestate if there is one. */
  readonly trace: string
  set(attributes: Attributes): void
  /** With the machine reason of a failure, if there was one. */
  end(failure?: string): void
}

/** As a client sends them: texts that nobody has looked at. */
export type ClientTrace = { traceparent: string; tracestate?: string }

export type Tracing = AsyncDisposable & {
  /**
   * A new trace, for a share of the calls. `client` is a trace from outside, to be pointed at or gone on with; one that
   * is gone on with says itself whether it is recorded (W3C Trace Context section 3.2.2.5.1).
   */
  start(
    name: string,
    options: SpanOptions & { client?: ClientTrace & { as: 'link' | 'parent' } },
  ): TraceSpan | undefined
  /** A part of a trace of ours. */
  continue(name: string, parent: string, options: SpanOptions): TraceSpan
}

/** Spans that wait for the collector; what comes on top is dropped. */
const MAX_QUEUED_SPANS = 2_048
const MAX_BATCH_SPANS = 512
const BATCH_DELAY_MS = 1_000
const EXPORT_TIMEOUT_MS = 5_000
const CLOSE_TIMEOUT_MS = 2_000
const traceparentPattern = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/

/** W3C Trace Context section 3.3.1.5: as much is passed on; longer ones are not. */
const MAX_TRACESTATE = 512

/** Whether it is what a span says of itself: a traceparent of the one version that there is (W3C Trace Context section 3.2). */
export function isTrace(value: unknown): value is string {
  if (typeof value !== 'string') return false
  const { traceparent, tracestate = '' } = partsOf(value)
  return contextFrom(traceparent) !== undefined && tracestate.length <= MAX_TRACESTATE
}

function partsOf(trace: string): ClientTrace {
  const end = trace.indexOf(' ')
  if (end === -1) return { traceparent: trace }
  return { traceparent: trace.slice(0, end), tracestate: trace.slice(end + 1) }
}

/** Undefined where no collector is configured. */
export async function openTracing(options: {
  service: string
  config: TracingConfig | undefined
  log: Log
}): Promise<Tracing | undefined> {
  const { service, config, log } = options
  if (config === undefined) return undefined
  const { ROOT_CONTEXT, SpanKind, SpanStatusCode, TraceFlags, createTraceState, trace } =
    await import('@opentelemetry/api')
  const { BatchSpanProcessor, TracerProvider } = await import('@opentelemetry/sdk-trace')
  const { resourceFromAttributes } = await import('@opentelemetry/resources')
  const { OTLPTraceExporter } = await import('@opentelemetry/exporter-trace-otlp-http')
  const exporter = new OTLPTraceExporter({
    url: config.url,
    headers: config.headers ?? {},
    timeoutMillis: EXPORT_TIMEOUT_MS,
  })
  const provider = new TracerProvider({
    resource: resourceFromAttributes({
      'service.namespace': 'bmm',
      'service.name': `bmm-${service}`,
      'service.version': version,
    }),
    spanProcessors: [
      new BatchSpanProcessor({
        exporter: telling(exporter, log),
        maxQueueSize: MAX_QUEUED_SPANS,
        maxExportBatchSize: MAX_BATCH_SPANS,
        scheduledDelayMillis: BATCH_DELAY_MS,
        exportTimeoutMillis: EXPORT_TIMEOUT_MS,
      }),
    ],
  })
  const tracer = provider.getTracer('bmm')
  const kinds = { server: SpanKind.SERVER, client: SpanKind.CLIENT, internal: SpanKind.INTERNAL }
  log.info({ url: config.url, ratio: config.ratio }, 'calls are traced')

  function begun(
    name: string,
    { kind, attributes }: SpanOptions,
    { parent, link }: { parent?: SpanContext | undefined; link?: SpanContext | undefined },
  ): TraceSpan {
    const context = parent === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, parent)
    const links = link === undefined ? [] : [{ context: link }]
    const span = tracer.startSpan(name, { kind: kinds[kind], attributes, links }, context)
    const { traceId, spanId, traceState } = span.spanContext()
    const own = `00-${traceId}-${spanId}-01`
    const passedOn = traceState?.serialize() ?? ''
    return {
      trace: passedOn === '' ? own : `${own} ${passedOn}`,
      set: (more) => void span.setAttributes(more),
      end(failure) {
        if (failure !== undefined) {
          span.setAttribute('error.type', failure)
          span.setStatus({ code: SpanStatusCode.ERROR })
        }
        span.end()
      },
    }
  }

  /** Members that are no such, and those beyond 32, are left out (W3C Trace Context section 3.3). */
  function contextOf({ traceparent, tracestate = '' }: ClientTrace): SpanContext | undefined {
    const context = contextFrom(traceparent)
    if (context === undefined || tracestate === '') return context
    return { ...context, traceState: createTraceState(tracestate) }
  }

  return {
    start(name, asked) {
      const context = asked.client && contextOf(asked.client)
      const parent = asked.client?.as === 'parent' ? context : undefined
      const isRecorded =
        parent === undefined
          ? Math.random() < config.ratio
          : (parent.traceFlags & TraceFlags.SAMPLED) !== 0
      if (!isRecorded) return undefined
      return begun(name, asked, parent === undefined ? { link: context } : { parent })
    },
    continue: (name, parent, asked) => begun(name, asked, { parent: contextOf(partsOf(parent)) }),
    async [Symbol.asyncDispose]() {
      const closed = provider.shutdown().catch(() => {})
      await Promise.race([closed, Bun.sleep(CLOSE_TIMEOUT_MS)])
    },
  }
}

/** Says when spans begin to be lost and when they arrive again; a call never learns of it. */
function telling(exporter: SpanExporter, log: Log): SpanExporter {
  let failing = false
  return {
    export: (spans, done) =>
      exporter.export(spans, (result) => {
        const failed = result.error !== undefined
        if (failed && !failing) {
          log.warn({ fault: errorFrom(result.error).message }, 'the collector takes no spans')
        } else if (!failed && failing) log.info('the collector takes spans again')
        failing = failed
        done(result)
      }),
    shutdown: () => exporter.shutdown(),
    forceFlush: () => exporter.forceFlush?.() ?? Promise.resolve(),
  }
}

function contextFrom(traceparent: unknown): SpanContext | undefined {
  if (typeof traceparent !== 'string') return undefined
  const [, traceId = '', spanId = '', flags = ''] = traceparentPattern.exec(traceparent) ?? []
  if (/^0*$/.test(traceId) || /^0*$/.test(spanId)) return undefined
  return { traceId, spanId, traceFlags: Number.parseInt(flags, 16), isRemote: true }
}
