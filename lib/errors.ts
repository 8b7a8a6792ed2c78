/** The one error vocabulary: Connect codes with a machine reason and a sentence for people. */

import { ErrorInfoSchema } from '@bmm/proto/v1/error'
import { Code, ConnectError } from '@connectrpc/connect'

export type FieldFault = { path: string; message: string }
type Extra = { fields?: FieldFault[]; retryAfterSeconds?: number; cause?: unknown }

/** The request is malformed or breaks a rule of its own (HTTP 400). */
export const invalid = vocabulary(Code.InvalidArgument)
/** Nobody is signed in, or the token is not good (HTTP 401). */
export const unauthenticated = vocabulary(Code.Unauthenticated)
/** Known, but not permitted (HTTP 403). */
export const denied = vocabulary(Code.PermissionDenied)
/** Not there, or not visible to the caller: the two are never told apart (HTTP 404). */
export const notFound = vocabulary(Code.NotFound)
/** The name or id is taken (HTTP 409). */
export const conflict = vocabulary(Code.AlreadyExists)
/** The thing is in a state that does not allow this (HTTP 409). */
export const precondition = vocabulary(Code.FailedPrecondition)
/** Too often or too much; says when to come back (HTTP 429). */
export const limited = vocabulary(Code.ResourceExhausted)
/** A part that this depends on does not answer; a repetition may succeed (HTTP 503). */
export const unavailable = vocabulary(Code.Unavailable)

/** The machine reason of an error made here or in another service, or undefined. */
export function reasonOf(error: unknown): string | undefined {
  return infoOf(error)?.reason
}

/** Seconds after which a repetition may succeed, or undefined. */
export function retryAfterOf(error: unknown): number | undefined {
  const seconds = infoOf(error)?.retryAfterSeconds ?? 0
  return seconds > 0 ? seconds : undefined
}

/** Where the input is at fault; empty when the error does not say. */
export function fieldFaultsOf(error: unknown): FieldFault[] {
  return infoOf(error)?.fields.map(({ path, message }) => ({ path, message })) ?? []
}

/** Whether this error was made on purpose and may be shown to the caller as it is. */
export function isDeliberate(error: unknown): error is ConnectError {
  return error instanceof ConnectError && infoOf(error) !== undefined
}

/** Any thrown value as an Error, for logs and causes. */
export function errorFrom(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown))
}

function vocabulary(code: Code) {
  return (reason: string, message: string, extra: Extra = {}): ConnectError =>
    new ConnectError(
      message,
      code,
      undefined,
      [
        {
          desc: ErrorInfoSchema,
          value: {
            reason,
            retryAfterSeconds: extra.retryAfterSeconds ?? 0,
            fields: extra.fields ?? [],
          },
        },
      ],
      extra.cause,
    )
}

function infoOf(error: unknown) {
  return error instanceof ConnectError ? error.findDetails(ErrorInfoSchema)[0] : undefined
}
