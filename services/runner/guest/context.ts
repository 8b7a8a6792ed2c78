/** `ctx`, what a tool's body gets beside its input (version 1). */
import type { OperationSpec } from '@bmm/spec/server-spec'
import { type ToolResult, toolResultFrom, type UpstreamResponse } from './answer.ts'
import type { CookieJar } from './cookie-jar.ts'
import type { Egress } from './egress.ts'
import { type OutgoingRequest, requestFrom } from './request.ts'
import { markResult, type ToolResultInput } from './result.ts'

export type ToolContext = {
  /** As on the web, but redirects come back as answers and nothing leaves except to the server's own origins. */
  fetch(input: string | URL | Request, init?: RequestInit): Promise<Response>
  /** Carries out an imported operation. */
  request(operation: OperationSpec, input: Record<string, unknown>): Promise<ToolResultInput>
  /** Aborted when the caller gives up or the time is over. */
  signal: AbortSignal
  /** For who called: as progress, or as log messages in a client of the earlier era that asked for those. */
  progress(done: number, total?: number, message?: string): void
  /** For the owner of the server, never for who called. */
  log(...values: unknown[]): void
  result(result: ToolResultInput): ToolResultInput
}

/** What a context needs of its call. */
export type CallLink = {
  call: number
  signal: AbortSignal
  egress: Egress
  /** Of the one person whose sandbox this is. */
  cookies: CookieJar
  progress(progress: { progress: number; total?: number; message?: string }): void
  log(line: string): void
}

/** The official conformance suite sends a step each 50 ms and counts them. */
const PROGRESS_INTERVAL_MS = 40
const MAX_PROGRESS_MESSAGE = 500
const MAX_LOG_LINES = 200
const MAX_LOG_CHARACTERS = 4_000
/** Tells code that the body is the beginning of a stream: `time` or `size` ended it. */
const CUT_HEADER = 'x-bmm-cut'
/** Answers without a body (Fetch standard, "null body status"). */
const nullBodyStatuses: readonly number[] = [101, 103, 204, 205, 304]

export function createContext(link: CallLink): ToolContext {
  return {
    get signal() {
      return link.signal
    },
    result: markResult,
    progress: progressReporter(link),
    log: logWriter(link),
    async fetch(input, init) {
      const request = await outgoingFrom(input, init)
      const signal = init?.signal ? AbortSignal.any([link.signal, init.signal]) : link.signal
      return responseFrom(await link.egress.exchange(request, link.call, signal), request.url)
    },
    async request(operation, input) {
      return markResult(await runOperation(operation, input, link))
    },
  }
}

/** One imported operation from input to tool result; the only road for imported tools. */
export async function runOperation(
  operation: OperationSpec,
  input: Record<string, unknown>,
  link: Pick<CallLink, 'call' | 'signal' | 'egress' | 'cookies'>,
): Promise<ToolResultInput> {
  const request = requestFrom(operation, input, randomId)
  const { url, method } = request
  const headers = link.cookies.withCookies(url, request.headers)
  const response = await link.egress.exchange({ ...request, headers }, link.call, link.signal)
  const keptCookies = link.cookies.take(url, response.headers)
  return toolResultInputFrom(toolResultFrom(response, { url, method, keptCookies }))
}

function toolResultInputFrom(result: ToolResult): ToolResultInput {
  const { content, structuredContent, isError } = result
  return {
    content,
    ...(structuredContent !== undefined && { structuredContent }),
    ...(isError !== undefined && { isError }),
  }
}

function randomId(): string {
  return crypto.randomUUID().replaceAll('-', '')
}

async function outgoingFrom(
  input: string | URL | Request,
  init: RequestInit | undefined,
): Promise<OutgoingRequest> {
  const target = input instanceof URL ? input.href : input
  const request = init ? new Request(target as string, init) : new Request(target as string)
  const body = request.body ? new Uint8Array(await request.arrayBuffer()) : undefined
  const headers = [...request.headers].map(([name, value]): [string, string] => [name, value])
  return { method: request.method, url: request.url, headers, body }
}

function responseFrom(response: UpstreamResponse, url: string): Response {
  const { status, headers, body, cut } = response
  const answer = new Response(nullBodyStatuses.includes(status) ? null : body.slice(), { status })
  for (const [name, value] of headers) answer.headers.append(name, value)
  if (cut !== undefined) answer.headers.set(CUT_HEADER, cut)
  Object.defineProperty(answer, 'url', { value: url })
  return answer
}

/** Steps that follow each other too fast are left out, except the last one. */
function progressReporter(link: CallLink): ToolContext['progress'] {
  let lastMs = Number.NEGATIVE_INFINITY
  return (done, total, message) => {
    if (!Number.isFinite(done)) throw new TypeError('ctx.progress takes (done, total?, message?)')
    const nowMs = performance.now()
    if (nowMs - lastMs < PROGRESS_INTERVAL_MS && done !== total) return
    lastMs = nowMs
    link.progress({
      progress: done,
      ...(typeof total === 'number' && Number.isFinite(total) && { total }),
      ...(typeof message === 'string' && { message: message.slice(0, MAX_PROGRESS_MESSAGE) }),
    })
  }
}

function logWriter(link: CallLink): ToolContext['log'] {
  let lines = 0
  return (...values) => {
    lines++
    if (lines === MAX_LOG_LINES + 1)
      link.log(`(more than ${MAX_LOG_LINES} lines: the rest is left out)`)
    if (lines > MAX_LOG_LINES) return
    const text = values
      .map((value) => (typeof value === 'string' ? value : Bun.inspect(value)))
      .join(' ')
    link.log(text.slice(0, MAX_LOG_CHARACTERS))
  }
}
