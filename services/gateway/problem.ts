/** Errors of the REST API (RFC 9457): sentences and codes, never a piece of what was sent. */
import { fieldFaultsOf, isDeliberate, reasonOf, retryAfterOf } from '@bmm/lib/errors'
import { Code, ConnectError } from '@connectrpc/connect'
import { BodyFault } from './arrival/body.ts'
import { JsonFault } from './arrival/json-text.ts'

export type Problem = {
  status: number
  /** Machine reason such as `slug_taken`. */
  code: string
  /** A sentence for people. */
  detail: string
  errors?: { path: string; message: string }[]
  retryAfterSeconds?: number
  headers?: Record<string, string>
  /** Further members that a client may need to go on. */
  more?: Record<string, string>
}

/** A problem on its way to the one error handler. */
class ProblemError extends Error {
  override name = 'ProblemError'
  constructor(readonly problem: Problem) {
    super(problem.detail)
  }
}

/** Shorthand for `throw problem(…)`. */
export function problem(
  status: number,
  code: string,
  detail: string,
  more: Pick<Problem, 'retryAfterSeconds' | 'errors' | 'more'> = {},
): ProblemError {
  return new ProblemError({ status, code, detail, ...more })
}

const titles: Readonly<Record<number, string>> = {
  400: 'Bad request',
  401: 'Not signed in',
  403: 'Not permitted',
  404: 'Not found',
  405: 'Method not allowed',
  408: 'Request timeout',
  409: 'Conflict',
  413: 'Too large',
  415: 'Unsupported media type',
  421: 'Misdirected request',
  429: 'Too many requests',
  499: 'Cancelled',
  500: 'Internal error',
  503: 'Unavailable',
  504: 'Timeout',
}

/** The answer that carries a problem. */
export function problemResponse(found: Problem, requestId: string): Response {
  const { status, code, detail, errors, retryAfterSeconds, headers, more } = found
  return new Response(
    JSON.stringify({
      type: 'about:blank',
      title: titles[status] ?? 'Error',
      status,
      detail,
      code,
      requestId,
      ...(errors === undefined || errors.length === 0 ? {} : { errors }),
      ...more,
    }),
    {
      status,
      headers: {
        'content-type': 'application/problem+json',
        'cache-control': 'no-store',
        ...(retryAfterSeconds === undefined ? {} : { 'retry-after': String(retryAfterSeconds) }),
        ...(status === 401 ? { 'www-authenticate': 'Bearer' } : {}),
        ...headers,
      },
    },
  )
}

/** What a thrown value says to the outside; undefined for a bug, which is logged and answered as such. */
export function problemFrom(thrown: unknown): Problem | undefined {
  if (thrown instanceof ProblemError) return thrown.problem
  if (thrown instanceof BodyFault) {
    const { status, kind, message, headers } = thrown
    return { status, code: `body_${kind}`, detail: message, headers }
  }
  if (thrown instanceof JsonFault) {
    return { status: 400, code: `json_${thrown.kind}`, detail: thrown.message }
  }
  return thrown instanceof ConnectError ? fromConnect(thrown) : undefined
}

/** Statuses of errors that a service made on purpose. A refused service token is our fault, not the caller's. */
const statuses: Partial<Record<Code, number>> = {
  [Code.InvalidArgument]: 400,
  [Code.PermissionDenied]: 403,
  [Code.NotFound]: 404,
  [Code.AlreadyExists]: 409,
  [Code.FailedPrecondition]: 409,
  [Code.ResourceExhausted]: 429,
  [Code.Unavailable]: 503,
  [Code.DeadlineExceeded]: 504,
  [Code.Canceled]: 499,
}

const plumbing: Partial<Record<Code, Problem>> = {
  [Code.Unavailable]: {
    status: 503,
    code: 'unavailable',
    detail: 'A part of the platform does not answer. Try again in a moment.',
    retryAfterSeconds: 2,
  },
  [Code.DeadlineExceeded]: {
    status: 504,
    code: 'timeout',
    detail: 'That took too long. Try again.',
  },
  [Code.Canceled]: { status: 499, code: 'cancelled', detail: 'The request was cancelled.' },
}

/** Reasons that are about the gateway itself; a person can do nothing about them. */
export const ownFaults: ReadonlySet<string> = new Set([
  'service_token_missing',
  'service_token_invalid',
  'service_token_replayed',
  'caller_not_allowed',
  'user_token_invalid',
  'user_required',
])

function fromConnect(error: ConnectError): Problem | undefined {
  const reason = reasonOf(error)
  if (!isDeliberate(error) || reason === undefined) return plumbing[error.code]
  const status = statuses[error.code]
  if (status === undefined || ownFaults.has(reason)) return undefined
  const retryAfterSeconds = retryAfterOf(error)
  return {
    status,
    code: reason,
    detail: error.rawMessage,
    // The fields of the contracts, which nobody sees who comes by REST.
    errors: reason === 'invalid_request' ? [] : fieldFaultsOf(error),
    ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
  }
}
