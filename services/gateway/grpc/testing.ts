/** A gRPC client of somebody else's making (grpc-js), on the contracts as text files. */
import { join } from 'node:path'
import { ErrorInfoSchema } from '@bmm/proto/v1/error'
import { fromBinary } from '@bufbuild/protobuf'
import {
  type Client,
  type ClientReadableStream,
  credentials,
  type GrpcObject,
  loadPackageDefinition,
  Metadata,
  type ServiceClientConstructor,
  type ServiceError,
} from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import { z } from 'zod'

const protos = join(import.meta.dir, '../../../proto')
const files = [
  'bmm/generator/v1/generator_service.proto',
  'bmm/runner/v1/runner_service.proto',
  'bmm/secrets/v1/secrets_service.proto',
  'bmm/broker/v1/broker_service.proto',
  'bmm/gateway/v1/tool_service.proto',
  'grpc/health/v1/health.proto',
  'grpc/reflection/v1/reflection.proto',
  'grpc/reflection/v1alpha/reflection.proto',
]
const textual = { keepCase: true, enums: String, longs: String, defaults: true, oneofs: true }
const definition = loadPackageDefinition(loadSync(files, { ...textual, includeDirs: [protos] }))

export type GrpcCall = {
  /** The service token. */
  token?: string
  metadata?: Record<string, string>
  /** Milliseconds from now. */
  deadlineMs?: number
}

export type Refused = { code: number; reason: string | undefined; message: string }

export type GrpcClient = Disposable & {
  /** The answer of a unary RPC; rejects with Refused. */
  call(method: string, request?: object, options?: GrpcCall): Promise<Record<string, unknown>>
  /** How the RPC fails; throws when it does not. */
  refusal(method: string, request?: object, options?: GrpcCall): Promise<Refused>
  /** A server stream, as grpc-js gives it. */
  stream(method: string, request?: object, options?: GrpcCall): ClientReadableStream<unknown>
  /** A stream in both directions. */
  talk(method: string, requests: object[]): Promise<Record<string, unknown>[]>
}

/** `method` is `bmm.generator.v1.ServerService/ListServers`. */
export function grpcClient(target: string, channel: object = {}): GrpcClient {
  const clients = new Map<string, Client>()
  const clientOf = (service: string): Client => {
    const known = clients.get(service)
    if (known !== undefined) return known
    const made = new (constructorOf(service))(target, credentials.createInsecure(), {
      // A client of its own connection: what one test does to it is nothing to the next.
      'grpc.use_local_subchannel_pool': 1,
      ...channel,
    })
    clients.set(service, made)
    return made
  }
  const bound = (method: string) => {
    const [service = '', name = ''] = method.split('/')
    const client = clientOf(service)
    const found = (client as unknown as Record<string, unknown>)[name]
    if (typeof found !== 'function') throw new Error(`no method ${method}`)
    return found.bind(client)
  }
  const call: GrpcClient['call'] = (method, request = {}, options = {}) =>
    new Promise((resolve, reject) => {
      bound(method)(
        request,
        metadataOf(options),
        deadlineOf(options),
        (error: ServiceError | null, answer: Record<string, unknown>) =>
          error === null ? resolve(answer) : reject(refusedFrom(error)),
      )
    })
  return {
    call,
    refusal: (method, request, options) =>
      call(method, request, options).then(
        (answer) => {
          throw new Error(`${method} was not refused: ${JSON.stringify(answer)}`)
        },
        (refused: Refused) => refused,
      ),
    stream: (method, request = {}, options = {}) =>
      bound(method)(request, metadataOf(options), deadlineOf(options)),
    talk(method, requests) {
      const stream = bound(method)(new Metadata(), {})
      const answers: Record<string, unknown>[] = []
      return new Promise((resolve, reject) => {
        stream.on('data', (answer: Record<string, unknown>) => {
          answers.push(answer)
          if (answers.length === requests.length) stream.end()
        })
        stream.on('error', (error: ServiceError) => reject(refusedFrom(error)))
        stream.on('end', () => resolve(answers))
        for (const request of requests) stream.write(request)
      })
    },
    [Symbol.dispose]() {
      for (const client of clients.values()) client.close()
    },
  }
}

/** Code and machine reason of an error as clients of gRPC find them. */
export function refusedFrom(error: ServiceError): Refused {
  return { code: error.code, message: error.details, reason: reasonIn(error) }
}

/** `grpc-status-details-bin` is a google.rpc.Status; our detail is its only one, and last. */
function reasonIn(error: ServiceError): string | undefined {
  const [details] = error.metadata?.get('grpc-status-details-bin') ?? []
  if (!Buffer.isBuffer(details)) return undefined
  const name = 'type.googleapis.com/bmm.v1.ErrorInfo'
  const at = details.indexOf(name)
  if (at < 0) return undefined
  // Field 2 (bytes) with a length below 128 follows the type name, or two bytes of length.
  const rest = details.subarray(at + name.length + 1)
  const long = (rest[0] ?? 0) > 127
  return fromBinary(ErrorInfoSchema, rest.subarray(long ? 2 : 1)).reason
}

function metadataOf({ token, metadata = {} }: GrpcCall): Metadata {
  const made = new Metadata()
  for (const [name, value] of Object.entries(metadata)) made.set(name, value)
  if (token !== undefined) made.set('authorization', `Bearer ${token}`)
  return made
}

function deadlineOf({ deadlineMs }: GrpcCall) {
  return deadlineMs === undefined ? {} : { deadline: Date.now() + deadlineMs }
}

function constructorOf(service: string): ServiceClientConstructor {
  let at: GrpcObject[string] = definition
  for (const part of service.split('.')) at = (at as GrpcObject)[part] as GrpcObject[string]
  return z.custom<ServiceClientConstructor>((value) => typeof value === 'function').parse(at)
}
