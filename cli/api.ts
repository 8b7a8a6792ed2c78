/** The gateway's REST API as the commands use it: one request function and the shapes of its answers. */
import { z } from 'zod'
import { failed } from './fault.ts'
import { parseJson } from './json.ts'

const TIMEOUT_MS = 90_000

/** The command that shows what there is, where a name was wrong. */
const NEXT: Record<string, string> = {
  server_not_found: 'servers list',
  token_not_found: 'tokens list',
  no_such_session: 'sessions list',
}

export const serverSchema = z.object({
  id: z.string(),
  slug: z.string(),
  name: z.string(),
  state: z.enum(['building', 'live', 'paused', 'failed', 'deleting']),
  version: z.number(),
  url: z.string(),
  tools: z.number(),
  specDigest: z.string(),
  access: z.unknown(),
  createdAt: z.string(),
  latestBuildId: z.string(),
})
export type Server = z.infer<typeof serverSchema>

const buildStates = ['queued', 'running', 'succeeded', 'failed', 'cancelled'] as const
export const buildSchema = z.object({
  id: z.string(),
  serverId: z.string(),
  version: z.number(),
  state: z.enum(buildStates),
  steps: z.array(z.object({ step: z.string(), state: z.enum(buildStates), elapsedMs: z.number() })),
  reason: z.string(),
  message: z.string(),
  createdAt: z.string(),
})
export type Build = z.infer<typeof buildSchema>

export const buildEventSchema = z.object({
  seq: z.number(),
  step: z.string().optional(),
  state: z.enum(buildStates).optional(),
  elapsedMs: z.number(),
  line: z.string().optional(),
})

export const draftSchema = z.object({
  id: z.string(),
  digest: z.string(),
  spec: z.looseObject({
    name: z.string(),
    tools: z.array(z.looseObject({ name: z.string() })),
    credentials: z.array(z.looseObject({ name: z.string() })).optional(),
  }),
  warnings: z.array(z.object({ path: z.string(), message: z.string(), refused: z.boolean() })),
  tags: z.array(z.object({ name: z.string(), tools: z.number() })),
  expiresAt: z.string(),
})

export const credentialSchema = z.object({
  name: z.string(),
  destination: z.object({
    scheme: z.string(),
    parameter: z.string().optional(),
    origins: z.array(z.string()),
  }),
  stored: z.boolean(),
  optional: z.boolean(),
  description: z.string(),
  lastFour: z.string().optional(),
  updatedAt: z.string().optional(),
})
export type Credential = z.infer<typeof credentialSchema>

export const logLineSchema = z.object({
  seq: z.number(),
  at: z.string(),
  level: z.string(),
  tool: z.string().optional(),
  message: z.string(),
  requestId: z.string().optional(),
})
export type LogLine = z.infer<typeof logLineSchema>

/** RFC 9457, as the gateway fills it. */
const problemSchema = z.object({
  detail: z.string(),
  code: z.string(),
  requestId: z.string().optional(),
  errors: z.array(z.object({ path: z.string(), message: z.string() })).optional(),
})

export type ApiRequest = {
  method?: 'GET' | 'POST' | 'PUT' | 'DELETE'
  body?: unknown
  headers?: Record<string, string>
  /** Bearer of the session; without one the request is anonymous. */
  session?: string
  signal?: AbortSignal
}

/** Sends a request and gives the answer as it is; throws CommandFault when the gateway refuses or is not there. */
export async function send(gateway: string, path: string, request: ApiRequest): Promise<Response> {
  const { method = 'GET', body, session } = request
  const headers: Record<string, string> = {
    accept: 'application/json',
    ...(session === undefined ? {} : { authorization: `Bearer ${session}` }),
    ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    ...request.headers,
  }
  const response = await fetch(new URL(path, gateway), {
    method,
    headers,
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    redirect: 'manual',
    signal: request.signal ?? AbortSignal.timeout(TIMEOUT_MS),
  }).catch((error: unknown) => {
    const timedOut = error instanceof Error && error.name === 'TimeoutError'
    throw failed(
      'gateway_down',
      timedOut
        ? `The gateway at ${gateway} does not answer in time.`
        : `The gateway at ${gateway} cannot be reached: is the stack up?`,
      { next: 'up --detach' },
    )
  })
  if (response.ok) return response
  throw await problemOf(response, path)
}

/** As `send`, with the answer parsed by the schema. */
export async function ask<Schema extends z.ZodType>(
  gateway: string,
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
