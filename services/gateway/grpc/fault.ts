/** What of an error leaves through the gRPC port: what was meant for the caller, without a trace of where it came from. */
import { errorFrom, isDeliberate, reasonOf, unavailable } from '@bmm/lib/errors'
import type { Log } from '@bmm/lib/log'
import { ErrorInfoSchema } from '@bmm/proto/v1/error'
import { Code, ConnectError, type Interceptor } from '@connectrpc/connect'
import { ownFaults } from '../problem.ts'

const RETRY_SECONDS = 2

/** Rebuilt from code, sentence and reason: a service's own answer has headers that are nobody's business here. */
export function outward(
  thrown: unknown,
  call: { log: Log; rpc: string; requestId: string },
): ConnectError {
  if (isDeliberate(thrown) && !ownFaults.has(reasonOf(thrown) ?? '')) {
    const details = thrown
      .findDetails(ErrorInfoSchema)
      .slice(0, 1)
      .map((value) => ({ desc: ErrorInfoSchema, value }))
    return new ConnectError(thrown.rawMessage, thrown.code, undefined, details)
  }
  if (thrown instanceof ConnectError && thrown.code === Code.Canceled) {
    return new ConnectError('The call was cancelled.', Code.Canceled)
  }
  if (thrown instanceof ConnectError && thrown.code === Code.DeadlineExceeded) {
    return new ConnectError('The call took longer than its deadline.', Code.DeadlineExceeded)
  }
  if (thrown instanceof ConnectError && thrown.code === Code.ResourceExhausted) {
    return new ConnectError('The message is larger than it may be.', Code.ResourceExhausted)
  }
  if (thrown instanceof ConnectError && thrown.code === Code.Unavailable) {
    return unavailable(
      'unavailable',
      'A part of the platform does not answer. Try again in a moment.',
      { retryAfterSeconds: RETRY_SECONDS },
    )
  }
  const { log, rpc, requestId } = call
  if (isHangUp(thrown)) {
    log.debug({ rpc, requestId }, 'a caller went away before its message was whole')
    return new ConnectError('The call was cancelled.', Code.Canceled)
  }
  log.error({ err: errorFrom(thrown), rpc, requestId }, 'an external call failed unexpectedly')
  return new ConnectError(
    `Something went wrong here (request ${requestId}). Tell the operator if it happens again.`,
    Code.Internal,
  )
}

/** What reading a message throws whose sender is gone: nothing is wrong here. */
function isHangUp(thrown: unknown): boolean {
  const { cause = thrown } = thrown instanceof ConnectError ? thrown : {}
  return cause instanceof Error && 'code' in cause && cause.code === 'ERR_STREAM_PREMATURE_CLOSE'
}

/** Turns every error of a handler into an outward one. */
export function outwardErrors(
  describe: (request: Parameters<ReturnType<Interceptor>>[0]) => Parameters<typeof outward>[1],
): Interceptor {
  return (next) => async (request) => {
    const told = (thrown: unknown) => outward(thrown, describe(request))
    try {
      const response = await next(request)
      if (!response.stream) return response
      return { ...response, message: guarded(response.message, told) }
    } catch (thrown) {
      throw told(thrown)
    }
  }
}

async function* guarded<Message>(
  messages: AsyncIterable<Message>,
  told: (thrown: unknown) => ConnectError,
) {
  try {
    yield* messages
  } catch (thrown) {
    throw told(thrown)
  }
}
