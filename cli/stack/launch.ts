/** Starting a supervisor as a process of its own and listening to what it says until the stack is ready or over. */
import { join } from 'node:path'
import { checkout, environmentWithoutSecrets } from '../config.ts'
import { failed } from '../fault.ts'
import { closeQuietly, logFile, openLog, tailOf } from './log-file.ts'
import type { DecidedOptions } from './options.ts'
import type { StackPaths } from './paths.ts'
import { eventSchema, type Report, type StackEvent } from './report.ts'

const EVENTS = 3

export type Supervisor = {
  /** Settles when the stack is healthy; rejects with CommandFault when it cannot be. */
  ready: Promise<Report>
  /** The exit code, once everything has stopped. */
  exited: Promise<number>
  stop(): void
}

/** `tied`: the stack stops when this process ends, however it ends. */
export function launchSupervisor(
  paths: StackPaths,
  options: DecidedOptions,
  how: { tied: boolean; progress: (line: string) => void },
): Supervisor {
  const log = openLog(paths.logs, 'supervisor')
  const main = join(checkout, 'cli/stack/supervisor.ts')
  const bun = [process.execPath, '--no-env-file', '--no-install', main, paths.data]
  const child = Bun.spawn(how.tied ? ['setpriv', '--pdeathsig', 'SIGTERM', ...bun] : bun, {
    cwd: checkout,
    env: environmentWithoutSecrets(),
    // By standard input: addresses of databases hold passwords, and arguments are for everyone to read.
    stdio: [new Blob([JSON.stringify(options)]), log, log, 'pipe'],
    // A session of its own: Ctrl-C reaches the command, which asks the supervisor to stop.
    detached: true,
  })
  closeQuietly(log)
  return {
    ready: awaitReady(child, paths, how.progress),
    exited: child.exited,
    stop: () => child.kill('SIGTERM'),
  }
}

async function awaitReady(
  child: Bun.Subprocess,
  paths: StackPaths,
  progress: (line: string) => void,
): Promise<Report> {
  const { promise, resolve, reject } = Promise.withResolvers<Report>()
  const onEvent = (event: StackEvent) => {
    if (event.kind === 'progress') progress(event.line)
    else if (event.kind === 'ready') resolve(event.report)
    else reject(failed(event.code, event.message))
  }
  readEvents(child, onEvent).then(
    () =>
      reject(
        failed(
          'supervisor_ended',
          `The supervisor ended. The end of ${logFile(paths.logs, 'supervisor')}:\n${tailOf(paths.logs, 'supervisor')}`,
        ),
      ),
    reject,
  )
  return promise
}

async function readEvents(
  child: Bun.Subprocess,
  onEvent: (event: StackEvent) => void,
): Promise<void> {
  const descriptor = child.stdio[EVENTS]
  if (typeof descriptor !== 'number') throw new Error('the supervisor has no event channel')
  const decoder = new TextDecoder()
  let rest = ''
  for await (const chunk of Bun.file(descriptor).stream()) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) onEvent(eventSchema.parse(JSON.parse(line)))
  }
}
