/** `sessions`: where the person is signed in, and ending it there. */
import { sessionsAnswer } from '@bmm/spec/rest-answer'
import type { Command } from 'commander'
import { ask, send } from './api.ts'
import { print, printJson, table } from './output.ts'
import { signedInPerson } from './session.ts'
import { dataOption } from './up.ts'

type Common = { data: string; json?: boolean }

/** Adds the commands to the program. */
export function addOwnSessionCommands(program: Command): void {
  const sessions = program
    .command('sessions')
    .description('the browsers and shells in which you are signed in')
    .helpCommand(false)
  sessions
    .command('list')
    .description('live sessions, newest first')
    .addOption(dataOption())
    .option('--json', 'one line of JSON')
    .action(list)
  sessions
    .command('revoke')
    .description('end one; it is signed out at once')
    .argument('<id>', 'ses_…')
    .addOption(dataOption())
    .option('--json', 'one line of JSON')
    .action(revoke)
}

async function list(options: Common): Promise<void> {
  const { gateway, session } = signedInPerson(options.data)
  const { sessions } = await ask(gateway, '/v1/sessions', sessionsAnswer, { session })
  if (options.json === true) {
    printJson({ sessions })
    return
  }
  print(
    table(
      sessions.map(({ id, current, createdAt, expiresAt, userAgent }) => [
        id,
        `since ${createdAt.slice(0, 10)}`,
        `until ${expiresAt.slice(0, 10)}`,
        current ? 'this one' : userAgent,
      ]),
    ),
  )
}

async function revoke(id: string, options: Common): Promise<void> {
  const { gateway, session } = signedInPerson(options.data)
  const path = `/v1/sessions/${encodeURIComponent(id)}`
  await send(gateway, path, { session, method: 'DELETE' })
  if (options.json === true) printJson({ revoked: id })
  else print(`${id} is signed out`)
}
