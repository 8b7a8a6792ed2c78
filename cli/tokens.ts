/** `tokens`: service tokens for programs that act for the signed-in person. */
import { isScope, scopeNames } from '@bmm/lib/permission'
import { newTokenAnswer, tokensAnswer } from '@bmm/spec/rest-answer'
import { type Command, InvalidArgumentError } from 'commander'
import { ask, send } from './api.ts'
import { bmm } from './hint.ts'
import { note, print, printJson, table } from './output.ts'
import { signedInPerson } from './session.ts'
import { dataOption } from './up.ts'

const MAX_DAYS = 366
const DEFAULT_DAYS = 30

type Common = { data: string; json?: boolean }
type CreateOptions = Common & { name: string; scope: string[]; expires: number }

/** Adds the commands to the program. */
export function addTokenCommands(program: Command): void {
  const tokens = program
    .command('tokens')
    .description('service tokens: for CI jobs and programs that act for you')
    .helpCommand(false)
  tokens
    .command('create')
    .description('make one; its value is printed once and kept nowhere')
    .requiredOption('--name <name>', 'what it is for')
    .requiredOption('--scope <scope...>', scopeNames.join(', '), parseScope)
    .option('--expires <days>', 'such as 30d, at most 366d', parseDays, DEFAULT_DAYS)
    .addOption(dataOption())
    .option('--json', 'one line of JSON')
    .action(create)
  tokens
    .command('list')
    .description('live tokens, and when each was last used')
    .addOption(dataOption())
    .option('--json', 'one line of JSON')
    .action(list)
  tokens
    .command('revoke')
    .description('end one; it acts within seconds')
    .argument('<id>', 'tok_…')
    .addOption(dataOption())
    .option('--json', 'one line of JSON')
    .action(revoke)
}

async function create(options: CreateOptions): Promise<void> {
  const { gateway, session } = signedInPerson(options.data)
  const { name, scope, expires } = options
  const made = await ask(gateway, '/v1/tokens', newTokenAnswer, {
    session,
    method: 'POST',
    body: { name, scopes: scope, expiresInDays: expires },
  })
  if (options.json === true) {
    printJson(made)
    return
  }
  print(made.value)
  const { id, expiresAt } = made.token
  note(`${id} until ${expiresAt}: keep the value now, it is shown once. To end it:`)
  note(bmm(`tokens revoke ${id}`, options.data))
}

async function list(options: Common): Promise<void> {
  const { gateway, session } = signedInPerson(options.data)
  const { tokens } = await ask(gateway, '/v1/tokens', tokensAnswer, { session })
  if (options.json === true) printJson({ tokens })
  else if (tokens.length === 0) print('no service tokens yet: ./bmm tokens create --help')
  else {
    print(
      table(
        tokens.map(({ id, name, scopes, expiresAt, lastUsedAt = 'never' }) => [
          id,
          name,
          scopes.join(' '),
          `until ${expiresAt.slice(0, 10)}`,
          `last used ${lastUsedAt}`,
        ]),
      ),
    )
  }
}

async function revoke(id: string, options: Common): Promise<void> {
  const { gateway, session } = signedInPerson(options.data)
  await send(gateway, `/v1/tokens/${encodeURIComponent(id)}`, { session, method: 'DELETE' })
  if (options.json === true) printJson({ revoked: id })
  else print(`${id} is revoked`)
}

/** For commander, which calls it for each word: one scope or several parted by commas. */
function parseScope(text: string, before: string[] = []): string[] {
  const scopes = text.split(',')
  const unknown = scopes.find((scope) => !isScope(scope))
  if (unknown === undefined) return [...new Set([...before, ...scopes])]
  throw new InvalidArgumentError(`Scopes are ${scopeNames.join(', ')}.`)
}

function parseDays(text: string): number {
  const days = Number(/^(\d{1,3})d$/.exec(text)?.[1] ?? 0)
  if (days >= 1 && days <= MAX_DAYS) return days
  throw new InvalidArgumentError(`A life is 1d to ${MAX_DAYS}d.`)
}
