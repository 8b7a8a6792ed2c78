/** Calling another service over its unix socket, as this service and, where there is one, for a person. */
import { join } from 'node:path'
import type { DescService } from '@bufbuild/protobuf'
import {
  type CallOptions,
  type Client,
  Code,
  ConnectError,
  createClient,
  type Interceptor,
  type Transport,
} from '@connectrpc/connect'
import { createConnectTransport } from '@connectrpc/connect-web'
import { errorFrom } from './errors.ts'
import { type Identity, type ServiceName, USER_HEADER } from './identity.ts'
import { methodPath, REQUEST_ID_HEADER } from './rpc-rules.ts'

const DEFAULT_TIMEOUT_MS = 30_000

export type RpcClientOptions = {
  identity: Identity
  /** The folder that holds `{service}/rpc.sock`. */
  rpcDir: string
  to: ServiceName
  /** Milliseconds; for unary calls that bring no limit of their own. */
  timeoutMs?: number
}

/** A typed client. A refused or broken connection is `Unavailable`, never `Unknown`. */
export function rpcClient<Desc extends DescService>(
  service: Desc,
  options: RpcClientOptions,
): Client<Desc> {
  return createClient(service, rpcTransport(options))
}

/** What carries the calls of any client of that service. */
export function rpcTransport(options: RpcClientOptions): Transport {
  const { identity, rpcDir, to } = options
  const unix = join(rpcDir, to, 'rpc.sock')
  const signing: Interceptor = (next) => async (request) => {
    const token = await identity.sign(to, methodPath(request.method))
    request.header.set('authorization', `Bearer ${token}`)
    return next(request)
  }
  return createConnectTransport({
    baseUrl: 'http://rpc.localhost',
    useBinaryFormat: true,
    defaultTimeoutMs: options.timeoutMs ?? DEFAULT_TIMEOUT_MS,
    interceptors: [signing],
    fetch: unixFetch(unix, to),
  })
}

/** Call options that put a person (and the request's id) behind a call. */
export function asUser(token: string, requestId?: string): CallOptions {
  return {
    headers: {
      [USER_HEADER]: token,
      ...(requestId === undefined ? {} : { [REQUEST_ID_HEADER]: requestId }),
    },
  }
}

/**
 * A server stream that is cancelled when its reader stops: leaving `for await` alone does not end the RPC.
 */
export async function* watch<Input, Output>(
  call: (input: Input, options: CallOptions) => AsyncIterable<Output>,
  input: Input,
  options: CallOptions = {},
): AsyncGenerator<Output> {
  const reader = new AbortController()
  const signal =
    options.signal === undefined ? reader.signal : AbortSignal.any([options.signal, reader.signal])
  try {
    yield* call(input, { ...options, signal, timeoutMs: options.timeoutMs ?? 0 })
  } finally {
    reader.abort()
  }
}

function unixFetch(unix: string, to: ServiceName): typeof fetch {
  const call = async (input: string | URL | Request, init?: RequestInit): Promise<Response> => {
    try {
      return await fetch(input, { ...init, unix, timeout: false } as BunFetchRequestInit)
    } catch (thrown) {
      if (init?.signal?.aborted) throw thrown
      const error = errorFrom(thrown)
      throw new ConnectError(
        `The service ${to} does not answer.`,
        Code.Unavailable,
        undefined,
        undefined,
        error,
      )
    }
  }
  // Bun's fetch has a `preconnect` that Connect never calls.
  return Object.assign(call, { preconnect: fetch.preconnect })
}
