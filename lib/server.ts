/** Serving Connect over a unix socket, with the interceptors and the health check of every service. */
import { chmodSync, rmSync } from 'node:fs'
import { create } from '@bufbuild/protobuf'
import { type ConnectRouter, createConnectRouter } from '@connectrpc/connect'
import { createFetchHandler } from '@connectrpc/connect/protocol'
import { errorFrom } from './errors.ts'
import type { Identity } from './identity.ts'
import type { Log } from './log.ts'
import { type CollectMetrics, processMetrics } from './metrics.ts'
import {
  accessInterceptor,
  errorInterceptor,
  validationInterceptor,
  warmValidation,
} from './rpc-rules.ts'

const MAX_MESSAGE_BYTES = 48 * 1024 * 1024
/** Connectable for the owner and the group of the services. */
const SOCKET_MODE = 0o660
const READY_TIMEOUT_MS = 2_000

export type RpcServerOptions = {
  identity: Identity
  /** Absolute path of the unix socket; an old file there is replaced. */
  socket: string
  routes: (router: ConnectRouter) => void
  log: Log
  /** Resolves to undefined when the service can do its work, else to a sentence. */
  fault?: () => Promise<string | undefined>
  /** Beside those of every process. */
  metrics?: CollectMetrics
}

/** Starts serving at once; disposing waits for calls in flight. */
export function serveRpc(options: RpcServerOptions): AsyncDisposable {
  const { identity, socket, log } = options
  const router = createConnectRouter({
    grpc: false,
    grpcWeb: false,
    readMaxBytes: MAX_MESSAGE_BYTES,
    writeMaxBytes: MAX_MESSAGE_BYTES,
    interceptors: [errorInterceptor(log), accessInterceptor(identity), validationInterceptor()],
  })
  options.routes(router)
  warmValidation(
    router.handlers.map((handler) => handler.method),
    (method) => create(method.input),
  )
  const handlers = new Map(
    router.handlers.map((handler) => [
      handler.requestPath,
      createFetchHandler(handler, { httpVersion: '1.1' }),
    ]),
  )
  const ofProcess = processMetrics()
  rmSync(socket, { force: true })
  const server = Bun.serve(
    neverIdle({
      unix: socket,
      maxRequestBodySize: MAX_MESSAGE_BYTES,
      async fetch(request) {
        const path = new URL(request.url).pathname
        if (path === '/health') return health(identity.name, options.fault)
        if (path === '/metrics') {
          return Response.json([...(await ofProcess()), ...((await options.metrics?.()) ?? [])])
        }
        const handler = handlers.get(path)
        return handler === undefined ? new Response('not found', { status: 404 }) : handler(request)
      },
    }),
  )
  chmodSync(socket, SOCKET_MODE)
  log.info({ socket }, 'serving')
  return {
    async [Symbol.asyncDispose]() {
      await server.stop()
      rmSync(socket, { force: true })
    },
  }
}

async function health(service: string, fault: RpcServerOptions['fault']): Promise<Response> {
  const timeout = new Promise<string>((resolve) =>
    setTimeout(() => resolve('the readiness check took too long'), READY_TIMEOUT_MS).unref(),
  )
  try {
    const found = await Promise.race([fault?.() ?? Promise.resolve(undefined), timeout])
    return Response.json(
      found === undefined
        ? { service, status: 'ok' }
        : { service, status: 'unready', fault: found },
      { status: found === undefined ? 200 : 503 },
    )
  } catch (thrown) {
    return Response.json(
      { service, status: 'unready', fault: errorFrom(thrown).name },
      { status: 503 },
    )
  }
}

/** A quiet server stream is no dead connection: Bun cuts it after 10 s unless told so, which its types allow for TCP only. */
function neverIdle<Options extends object>(options: Options): Options {
  return { idleTimeout: 0, ...options }
}
