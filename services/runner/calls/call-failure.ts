/** Why a call has no answer: the codes of FAILED frames and their sentences. */

export type CallFailureCode =
  | SandboxFailureCode
  | 'unknown_server'
  | 'stale_epoch'
  | 'runner_stopping'

/** What can go wrong once a call has reached its sandbox. */
export type SandboxFailureCode =
  | 'busy'
  | 'sandbox_failed'
  | 'deadline'
  | 'cancelled'
  | 'result_too_large'

/** The message is a sentence for the person behind the call. */
export class CallFailure extends Error {
  override name = 'CallFailure'
  readonly code: CallFailureCode

  constructor(code: CallFailureCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

/** A failure as it is, anything else as `sandbox_failed` with its cause kept for the log. */
export function callFailureFrom(thrown: unknown): CallFailure {
  if (thrown instanceof CallFailure) return thrown
  return new CallFailure('sandbox_failed', 'The sandbox could not be started.', { cause: thrown })
}
