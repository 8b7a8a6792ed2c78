/** `credentials`: values that the broker puts into requests; they go in and never come back. */
import { credentialAnswer } from '@bmm/spec/rest-answer'
import type { Command } from 'commander'
import { ask, send } from './api.ts'
import { readCredentials } from './credential-value.ts'
import { print, printJson } from './output.ts'
import { serverArgument } from './server-argument.ts'
import { credentialsOf, credentialTable } from './servers.ts'
import { signedIn } from './session.ts'
import { dataOption } from './up.ts'

type Common = { data: string; json?: boolean }

/** Adds the commands to the program. */
export function addCredentialCommands(program: Command): void {
  const credentials = program
    .command('credentials')
    .description('values that a server needs for its API')
    .helpCommand(false)
  credentials
    .command('set')
    .description('store values; they act within half a minute, without a new build')
    .addArgument(serverArgument())
    .argument('<name=source...>', 'NAME=@FILE, NAME=- (standard input) or NAME=VALUE')
    .addOption(dataOption())
    .option('--json', 'one line of JSON')
    .action(set)
  credentials
    .command('list')
    .description('what the server needs, where it goes, and what is stored')
    .addArgument(serverArgument())
    .addOption(dataOption())
    .option('--json', 'one line of JSON')
    .action(list)
  credentials
    .command('delete')
    .description('forget a value')
    .addArgument(serverArgument())
    .argument('<name>', 'in UPPER_SNAKE_CASE')
    .addOption(dataOption())
    .option('--json', 'one line of JSON')
    .action(remove)
}

async function set(slug: string, given: string[], options: Common): Promise<void> {
  const values = readCredentials(given)
  const { gateway, session } = signedIn(options.data)
  for (const { name, value } of values) {
    const stored = await ask(gateway, pathOf(slug, name), credentialAnswer, {
      session,
      method: 'PUT',
      body: { value },
    })
    if (options.json === true) printJson(stored)
    else print(`${name} is set; it goes to ${stored.destination.origins.join(', ')} only`)
  }
}

async function list(slug: string, options: Common): Promise<void> {
  const credentials = await credentialsOf(slug, signedIn(options.data))
  if (options.json === true) printJson({ credentials })
  else print(credentials.length === 0 ? 'this server needs none' : credentialTable(credentials))
}

async function remove(slug: string, name: string, options: Common): Promise<void> {
  const { gateway, session } = signedIn(options.data)
  await send(gateway, pathOf(slug, name), { session, method: 'DELETE' })
  if (options.json === true) printJson({ deleted: name })
  else
    print(
      `${name} is forgotten, and sandboxes get it no more: at once, or within 30 seconds when the vault was just restarted`,
    )
}

function pathOf(slug: string, name: string): string {
  return `/v1/servers/${encodeURIComponent(slug)}/credentials/${encodeURIComponent(name)}`
}
