/** The gateway's REST API as the commands use it: one request function. */
import { problemAnswer } from '@bmm/spec/rest-answer'
import type { z } from 'zod'
import { failed } from './fault.ts'
import { parseJson } from './json.ts'
import { directAddress, type Gateway, reach } from './reach.ts'

const TIMEOUT_MS = 90_000

/** The command that shows what there is, where a name was wrong. */
const NEXT: Record<string, string> = {
  server_not_found: 'servers list',
  token_not_found: 'tokens list',
  no_such_session: 'sessions list',
}

/** What is told of it. */
const problemSchema = problemAnswer
  .pick({ detail: true, code: true, requestId: true, errors: true })
  .partial({ requestId: true })

export type ApiRequest = {
  method?: 'GET' | 'POST' | 'PUT' | 'DELETE'
  body?: unknown
  /** A file as it is, in place of a JSON body. */
  bytes?: Uint8Array
  headers?: Record<string, string>
  /** Bearer of the session; without one the request is anonymous. */
  session?: string
  signal?: AbortSignal
}

/** Sends a request and gives the answer as it is; throws CommandFault when the gateway refuses or is not there. */
export async function send(gateway: Gateway, path: string, request: ApiRequest): Promise<Response> {
  const { method = 'GET', body, bytes, session } = request
  const headers: Record<string, string> = {
    accept: 'application/json',
    ...(session === undefined ? {} : { authorization: `Bearer ${session}` }),
    ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    ...(bytes === undefined ? {} : { 'content-type': 'application/octet-stream' }),
    ...request.headers,
  }
  const response = await reach(gateway, path, {
    method,
    headers,
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    ...(bytes === undefined ? {} : { body: new Blob([new Uint8Array(bytes)]) }),
    redirect: 'manual',
    signal: request.signal ?? AbortSignal.timeout(TIMEOUT_MS),
  }).catch((error: unknown) => {
    const timedOut = error instanceof Error && error.name === 'TimeoutError'
    throw failed(
      'gateway_down',
      timedOut
        ? `The gateway at ${directAddress(gateway)} does not answer in time.`
        : `The gateway at ${directAddress(gateway)} does not answer, though its stack was up a moment ago: it may be starting again. Try again in a few seconds.`,
    )
  })
  if (response.ok) return response
  throw await problemOf(response, path)
}

/** As `send`, with the answer parsed by the schema. */
export async function ask<Schema extends z.ZodType>(
  gateway: Gateway,
  path: string,
  schema: Schema,
  request: ApiRequest = {},
): Promise<z.infer<Schema>> {
  const response = await send(gateway, path, request)
  const parsed = schema.safeParse(await response.json().catch(() => undefined))
  if (parsed.success) return parsed.data
  throw failed(
    'answer_unknown',
    `The gateway answered ${path} in a shape that this CLI does not know.`,
  )
}

async function problemOf(response: Response, asked: string) {
  const text = await response.text()
  const parsed = problemSchema.safeParse(parseJson(text))
  if (!parsed.success) {
    return failed('gateway_refused', `The gateway answered ${response.status} without a reason.`)
  }
  const { detail, code, requestId, errors = [] } = parsed.data
  const where = errors
    .map(({ path, message }) =>
      detail.includes(message)
        ? detail.includes(path)
          ? ''
          : `\n  at ${path}`
        : `\n  ${path}: ${message}`,
    )
    .join('')
  const whose = code === 'token_invalid' ? ' It is the token in BMM_TOKEN.' : ''
  return failed(code, `${detail}${whose}${where}`, { requestId, next: nextOf(code, asked) })
}

function nextOf(code: string, asked: string): string | undefined {
  if (code.startsWith('session_')) return 'login --email YOU@EXAMPLE.COM'
  if (code !== 'credential_unknown' && code !== 'secret_not_found') return NEXT[code]
  const server = /^\/v1\/servers\/([^/]+)\/credentials/.exec(asked)?.[1]
  return server === undefined ? undefined : `credentials list ${decodeURIComponent(server)}`
}
