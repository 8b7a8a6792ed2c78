/** The command line: one family of commands a file. */
import { Command } from 'commander'
import { version } from '../package.json'
import { addBenchCommand } from './bench.ts'
import { addBuildCommands } from './builds.ts'
import { addCallCommands } from './call.ts'
import { addCheckCommand } from './check.ts'
import { addClientCommands } from './clients.ts'
import { addCredentialCommands } from './credentials.ts'
import { addDemoCommand } from './demo.ts'
import { addDraftCommand } from './draft.ts'
import { endingOf } from './ending.ts'
import { addSessionCommands } from './login.ts'
import { addOperatorCommands } from './operator.ts'
import { note } from './output.ts'
import { addServerCommands } from './servers.ts'
import { addOwnSessionCommands } from './sessions.ts'
import { addSoakCommand } from './soak.ts'
import { addStatsCommand } from './stats.ts'
import { addTestCommand } from './test.ts'
import { addTokenCommands } from './tokens.ts'
import { addStackCommands } from './up.ts'

const program = new Command('bmm')
  .description('Describe an API. Get a live, locked-down MCP server. Connect it to any AI client.')
  .version(version)
  .helpCommand(false)
  .showHelpAfterError('(add --help to see how it is used)')
  .exitOverride()
  .configureOutput({ writeErr: (text) => note(text.trimEnd()) })

addStackCommands(program)
addDemoCommand(program)
addSessionCommands(program)
addDraftCommand(program)
addServerCommands(program)
addCredentialCommands(program)
addBuildCommands(program)
addCallCommands(program)
addStatsCommand(program)
addOwnSessionCommands(program)
addTokenCommands(program)
addOperatorCommands(program)
addClientCommands(program)
addTestCommand(program)
addCheckCommand(program)
addBenchCommand(program)
addSoakCommand(program)

let data: string | undefined
program.hook('preAction', (_program, command) => {
  data = command.opts<{ data?: string }>().data
})

try {
  await program.parseAsync()
} catch (error) {
  process.exitCode = endingOf(error, { json: process.argv.includes('--json'), data })
}
process.exit()
