/** What ends a command: a sentence for people, a machine code, and the exit code. */

export const EXIT_FAILED = 1
export const EXIT_USAGE = 2

/** Ends the command with this sentence. */
export class CommandFault extends Error {
  override name = 'CommandFault'
  readonly code: string
  readonly exitCode: number
  readonly requestId: string | undefined

  constructor(
    code: string,
    message: string,
    options: { usage?: boolean; requestId?: string } = {},
  ) {
    super(message)
    this.code = code
    this.exitCode = options.usage === true ? EXIT_USAGE : EXIT_FAILED
    this.requestId = options.requestId
  }
}

/** The command was right and did not succeed: exit code 1. */
export function failed(code: string, message: string, requestId?: string): CommandFault {
  return new CommandFault(code, message, requestId === undefined ? {} : { requestId })
}

/** The command was used wrongly: exit code 2. */
export function misused(message: string): CommandFault {
  return new CommandFault('usage', message, { usage: true })
}
