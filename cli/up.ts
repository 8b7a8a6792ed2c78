/** `up` and `down`: the whole platform on this machine. */
import { type Command, InvalidArgumentError, Option } from 'commander'
import { z } from 'zod'
import { defaultData, environment, keepLoopbackDirect } from './config.ts'
import { CommandFault, failed } from './fault.ts'
import { note, print, printJson } from './output.ts'
import { chooseDriver } from './stack/driver.ts'
import { installPrograms, requireOpenCheckout } from './stack/install.ts'
import { launchSupervisor, type Supervisor } from './stack/launch.ts'
import { givenSettings, stackOptions } from './stack/options.ts'
import { findStackPaths, openStackPaths, type StackPaths } from './stack/paths.ts'
import { requireSamePublicUrl } from './stack/public-url.ts'
import { type Report, stackState, supervisorPid } from './stack/report.ts'
import { findSettings } from './stack/settings.ts'
import { sweepUnused } from './stack/sweep.ts'

const STOP_TIMEOUT_MS = 90_000
const START_TIMEOUT_MS = 180_000
/** How often another command may win the race for a stack and then fail to start it. */
const MAX_JOINS = 3
const POLL_MS = 50
const HEALTH_TIMEOUT_MS = 3_000
const MAX_PORT = 65535
const FIRST_UNPRIVILEGED_PORT = 1024

export type UpOptions = { data: string; port?: number; detach?: boolean; json?: boolean }

/** Adds the commands to the program. */
export function addStackCommands(program: Command): void {
  program
    .command('up')
    .description('start the platform on this machine, or say that it runs')
    .addOption(dataOption())
    .option('--port <n>', 'port of the first start, 0 for any free one; kept afterwards', parsePort)
    .option('--detach', 'return when everything is healthy, and leave it running')
    .option('--json', 'one line of JSON when everything is healthy')
    .action(up)
  program
    .command('down')
    .description('stop what "up" started, and only that')
    .addOption(dataOption())
    .option('--json', 'one line of JSON')
    .action(down)
}

/** The option that every command about a local stack has. */
export function dataOption(): Option {
  return new Option('--data <dir>', 'data directory').default(defaultData, '.bmm')
}

async function up(options: UpOptions): Promise<void> {
  const { report, supervisor } = await joinStack({ ...options, tied: options.detach !== true })
  if (supervisor === undefined) {
    note(`already running: ${report.gateway}`)
    for (const warning of await warningsOf(options.data)) note(`warning: ${warning}`)
    const given = givenSettings(environment()).join(', ')
    if (given !== '') note(`read at a start only: ${given} (./bmm down first, to change settings)`)
    printReport(report, options)
    return
  }
  if (options.detach === true) {
    printReport(report, options)
    return
  }
  // Before the report: whoever reads it may stop the stack at once.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => supervisor.stop())
  }
  printReport(report, options)
  note('Ctrl-C stops it.')
  const code = await supervisor.exited
  if (code !== 0) throw failed('supervisor_ended', `The supervisor ended with exit code ${code}.`)
}

/** The stack that runs or is just starting, else a new one; of several commands at once, one starts it. */
export async function joinStack(
  options: UpOptions & { tied: boolean },
): Promise<{ report: Report; supervisor?: Supervisor }> {
  for (let joins = 1; ; joins++) {
    const running = await runningStack(options)
    if (running !== undefined) return { report: running }
    try {
      return await startStack(options)
    } catch (error) {
      const lost = error instanceof CommandFault && error.code === 'already_running'
      if (!lost || joins === MAX_JOINS) throw error
    }
  }
}

/** The report of a running stack, waiting for one that is just starting; undefined when none runs. */
async function runningStack(options: UpOptions): Promise<Report | undefined> {
  const paths = findStackPaths(options.data)
  if (paths === undefined) return undefined
  const deadline = Date.now() + START_TIMEOUT_MS
  for (let told = false; Date.now() < deadline; await Bun.sleep(POLL_MS)) {
    const state = stackState(paths)
    if (state.kind === 'down') return undefined
    if (state.kind === 'up') {
      requireSamePort(options, paths)
      const given = environment().BMM_PUBLIC_URL
      requireSamePublicUrl(paths.data, given === '' ? undefined : given)
      return state.report
    }
    if (!told) note('another command is starting this stack: waiting for it')
    told = true
  }
  throw failed('start_timeout', `The stack on ${paths.data} does not get ready; see ${paths.logs}.`)
}

/** Installs what is missing and starts a supervisor; `tied` to this process or on its own. */
async function startStack(
  options: UpOptions & { tied: boolean },
): Promise<{ report: Report; supervisor: Supervisor }> {
  if (process.getuid?.() !== 0) {
    throw failed(
      'not_root',
      'Each service and each sandbox gets a user of its own, which takes root: run ./bmm as root.',
    )
  }
  const stack = stackOptions({ data: options.data, port: options.port }, environment())
  requireOpenCheckout()
  const paths = openStackPaths(options.data)
  const { driver } = stack.sandboxes
  const bwrap = driver === undefined ? 'wanted' : driver === 'bwrap' ? 'needed' : 'no'
  await installPrograms({ redis: stack.redisUrl === undefined, bwrap }, note)
  const chosen = await chooseDriver(stack.sandboxes)
  note(`sandboxes by ${chosen.driver}: ${chosen.why}`)
  note(`starting on ${paths.data}`)
  const supervisor = launchSupervisor(
    paths,
    { ...stack, chosen, data: paths.data },
    { tied: options.tied, progress: note },
  )
  const interrupt = () => supervisor.stop()
  process.on('SIGINT', interrupt)
  process.on('SIGTERM', interrupt)
  try {
    return { report: await supervisor.ready, supervisor }
  } catch (error) {
    await supervisor.exited
    throw error
  } finally {
    process.off('SIGINT', interrupt)
    process.off('SIGTERM', interrupt)
  }
}

const readySchema = z.object({ warnings: z.array(z.string()).default([]) })

/** What the running gateway wants the operator to know; nothing where it does not answer. */
async function warningsOf(data: string): Promise<string[]> {
  const port = findSettings(findStackPaths(data)?.data ?? data)?.port
  if (port === undefined) return []
  try {
    keepLoopbackDirect()
    const answer = await fetch(`http://127.0.0.1:${port}/health/ready`, {
      signal: AbortSignal.timeout(HEALTH_TIMEOUT_MS),
    })
    return readySchema.parse(await answer.json()).warnings
  } catch {
    return []
  }
}

async function down(options: { data: string; json?: boolean }): Promise<void> {
  const paths = findStackPaths(options.data)
  const stopped = paths !== undefined && (await stopStack(paths))
  if (options.json === true) printJson({ stopped, data: paths?.data ?? options.data })
  else print(stopped ? 'stopped' : `nothing runs on ${paths?.data ?? options.data}`)
}

/** Whether a stack ran; removes what a killed one left behind either way. */
async function stopStack(paths: StackPaths): Promise<boolean> {
  const pid = supervisorPid(paths)
  if (pid !== undefined) {
    process.kill(pid, 'SIGTERM')
    const deadline = Date.now() + STOP_TIMEOUT_MS
    while (supervisorPid(paths) === pid) {
      if (Date.now() > deadline) {
        process.kill(pid, 'SIGKILL')
        break
      }
      await Bun.sleep(POLL_MS)
    }
  }
  if (process.getuid?.() === 0 && findSettings(paths.data) !== undefined) await sweepUnused(paths)
  return pid !== undefined
}

function requireSamePort(options: UpOptions, paths: StackPaths): void {
  const kept = findSettings(paths.data)?.port
  if (options.port === undefined || options.port === 0 || options.port === kept) return
  throw failed(
    'port_fixed',
    `The stack on ${paths.data} runs on port ${kept}, which every token and client contains: leave --port out, or start another stack with --data.`,
  )
}

function printReport(report: Report, options: UpOptions): void {
  const { gateway, grpc, listen, mailbox, data, driver, why } = report
  if (options.json === true) {
    printJson({ gateway, grpc, listen, mailbox, data, driver })
    return
  }
  print(`gateway  ${gateway}`)
  print(`grpc     ${grpc}`)
  if (mailbox !== null) print(`mailbox  ${mailbox}`)
  print(`data     ${data}`)
  print(`driver   ${driver} (${why})`)
}

/** For commander: a TCP port, or 0. */
function parsePort(text: string): number {
  const port = Number(text)
  const known = /^\d{1,5}$/.test(text) && port <= MAX_PORT
  if (known && (port === 0 || port >= FIRST_UNPRIVILEGED_PORT)) return port
  throw new InvalidArgumentError(
    'A port is 0 for any free one, or from 1024 to 65535: the gateway runs without privileges.',
  )
}
