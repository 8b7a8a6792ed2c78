/** The command line: one family of commands a file. */
import { Command, CommanderError } from 'commander'
import { addCheckCommand } from './check.ts'
import { CommandFault, EXIT_FAILED, EXIT_USAGE } from './fault.ts'
import { note, printFault } from './output.ts'
import { addTestCommand } from './test.ts'
import { addStackCommands } from './up.ts'

const program = new Command('bmm')
  .description('Describe a tool. Get a live, locked-down MCP server. Connect it to any AI client.')
  .helpCommand(false)
  .showHelpAfterError('(add --help to see how it is used)')
  .exitOverride()
  .configureOutput({ writeErr: (text) => note(text.trimEnd()) })

addStackCommands(program)
addTestCommand(program)
addCheckCommand(program)

try {
  await program.parseAsync()
} catch (error) {
  process.exitCode = report(error)
}
process.exit()

/** Prints the fault and returns the exit code. */
function report(error: unknown): number {
  const json = process.argv.includes('--json')
  if (error instanceof CommandFault) {
    printFault(error, json)
    return error.exitCode
  }
  // Commander has said what is wrong by itself; asking for help is no fault.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_USAGE
  note(`bmm: this is a bug: ${error instanceof Error ? (error.stack ?? error.message) : error}`)
  return EXIT_FAILED
}
