/** `public-url`: the origin that people reach, and moving the whole platform to another. */
import type { Command } from 'commander'
import { failed, misused } from './fault.ts'
import { bmm } from './hint.ts'
import { print, printJson } from './output.ts'
import { isOrigin } from './stack/options.ts'
import { findStackPaths } from './stack/paths.ts'
import { findPublicUrl, movePublicUrl } from './stack/public-url.ts'
import { stackState } from './stack/report.ts'
import { findSettings } from './stack/settings.ts'
import { dataOption } from './up.ts'

type Common = { data: string; json?: boolean }

/** Adds the commands to the program. */
export function addPublicUrlCommands(program: Command): void {
  const family = program
    .command('public-url')
    .description('the address that people reach; kept in the data directory')
    .helpCommand(false)
  family
    .command('show')
    .description('the address, and those that it had before')
    .addOption(dataOption())
    .option('--json', 'one line of JSON')
    .action(show)
  family
    .command('set')
    .description('move the stopped platform to another address')
    .argument('<url>', 'an https origin such as https://mcp.example.com, or "localhost"')
    .addOption(dataOption())
    .option('--json', 'one line of JSON')
    .action(set)
}

function show(options: Common): void {
  const data = dataOf(options)
  const found = findPublicUrl(data)
  if (found === undefined) throw neverStarted(data)
  if (options.json === true) {
    printJson(found)
    return
  }
  print(found.publicUrl)
  for (const url of found.formerUrls) print(`before: ${url}`)
}

function set(text: string, options: Common): void {
  const data = dataOf(options)
  const port = findSettings(data)?.port
  if (port === undefined) throw neverStarted(data)
  const isLocal = text === 'localhost' || text === `http://localhost:${port}`
  if (!isLocal && !isOrigin(text)) {
    throw misused(
      'A public URL is an https:// origin without a path, such as https://mcp.example.com, or the word localhost.',
    )
  }
  const paths = findStackPaths(options.data)
  if (paths !== undefined && stackState(paths).kind !== 'down') {
    throw failed('stack_running', `The stack on ${data} is running: stop it first.`, {
      next: 'down',
    })
  }
  const { was, now } = movePublicUrl(data, isLocal ? null : text)
  const todo = was === now ? [] : whatChanges(now, port, options.data)
  if (options.json === true) {
    printJson({ publicUrl: now, was, todo })
    return
  }
  print(was === now ? `public URL ${now}, as before` : `public URL ${now} (was ${was})`)
  for (const line of todo) print(`- ${line}`)
}

/** What people have to do after a move: issuer and audience of every token contain the address. */
function whatChanges(now: string, port: number, data: string): string[] {
  return [
    `Start the platform: ${bmm('up --detach', data)} (BMM_PUBLIC_URL may be left out from now on).`,
    `Servers keep their slugs and settings and are served at ${now}/s/SLUG/mcp; nothing is built again.`,
    'Each MCP client: replace the URL of the server and sign in again. Its earlier tokens are refused.',
    'People sign in again in the browser. Service tokens and the session of this command line stay valid.',
    `Programs with OAuth clients made by "clients create" read the metadata of ${now} again.`,
    now.startsWith('https:')
      ? `The reverse proxy for ${now} passes requests to http://127.0.0.1:${port}, with the Host header as it came.`
      : 'A reverse proxy is no longer needed.',
  ]
}

function dataOf(options: Common): string {
  return findStackPaths(options.data)?.data ?? options.data
}

function neverStarted(data: string) {
  return failed('never_started', `No stack was ever started on ${data}.`, { next: 'up --detach' })
}
