/** All plugins as one application, and the one place where errors become answers. */
import { errorFrom } from '@bmm/lib/errors'
import type { Log } from '@bmm/lib/log'
import { Elysia, ValidationError } from 'elysia'
import type { Arrivals } from './arrival/arrival.ts'
import { accepts } from './arrival/body.ts'
import { errorPage } from './pages/layout.ts'
import { type Problem, problemFrom, problemResponse } from './problem.ts'

/** Sets up the error handling that every plugin shares; plugins are added by `.use`. */
export function edge(options: { arrivals: Arrivals; log: Log }) {
  return new Elysia({ name: 'edge', normalize: false }).onError(
    { as: 'global' },
    ({ code, error, request }) => {
      const { requestId } = options.arrivals.of(request)
      const found = problemOf(code, error)
      if (code === 'NOT_FOUND' && accepts(request, 'text/html')) return nothingHere()
      if (found === undefined) return answerBug(options.log, error, request, requestId)
      return problemResponse(found, requestId)
    },
  )
}

/** For people; programs get the problem below. */
function nothingHere(): Response {
  const sentence = 'The address may be mistyped, or what it named is gone.'
  return errorPage(404, 'There is nothing at this address', sentence)
}

/** Logs what should not have happened, and says nothing of it but the request id. */
export function answerBug(
  log: Log,
  thrown: unknown,
  request: Request,
  requestId: string,
): Response {
  const { pathname } = new URL(request.url)
  log.error({ err: errorFrom(thrown), requestId, path: pathname }, 'a request failed')
  return problemResponse(internal, requestId)
}

const internal: Problem = {
  status: 500,
  code: 'internal_error',
  detail: 'Something went wrong here. Tell the operator the request id if it happens again.',
}

/** Undefined for what is a bug of ours: an answer that breaks its own schema is one. */
function problemOf(code: string | number, error: unknown): Problem | undefined {
  if (code === 'NOT_FOUND') {
    return { status: 404, code: 'not_found', detail: 'There is nothing at this address.' }
  }
  if (error instanceof ValidationError && error.type !== 'response') {
    return {
      status: 400,
      code: 'invalid_request',
      detail: 'The request does not have the documented shape.',
      errors: error.all.map((fault) => faultOf(fault)),
    }
  }
  if (code === 'PARSE' || code === 'INVALID_COOKIE_SIGNATURE') {
    return problemFrom(errorFrom(error).cause) ?? unreadable
  }
  return problemFrom(error)
}

const unreadable: Problem = {
  status: 400,
  code: 'unreadable',
  detail: 'The body cannot be read.',
}

/** Elysia's own answer repeats the input; a path of the schema and a rule do not. */
function faultOf(fault: unknown): { path: string; message: string } {
  const { path, message } = { path: '', message: '', ...(fault as object) }
  const unknownField = String(message).startsWith('Unrecognized key')
  return {
    path: String(path),
    message: unknownField ? 'has a field that is not documented' : String(message),
  }
}
