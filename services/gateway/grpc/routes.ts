/** Everything that answers on the gRPC port: the list of external RPCs, reflection and health; all else is refused. */
import type { Http2ServerResponse, IncomingHttpHeaders } from 'node:http2'
import type { BlockList } from 'node:net'
import { type AccessRow, externalTable } from '@bmm/lib/contracts'
import { newId } from '@bmm/lib/ids'
import { methodPath, validationInterceptor } from '@bmm/lib/rpc-rules'
import { ToolService } from '@bmm/proto/gateway/v1/tool_service'
import { DraftService } from '@bmm/proto/generator/v1/generator_service'
import { Health } from '@bmm/proto/grpc/health/v1/health'
import { ServerReflection } from '@bmm/proto/grpc/reflection/v1/reflection'
import { ServerReflection as AlphaReflection } from '@bmm/proto/grpc/reflection/v1alpha/reflection'
import { ErrorInfoSchema } from '@bmm/proto/v1/error'
import type { DescService } from '@bufbuild/protobuf'
import { Code, type ConnectRouter, createContextValues } from '@connectrpc/connect'
import type { UniversalHandlerOptions } from '@connectrpc/connect/protocol'
import { type ConnectNodeAdapterOptions, connectNodeAdapter } from '@connectrpc/connect-node'
import { clientIp } from '../arrival/client-ip.ts'
import type { UnnamedProxies } from '../arrival/unnamed-proxies.ts'
import { descriptorsOf } from './descriptors.ts'
import { outwardErrors } from './fault.ts'
import { type ForwardOptions, forward } from './forward.ts'
import {
  arrivalKey,
  arrivalOf,
  externalGate,
  type Gate,
  type GateOptions,
  publicGate,
} from './gate.ts'
import { type HealthOptions, health } from './health.ts'
import type { GrpcHandler } from './port.ts'
import { reflection } from './reflection.ts'
import { type ToolOptions, toolService } from './tools.ts'

/** Documents are up to 32 MiB; arguments of a tool up to 1 MiB, and nothing else is larger. */
const MAX_DOCUMENT_BYTES = 33 * 1024 * 1024
const MAX_MESSAGE_BYTES = 1_280 * 1024
const MAX_QUESTION_BYTES = 4 * 1024
/** Above the largest result of a tool; clients of gRPC take 4 MiB unless told otherwise. */
const MAX_ANSWER_BYTES = 48 * 1024 * 1024

/** Timers count milliseconds in 31 bits. What answers a call sets the limit that counts. */
const LONGEST_TIMER_SECONDS = Math.floor((2 ** 31 - 1) / 1_000)
const secondsOf = new Map([
  ['H', 3_600],
  ['M', 60],
  ['S', 1],
])

export type GrpcOptions = GateOptions &
  ForwardOptions &
  ToolOptions &
  Pick<HealthOptions, 'checks'> & {
    /** Whose `X-Forwarded-For` and `Forwarded` are believed. */
    trusted: BlockList
    unnamed: UnnamedProxies
    /** Of the calls of tools; those of this port are in `inFlight` of the gate. */
    toolCalls: ToolOptions['inFlight']
  }

/** The handler of every request on the port. */
export function grpcHandler(options: GrpcOptions): GrpcHandler {
  const rows = externalTable()
  const adapter = connectNodeAdapter({
    routes: (router) => addRoutes(router, rows, options),
    fallback: (_request, response) => refuse(response),
    contextValues: (request) =>
      createContextValues().set(arrivalKey, {
        requestId: newId('req'),
        onClosed(act) {
          const stream = 'stream' in request ? request.stream : request
          if (stream.destroyed) act()
          else stream.once('close', act)
        },
        clientIp: clientIp(
          request.socket.remoteAddress ?? '',
          {
            forwardedFor: headerOf(request.headers, 'x-forwarded-for'),
            forwarded: headerOf(request.headers, 'forwarded'),
          },
          options.trusted,
        ),
      }),
  })
  return (request, response) => {
    options.unnamed.see(
      () => request.socket.remoteAddress ?? '',
      (name) => request.headers[name],
    )
    shortenDeadline(request.headers)
    plainMessages(response)
    adapter(request, response)
  }
}

function headerOf(headers: IncomingHttpHeaders, name: string): string | null {
  const values = headers[name]
  return values === undefined ? null : [values].flat().join()
}

/** The adapter hands a deadline to a timer as it is, and one that no timer holds would be over at once. */
function shortenDeadline(headers: IncomingHttpHeaders): void {
  const [, amount, unit = ''] = /^(\d{1,8})([HMS])$/.exec([headers['grpc-timeout']].join()) ?? []
  const seconds = Number(amount) * (secondsOf.get(unit) ?? 0)
  if (seconds > LONGEST_TIMER_SECONDS) headers['grpc-timeout'] = `${LONGEST_TIMER_SECONDS}S`
}

/**
 * The adapter escapes more of an error's sentence than gRPC asks for, and grpc-js gives some of the escapes back as
 * they are: `servers%3Awrite`. Here only what must be is escaped (gRPC over HTTP/2, Percent-Encoded).
 */
function plainMessages(response: Http2ServerResponse): void {
  const add = response.addTrailers.bind(response)
  response.addTrailers = (trailers) => {
    const message = trailers['grpc-message']
    add(
      typeof message === 'string'
        ? { ...trailers, 'grpc-message': escaped(decodeURIComponent(message)) }
        : trailers,
    )
  }
}

function escaped(sentence: string): string {
  return sentence.replace(/[^ -$&-~]+/gu, (part) => encodeURIComponent(part))
}

function addRoutes(router: ConnectRouter, rows: readonly AccessRow[], options: GrpcOptions): void {
  const handling = (gate: Gate, readMaxBytes: number): Partial<UniversalHandlerOptions> =>
    grpcOnly({
      requestGate: gate,
      readMaxBytes,
      writeMaxBytes: MAX_ANSWER_BYTES,
      acceptCompression: [],
      interceptors: [
        outwardErrors((request) => ({
          log: options.log,
          rpc: methodPath(request.method),
          requestId: arrivalOf({ values: request.contextValues }).requestId,
        })),
        validationInterceptor(),
      ],
    })
  for (const row of rows.filter(({ process }) => process !== 'gateway')) {
    const isDocument = row.method === DraftService.method.createDraft
    const limitBytes = isDocument ? MAX_DOCUMENT_BYTES : MAX_MESSAGE_BYTES
    const gate = externalGate(row, {
      ...options,
      ...(isDocument ? { messageBytes: MAX_DOCUMENT_BYTES } : {}),
    })
    forward(router, row, handling(gate, limitBytes), options)
  }
  const tools = toolService({ ...options, inFlight: options.toolCalls })
  for (const row of rows.filter(({ process }) => process === 'gateway')) {
    const gated = handling(externalGate(row, options), MAX_MESSAGE_BYTES)
    if (row.method === ToolService.method.listTools) {
      router.rpc(ToolService.method.listTools, tools.listTools, gated)
    } else if (row.method === ToolService.method.callTool) {
      router.rpc(ToolService.method.callTool, tools.callTool, gated)
    } else {
      throw new Error(`${row.path} is external and nothing answers it`)
    }
  }
  const open = (service: DescService) =>
    handling(publicGate(`/${service.typeName}`, options), MAX_QUESTION_BYTES)
  const whole = [Health, ServerReflection, AlphaReflection]
  const descriptors = descriptorsOf({
    methods: rows.map(({ method }) => method),
    messages: [ErrorInfoSchema],
    whole,
  })
  router.service(
    Health,
    health({ checks: options.checks, services: descriptors.services }),
    open(Health),
  )
  const serverReflectionInfo = reflection(descriptors)
  router.service(ServerReflection, { serverReflectionInfo }, open(ServerReflection))
  router.service(AlphaReflection, { serverReflectionInfo }, open(AlphaReflection))
}

/** Neither gRPC-web nor Connect: pages have REST, and one protocol is less to get wrong. */
function grpcOnly(options: Partial<UniversalHandlerOptions>): Partial<UniversalHandlerOptions> {
  return Object.assign({ connect: false, grpcWeb: false }, options)
}

type Answer = Parameters<NonNullable<ConnectNodeAdapterOptions['fallback']>>[1]

/** As gRPC has it: the same for what exists here and is not external as for what does not exist. */
function refuse(response: Answer): void {
  response.writeHead(200, { 'content-type': 'application/grpc' })
  response.addTrailers({
    'grpc-status': String(Code.Unimplemented),
    'grpc-message': 'There is no such method here.',
  })
  response.end()
}
