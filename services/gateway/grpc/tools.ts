/** ToolService: listing and calling tools without an MCP client, through the very code that answers MCP clients. */
import type { Deadlines } from '@bmm/lib/deadlines'
import { denied, invalid, limited, notFound, precondition, unavailable } from '@bmm/lib/errors'
import { parseExactly } from '@bmm/lib/exact-json'
import type { ToolService } from '@bmm/proto/gateway/v1/tool_service'
import { slugPattern } from '@bmm/spec/resource-url'
import { mayUse } from '@bmm/spec/statement'
import { Code, ConnectError, type HandlerContext, type ServiceImpl } from '@connectrpc/connect'
import { z } from 'zod'
import { isObject, JsonFault, parseJson } from '../arrival/json-text.ts'
import type { InFlight } from '../limits/in-flight.ts'
import type { Room } from '../limits/room.ts'
import type { TracedCall } from '../mcp/call-context.ts'
import { beginCallSpan, type CallTracing } from '../mcp/call-span.ts'
import type { ToolCall } from '../mcp/decision.ts'
import { answerCall } from '../mcp/tool-call.ts'
import type { RunnerLink } from '../runner-link.ts'
import type { Listings } from '../serving/listing.ts'
import type { Served, Servings } from '../serving/serving.ts'
import { arrivalOf, type GrpcArrival, type Passed, passedOf } from './gate.ts'

export type ToolOptions = {
  servings: Servings
  listings: Listings
  runner: RunnerLink
  /** The calls of MCP clients count together with these. */
  inFlight: InFlight
  deadlines: Deadlines
  /** Absent where calls are not traced. */
  tracing?: CallTracing
  /** What answers that nobody has read yet may take; shared with those of MCP. */
  unread: Room
  callTimeoutMs?: number
}

type Live = Extract<Served, { state: 'live' }>

/** Until the client has taken the answer. */
function keepRoom(
  unread: Room,
  { userId, text, arrival }: { userId: string; text: string; arrival: GrpcArrival },
): void {
  const release = unread.reserve(userId, Buffer.byteLength(text))
  if (release === undefined) {
    throw limited('too_much_unread', 'Too many answers lie here unread. Read them first.', {
      retryAfterSeconds: 2,
    })
  }
  arrival.onClosed(release)
}

export function toolService(options: ToolOptions): ServiceImpl<typeof ToolService> {
  const { unread } = options
  return {
    async listTools({ server, cursor }, context) {
      const { listed } = await usableServer(options, server, passedOf(context))
      const page = listed.modernPages.get(cursor)
      if (page === undefined) throw invalid('cursor_invalid', 'The cursor is not valid any more.')
      const { tools, nextCursor = '' } = pageSchema.parse(JSON.parse(`{${page}}`))
      return {
        tools: tools.map(({ name, description = '', inputSchema }) => ({
          ...{ name, description },
          inputSchemaJson: JSON.stringify(inputSchema),
        })),
        nextCursor,
      }
    },
    async callTool({ server, tool, argumentsJson }, context) {
      const passed = passedOf(context)
      const { listed, served } = await usableServer(options, server, passed)
      if (!listed.tools.has(tool)) {
        throw notFound('tool_not_found', 'This server has no tool of that name.')
      }
      const args = argumentsFrom(argumentsJson)
      const call: ToolCall = { era: 'modern', id: passed.requestId, tool, args }
      const placed = callContext(options, passed, served, listed.info)
      const span = spanOf(options, passed, served, context)
      const text = await answerCall(call, { ...placed, ...span, request: context })
      keepRoom(unread, { userId: passed.program.userId, text, arrival: arrivalOf(context) })
      return resultFrom(text, context)
    },
  }
}

function spanOf({ tracing }: ToolOptions, passed: Passed, served: Live, context: HandlerContext) {
  if (tracing === undefined) return undefined
  const { requestId } = passed
  const request = { headers: context.requestHeader }
  const { serverId } = served
  return {
    beginSpan: (call: TracedCall) => beginCallSpan(tracing, call, { serverId, requestId, request }),
  }
}

function callContext(options: ToolOptions, passed: Passed, served: Live, serverInfo: string) {
  const { userId, orgId, tokenId } = passed.program
  const { servings, runner, inFlight, deadlines, callTimeoutMs } = options
  const { serverId, epoch } = served
  return {
    ...{ runner, inFlight, deadlines },
    caller: { userId, orgId, grantId: tokenId },
    target: { serverId, epoch, serverInfo },
    arrival: { requestId: passed.requestId },
    async newestEpoch() {
      await servings.hint()
      const newest = servings.knownServer(serverId)
      return newest?.state === 'live' ? newest.epoch : undefined
    },
    ...(callTimeoutMs === undefined ? {} : { timeoutMs: callTimeoutMs }),
  }
}

/** A live server whose access rule includes the person, as for MCP clients. */
async function usableServer({ servings, listings }: ToolOptions, slug: string, passed: Passed) {
  const served = slugPattern.test(slug) ? await servings.find(slug) : undefined
  if (served === undefined) throw serverNotFound()
  if (served.state !== 'live') {
    throw precondition('server_not_live', `This server was stopped: ${served.reason}.`)
  }
  const { access, orgId } = served.statement
  const { program } = passed
  if (!mayUse(access, orgId, { userId: program.userId, orgIds: [program.orgId] })) {
    // As if there were none: a program may ask for any slug, and must not learn which private ones exist.
    throw serverNotFound()
  }
  return { served, listed: await listings.get(slug, served.statement) }
}

function serverNotFound() {
  return notFound(
    'server_not_found',
    'There is no such server, or its access rule does not include you.',
  )
}

const pageSchema = z.object({
  tools: z.array(
    z.object({ name: z.string(), description: z.string().optional(), inputSchema: z.unknown() }),
  ),
  nextCursor: z.string().optional(),
})

function argumentsFrom(text: string): Record<string, unknown> {
  const refuse = (why: string) => invalid('arguments_invalid', `arguments_json: ${why}`)
  if (text === '') return {}
  try {
    const value = parseJson(new TextEncoder().encode(text), { numbers: 'exact' })
    if (isObject(value)) return value
  } catch (thrown) {
    if (thrown instanceof JsonFault) throw refuse(thrown.message)
    throw thrown
  }
  throw refuse('must be a JSON object.')
}

/** What `answerCall` says in JSON-RPC. */
const answerSchema = z.union([
  z.object({ result: z.looseObject({ isError: z.boolean().optional() }) }),
  z.object({
    error: z.object({
      message: z.string(),
      data: z.object({ reason: z.string() }).optional(),
    }),
  }),
])

function resultFrom(text: string, { signal }: HandlerContext) {
  const answer = answerSchema.parse(parseExactly(text).value)
  if ('error' in answer) throw failure(answer.error, signal)
  const { resultType: _type, _meta, ...result } = answer.result
  return { resultJson: JSON.stringify(result), isError: result.isError === true }
}

/** The reasons are those of the runner and of mcp/outcome.ts. */
function failure(
  error: { message: string; data?: { reason: string } | undefined },
  ended: AbortSignal,
) {
  const { message, data: { reason } = { reason: 'call_failed' } } = error
  if (ended.aborted && ended.reason instanceof ConnectError) return ended.reason
  switch (reason) {
    case 'deadline':
      return new ConnectError(message, Code.DeadlineExceeded)
    case 'cancelled':
      return new ConnectError(message, Code.Canceled)
    case 'too_many_calls':
    case 'busy':
    case 'result_too_large':
      return limited(reason, message, { retryAfterSeconds: 1 })
    case 'arguments_too_large':
      return invalid(reason, message)
    case 'revoked':
      return denied(reason, message)
    case 'unavailable':
    case 'runner_stopping':
    case 'stopping':
      return unavailable(reason, message, { retryAfterSeconds: 1 })
    default:
      return precondition(reason, message)
  }
}
