/** `servers`: creating, looking at, pausing and deleting hosted MCP servers. */

import { slugReservation } from '@bmm/spec/reserved-words'
import { slugFault } from '@bmm/spec/resource-url'
import {
  type CredentialAnswer,
  credentialsAnswer,
  deletionAnswer,
  type ServerAnswer,
  serverAnswer,
  serversAnswer,
  toolsAnswer,
} from '@bmm/spec/rest-answer'
import { type Command, Option } from 'commander'
import { ask } from './api.ts'
import { readCredentials } from './credential-value.ts'
import { addReadingOptions, openApiOption } from './draft.ts'
import { misused } from './fault.ts'
import { bmm } from './hint.ts'
import { note, print, printJson, table } from './output.ts'
import { serverArgument } from './server-argument.ts'
import { createServer, type SourceOptions } from './server-creation.ts'
import { type SignedIn, signedIn } from './session.ts'
import { dataOption } from './up.ts'

const PAGE = 100
type Common = { data: string; json?: boolean }

/** Adds the commands to the program. */
export function addServerCommands(program: Command): void {
  const servers = program.command('servers').description('hosted MCP servers').helpCommand(false)
  addReadingOptions(
    servers
      .command('create')
      .description('a live server from an OpenAPI document, or from a spec written by hand')
      .option(...openApiOption)
      .option(
        '--spec <file>',
        'a spec as in spec/server-spec.ts instead, with tools in TypeScript',
      ),
  )
    .requiredOption('--slug <slug>', 'its name in the address; for ever', parseSlug)
    .addOption(
      new Option('--access <who>', 'who may call it once signed in: your organisation, or anyone')
        .choices(['org', 'anyone'])
        .default('org'),
    )
    .option('--credential <name=source...>', 'NAME=@FILE, NAME=- (standard input) or NAME=VALUE')
    .addOption(dataOption())
    .option('--json', 'one line of JSON')
    .action(create)
  for (const [name, description, action] of [
    ['show', 'a server and its credentials', show],
    ['tools', 'the tools of a server, with the first line of what each does', tools],
    ['pause', 'stop serving; tokens end', pause],
    ['resume', 'serve the same version again', resume],
  ] as const) {
    servers
      .command(name)
      .description(description)
      .addArgument(serverArgument())
      .addOption(dataOption())
      .option('--json', 'one line of JSON')
      .action(action)
  }
  servers
    .command('list')
    .description('the servers of your organisation, newest first')
    .addOption(dataOption())
    .option('--json', 'one line of JSON')
    .action(list)
  servers
    .command('delete')
    .description('delete a server and everything of it; its slug is never given away again')
    .addArgument(serverArgument())
    .option('--yes', 'I know that it cannot be undone')
    .addOption(dataOption())
    .option('--json', 'one line of JSON')
    .action(remove)
}

function parseSlug(text: string): string {
  const fault = slugFault(text) ?? slugReservation(text)
  if (fault !== undefined) throw misused(fault)
  return text
}

async function create(
  options: Common &
    SourceOptions & { slug: string; access: 'org' | 'anyone'; credential?: string[] },
): Promise<void> {
  const credentials = readCredentials(options.credential ?? [])
  const access = signedIn(options.data)
  const created = await createServer({ ...options, credentials }, access, note)
  if (options.json === true) {
    printJson(created)
    return
  }
  print(created.url)
  print(`${created.tools.length} tools, version ${created.version}, ${created.elapsedMs.total} ms`)
  const missing = (await credentialsOf(created.slug, access)).filter(
    (credential) => !credential.stored && !credential.optional,
  )
  for (const { name } of missing) {
    const set = bmm(`credentials set ${created.slug} ${name}=-`, options.data)
    note(`${name} has no value yet: ${set}`)
  }
}

async function list(options: Common): Promise<void> {
  const { gateway, session } = signedIn(options.data)
  const found: ServerAnswer[] = []
  let cursor = ''
  do {
    const query = new URLSearchParams({
      limit: String(PAGE),
      ...(cursor === '' ? {} : { cursor }),
    })
    const page = await ask(gateway, `/v1/servers?${query}`, serversAnswer, { session })
    found.push(...page.servers)
    cursor = page.nextCursor ?? ''
  } while (cursor !== '')
  if (options.json === true) printJson({ servers: found })
  else if (found.length === 0) print('no servers yet: ./bmm servers create --help')
  else print(table(found.map((each) => [each.slug, each.state, `v${each.version}`, each.url])))
}

async function show(slug: string, options: Common): Promise<void> {
  const access = signedIn(options.data)
  const server = await serverOf(slug, access)
  const credentials = await credentialsOf(slug, access)
  if (options.json === true) {
    printJson({ ...server, credentials })
    return
  }
  printServer(server)
  if (credentials.length > 0) print(`\n${credentialTable(credentials)}`)
}

async function tools(slug: string, options: Common): Promise<void> {
  const { gateway, session } = signedIn(options.data)
  const path = `/v1/servers/${encodeURIComponent(slug)}/tools`
  const found = await ask(gateway, path, toolsAnswer, { session })
  if (options.json === true) printJson(found)
  else print(table(found.tools.map((tool) => [tool.name, firstLine(tool.description)])))
}

function firstLine(text: string): string {
  return text.trim().split(/\r?\n/, 1)[0] ?? ''
}

async function pause(slug: string, options: Common): Promise<void> {
  const { gateway, session } = signedIn(options.data)
  const path = `/v1/servers/${encodeURIComponent(slug)}/pause`
  done(await ask(gateway, path, serverAnswer, { session, method: 'POST' }), options)
}

async function resume(slug: string, options: Common): Promise<void> {
  const access = signedIn(options.data)
  const { specDigest } = await serverOf(slug, access)
  const path = `/v1/servers/${encodeURIComponent(slug)}/resume`
  const body = { specDigest }
  done(await ask(access.gateway, path, serverAnswer, { ...access, method: 'POST', body }), options)
}

async function remove(slug: string, options: Common & { yes?: boolean }): Promise<void> {
  if (options.yes !== true) {
    throw misused(`Deleting ${slug} cannot be undone, and its slug is gone for ever: add --yes.`)
  }
  const { gateway, session } = signedIn(options.data)
  const path = `/v1/servers/${encodeURIComponent(slug)}`
  const { finished } = await ask(gateway, path, deletionAnswer, { session, method: 'DELETE' })
  if (options.json === true) printJson({ deleted: slug, finished })
  else print(finished ? `${slug} is gone` : `${slug} is being deleted; that goes on by itself`)
}

/** A server by slug or id. */
export async function serverOf(
  slug: string,
  { gateway, session }: SignedIn,
): Promise<ServerAnswer> {
  return ask(gateway, `/v1/servers/${encodeURIComponent(slug)}`, serverAnswer, { session })
}

/** What a server needs and what is stored. */
export async function credentialsOf(
  slug: string,
  { gateway, session }: SignedIn,
): Promise<CredentialAnswer[]> {
  const path = `/v1/servers/${encodeURIComponent(slug)}/credentials`
  return (await ask(gateway, path, credentialsAnswer, { session })).credentials
}

/** Credentials as columns; values never come back. */
export function credentialTable(credentials: CredentialAnswer[]): string {
  return table(
    credentials.map(({ name, destination, stored, optional, lastFour }) => [
      name,
      stored
        ? `set${lastFour === undefined ? '' : ` …${lastFour}`}`
        : optional
          ? 'optional'
          : 'MISSING',
      `as ${destination.scheme}${destination.parameter === undefined ? '' : ` ${destination.parameter}`}`,
      `to ${destination.origins.join(', ')}`,
    ]),
  )
}

function done(server: ServerAnswer, options: Common): void {
  if (options.json === true) printJson(server)
  else print(`${server.slug} is ${server.state}`)
}

function printServer(server: ServerAnswer): void {
  print(
    table([
      ['name', server.name],
      ['slug', server.slug],
      ['id', server.id],
      ['state', server.state],
      ['version', String(server.version)],
      ['tools', String(server.tools)],
      ['access', JSON.stringify(server.access)],
      ['url', server.url],
      ['created', server.createdAt],
      ['build', server.latestBuildId],
    ]),
  )
}
