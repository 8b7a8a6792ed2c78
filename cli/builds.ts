/** `builds`, `logs` and `refusals`: what happened while a server was made, and what its tools say and want. */
import {
  type BuildAnswer,
  buildAnswer,
  type LogLineAnswer,
  logLineAnswer,
  logPageAnswer,
  refusalsAnswer,
} from '@bmm/spec/rest-answer'
import type { Command } from 'commander'
import { z } from 'zod'
import { ask, send } from './api.ts'
import { buildFault, followBuild } from './build-progress.ts'
import { failed } from './fault.ts'
import { note, oneLine, print, printJson, table } from './output.ts'
import { buildArgument, serverArgument } from './server-argument.ts'
import { serverOf } from './servers.ts'
import { type SignedIn, signedIn } from './session.ts'
import { dataOption } from './up.ts'

type Common = { data: string; json?: boolean }

/** A broken connection is taken up again after this. */
const RECONNECT_MS = 1_000

/** Adds the commands to the program. */
export function addBuildCommands(program: Command): void {
  const builds = program.command('builds').description('builds of servers').helpCommand(false)
  builds
    .command('show')
    .description('a build with its steps')
    .addArgument(buildArgument())
    .addOption(dataOption())
    .option('--json', 'one line of JSON')
    .action(show)
  builds
    .command('cancel')
    .description('cancel a build that has not deployed')
    .addArgument(buildArgument())
    .addOption(dataOption())
    .option('--json', 'one line of JSON')
    .action(cancel)
  builds
    .command('retry')
    .description('run a build that failed or was cancelled again, from the same confirmed bytes')
    .addArgument(buildArgument())
    .addOption(dataOption())
    .option('--json', 'one line of JSON')
    .action(retry)
  program
    .command('logs')
    .description('what the tools of a server log, and what happens to its sandboxes')
    .addArgument(serverArgument())
    .option('--follow', 'go on until Ctrl-C')
    .addOption(dataOption())
    .option('--json', 'one JSON a line')
    .action(logs)
  program
    .command('refusals')
    .description('what the tools of a server wanted to send and was not let out, newest first')
    .addArgument(serverArgument())
    .addOption(dataOption())
    .option('--json', 'one line of JSON')
    .action(refusals)
}

async function show(reference: string, options: Common): Promise<void> {
  const access = signedIn(options.data)
  const id = await buildIdOf(reference, access)
  printBuild(await ask(access.gateway, `/v1/builds/${id}`, buildAnswer, access), options)
}

async function cancel(reference: string, options: Common): Promise<void> {
  printBuild(await act('cancel', reference, signedIn(options.data)), options)
}

/** Follows the build that it starts: the exit code says how that ended. */
async function retry(reference: string, options: Common): Promise<void> {
  const access = signedIn(options.data)
  const { id } = await act('retry', reference, access)
  const build = await followBuild(id, access, note)
  if (build.state !== 'succeeded') throw buildFault(build)
  printBuild(build, options)
}

async function act(
  verb: 'cancel' | 'retry',
  reference: string,
  access: SignedIn,
): Promise<BuildAnswer> {
  const id = await buildIdOf(reference, access)
  const path = `/v1/builds/${id}/${verb}`
  return ask(access.gateway, path, buildAnswer, { ...access, method: 'POST' })
}

async function buildIdOf(reference: string, access: SignedIn): Promise<string> {
  if (reference.startsWith('bld_')) return encodeURIComponent(reference)
  const { latestBuildId } = await serverOf(reference, access)
  if (latestBuildId === '') throw failed('build_not_found', `${reference} has no build.`)
  return latestBuildId
}

function printBuild(build: BuildAnswer, options: Common): void {
  if (options.json === true) {
    printJson(build)
    return
  }
  print(`${build.id}  version ${build.version}  ${build.state}`)
  if (build.steps.length > 0) {
    print(table(build.steps.map((each) => [each.step, each.state, `${each.elapsedMs} ms`])))
  }
  if (build.message !== '') print(`${build.reason}: ${build.message}`)
}

async function refusals(slug: string, options: Common): Promise<void> {
  const access = signedIn(options.data)
  const path = `/v1/servers/${encodeURIComponent(slug)}/refusals`
  const found = await ask(access.gateway, path, refusalsAnswer, access)
  if (options.json === true) printJson(found)
  else if (found.refusals.length === 0) print('nothing was refused')
  else print(table(found.refusals.map((each) => [each.at, each.method, each.host, each.message])))
}

async function logs(slug: string, options: Common & { follow?: boolean }): Promise<void> {
  const access = signedIn(options.data)
  const path = `/v1/servers/${encodeURIComponent(slug)}/logs`
  const page = await ask(access.gateway, path, logPageAnswer, access)
  for (const line of page.lines) printLine(line, options)
  if (options.follow !== true) return
  let cursor = page.nextCursor
  for (;;) {
    const follow = `${path}/follow?cursor=${cursor}`
    const response = await send(access.gateway, follow, {
      ...access,
      signal: new AbortController().signal,
    })
    for await (const line of eventsOf(response)) {
      cursor = line.seq
      printLine(line, options)
    }
    await Bun.sleep(RECONNECT_MS)
  }
}

/** The log lines in a stream of server-sent events; ends when the connection does. */
async function* eventsOf(response: Response): AsyncGenerator<LogLineAnswer> {
  if (response.body === null) return
  const decoder = new TextDecoder()
  let rest = ''
  try {
    for await (const chunk of response.body) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) {
        if (line.startsWith('data: ')) yield logLineAnswer.parse(JSON.parse(line.slice(6)))
      }
    }
  } catch (error) {
    // A connection that breaks off is taken up again; a line that is no log line is a bug.
    if (error instanceof z.ZodError) throw error
  }
}

function printLine(line: LogLineAnswer, options: Common): void {
  if (options.json === true) printJson(line)
  else print(`${line.at} ${line.level.padEnd(8)} ${line.tool ?? '-'}  ${oneLine(line.message)}`)
}
