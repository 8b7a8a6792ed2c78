/** What ends a command: a sentence for people, a machine code, and the exit code. */

export const EXIT_FAILED = 1
export const EXIT_USAGE = 2

type FaultOptions = { requestId?: string | undefined; next?: string | undefined }

/** Ends the command with this sentence. */
export class CommandFault extends Error {
  override name = 'CommandFault'
  readonly code: string
  readonly exitCode: number
  readonly requestId: string | undefined
  /** What follows `./bmm` in the command that helps. */
  readonly next: string | undefined

  constructor(code: string, message: string, options: FaultOptions & { usage?: boolean } = {}) {
    super(message)
    this.code = code
    this.exitCode = options.usage === true ? EXIT_USAGE : EXIT_FAILED
    this.requestId = options.requestId
    this.next = options.next
  }
}

/** The command was right and did not succeed: exit code 1. */
export function failed(code: string, message: string, options?: FaultOptions): CommandFault {
  return new CommandFault(code, message, options)
}

/** The command was used wrongly: exit code 2. */
export function misused(message: string): CommandFault {
  return new CommandFault('usage', message, { usage: true })
}
