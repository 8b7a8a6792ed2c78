/** The forward loop: every external RPC of a service behind, carried as it is for the person of the service token. */

import { asUser } from '@bmm/lib/client'
import type { AccessRow } from '@bmm/lib/contracts'
import { unauthenticated, unavailable } from '@bmm/lib/errors'
import type { ServiceName } from '@bmm/lib/identity'
import type { Log } from '@bmm/lib/log'
import { isReadOnly } from '@bmm/lib/rpc-rules'
import { ListRefusalsRequestSchema } from '@bmm/proto/broker/v1/broker_service'
import type { ServerService } from '@bmm/proto/generator/v1/generator_service'
import {
  type DescMessage,
  type DescMethod,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  isMessage,
  type Message,
} from '@bufbuild/protobuf'
import type {
  CallOptions,
  Client,
  ConnectRouter,
  HandlerContext,
  Transport,
} from '@connectrpc/connect'
import type { UniversalHandlerOptions } from '@connectrpc/connect/protocol'
import type { ServiceTokens } from '../access/service-token.ts'
import type { Servings } from '../serving/serving.ts'
import type { Confirmations } from './confirmed.ts'
import { type Passed, passedOf } from './gate.ts'

/** For callers that set no deadline, and the longest that one may be. */
const DEFAULT_TIMEOUT_MS = 60_000
const MAX_TIMEOUT_MS = 5 * 60_000

export type ForwardOptions = {
  /** To a service behind, signing as the gateway. */
  transport: (process: ServiceName) => Transport
  confirmations: Confirmations
  tokens: ServiceTokens
  servers: Pick<Client<typeof ServerService>, 'getServer'>
  /** Asked for changes before an answer, so that the endpoints act at once on what was just done here. */
  servings: Pick<Servings, 'hint'>
  log: Log
}

/** Adds the RPC of one row to the router. */
export function forward(
  router: ConnectRouter,
  row: AccessRow,
  handling: Partial<UniversalHandlerOptions>,
  options: ForwardOptions,
): void {
  const { method } = row
  if (isUnary(method)) router.rpc(method, unary(method, row, options), handling)
  else if (isServerStreaming(method)) {
    router.rpc(method, streaming(method, row, options), handling)
  } else throw new Error(`${row.path} is external and takes a stream, which nothing forwards`)
}

type Unary = DescMethodUnary<DescMessage, DescMessage>
type ServerStreaming = DescMethodServerStreaming<DescMessage, DescMessage>

function isUnary(method: DescMethod): method is Unary {
  return method.methodKind === 'unary'
}

function isServerStreaming(method: DescMethod): method is ServerStreaming {
  return method.methodKind === 'server_streaming'
}

function unary(method: Unary, row: AccessRow, options: ForwardOptions) {
  const transport = options.transport(row.process)
  return async (message: Message, context: HandlerContext): Promise<Message> => {
    const passed = passedOf(context)
    const person = await personOf(message, row, passed, options)
    await requireServer(message, person, options)
    const { headers } = person
    const timeoutMs = Math.min(context.timeoutMs() ?? DEFAULT_TIMEOUT_MS, MAX_TIMEOUT_MS)
    const signal = AbortSignal.any([context.signal, passed.ended])
    const answer = await transport
      .unary(method, signal, timeoutMs, headers, message)
      .catch((thrown: unknown) => {
        throw endedBy(passed) ?? thrown
      })
    if (!isReadOnly(method) && row.process === 'generator') await options.servings.hint()
    return answer.message
  }
}

function streaming(method: ServerStreaming, row: AccessRow, options: ForwardOptions) {
  const transport = options.transport(row.process)
  return async function* (message: Message, context: HandlerContext): AsyncGenerator<Message> {
    const passed = passedOf(context)
    const { headers } = await personOf(message, row, passed, options)
    // Leaving the loop does not end the stream behind: aborting does.
    const reader = new AbortController()
    const signal = AbortSignal.any([context.signal, passed.ended, reader.signal])
    try {
      const answer = await transport.stream(method, signal, 0, headers, only(message))
      yield* answer.message
      // Whoever sees the end of a build may call its server at once.
      if (row.process === 'generator') await options.servings.hint()
    } catch (thrown) {
      throw endedBy(passed) ?? thrown
    } finally {
      reader.abort()
    }
  }
}

/** The metadata of the call behind, made from nothing: what the caller sent stays outside. */
async function personOf(
  message: Message,
  row: AccessRow,
  passed: Passed,
  { confirmations, tokens, log }: ForwardOptions,
) {
  const { program, request, requestId } = passed
  const confirmDigest = await confirmations.digestOf(message, asUser(program.userToken))
  const { userToken } =
    confirmDigest === undefined ? program : await tokens.confirm({ ...request, confirmDigest })
  if (!isReadOnly(row.method)) {
    log.info({ rpc: row.path, tokenId: program.tokenId, requestId }, 'a program called')
  }
  return asUser(userToken, requestId)
}

/** The broker knows no servers, and would tell a foreign one as one without refusals. Throws `server_not_found`. */
async function requireServer(message: Message, person: CallOptions, { servers }: ForwardOptions) {
  if (!isMessage(message, ListRefusalsRequestSchema)) return
  await servers.getServer({ server: message.serverId }, person)
}

/** Why the gateway itself ended a call; undefined when it did not. */
function endedBy({ endReason }: Passed) {
  switch (endReason()) {
    case 'revoked':
      return unauthenticated('token_invalid', 'The service token was revoked.')
    case 'stopping':
      return unavailable('stopping', 'The gateway is restarting. Try again.')
    default:
      return undefined
  }
}

async function* only<Value>(value: Value): AsyncGenerator<Value> {
  yield value
}
