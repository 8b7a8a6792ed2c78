/** The process that runs a stack: takes its lock, starts it, keeps it running, and takes it along when it ends. */
import { writeSync } from 'node:fs'
import { join } from 'node:path'
import { listenAddresses, listenerName } from '@bmm/lib/listen-addresses'
import { createLog } from '@bmm/lib/log'
import { CommandFault } from '../fault.ts'
import { type ChildEvent, StartFault } from './child.ts'
import { type Lock, tryLock } from './lock.ts'
import { rotateLogs } from './log-file.ts'
import { type DecidedOptions, decidedOptionsSchema } from './options.ts'
import { openStackPaths } from './paths.ts'
import { type Report, type StackEvent, writeReport, writeSupervisorPid } from './report.ts'
import { startStack } from './stack.ts'
import { sweep } from './sweep.ts'
import { claimUserIds } from './user-ids.ts'

/** Descriptor that the starting command reads; standard output goes to the supervisor's log. */
const EVENTS = 3
const reaper = join(import.meta.dir, 'reaper.ts')
const LOCK_ATTEMPTS = 20
const LOCK_STEP_MS = 25
const log = createLog('supervisor')

/** Returns when the stack is down again. */
async function supervise(options: DecidedOptions): Promise<void> {
  const paths = openStackPaths(options.data)
  using lock: Lock | undefined = await takeLock(paths.lock)
  if (lock === undefined) {
    emit({ kind: 'failed', code: 'already_running', message: `A stack runs on ${paths.data}.` })
    process.exitCode = 1
    return
  }
  writeSupervisorPid(paths)
  const stopping = stopSignal()
  const users = claimUserIds(paths.data)
  await sweep(paths, users)
  using _reaper = startReaper(paths.data)
  try {
    const stack = await startStack(paths, users, options, {
      progress: (line) => emit({ kind: 'progress', line }),
      childEvent: logChildEvent,
      stopping,
    })
    using _rotation = rotateLogs(paths.logs, [...stack.logs, 'supervisor'], (fault) =>
      log.warn(fault),
    )
    const report: Report = {
      gateway: stack.facts.publicUrl,
      grpc: `localhost:${stack.facts.grpcPort}`,
      listen: listenAddresses(stack.facts.passed.BMM_LISTEN).map(({ hostname }) =>
        listenerName(hostname, stack.facts.port),
      ),
      mailbox: stack.facts.mailbox ?? null,
      data: paths.data,
      driver: options.chosen.driver,
      why: options.chosen.why,
      pid: process.pid,
    }
    writeReport(paths, report)
    emit({ kind: 'ready', report })
    await aborted(stopping)
    emit({ kind: 'progress', line: 'stopping' })
    await stack.stop()
  } catch (error) {
    emit({ kind: 'failed', ...faultOf(error) })
    process.exitCode = 1
  } finally {
    await sweep(paths, users)
  }
}

/** Commands that only look whether the lock is held take it for an instant: so one refusal says nothing yet. */
async function takeLock(path: string): Promise<Lock | undefined> {
  for (let attempt = 0; attempt < LOCK_ATTEMPTS; attempt++) {
    const lock = tryLock(path)
    if (lock !== undefined) return lock
    await Bun.sleep(LOCK_STEP_MS)
  }
  return undefined
}

/** A shell that waits for the end of a pipe, which comes however this process dies, then sweeps after it. */
function startReaper(data: string): Disposable {
  const sweeping = [process.execPath, '--no-env-file', '--no-install', reaper, data]
  const shell = Bun.spawn(['sh', '-c', 'cat > /dev/null; exec "$@"', 'bmm', ...sweeping], {
    cwd: '/',
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  })
  return { [Symbol.dispose]: () => shell.kill('SIGKILL') }
}

/** To whoever started the stack and to the log; the first may be gone. */
function emit(event: StackEvent): void {
  log.info(event)
  try {
    writeSync(EVENTS, `${JSON.stringify(event)}\n`)
  } catch {
    // A detached stack outlives the command that started it.
  }
}

function logChildEvent(event: ChildEvent): void {
  if (event.kind === 'started') log.info(event)
  else log.warn(event)
}

function faultOf(error: unknown): { code: string; message: string } {
  if (error instanceof CommandFault) return { code: error.code, message: error.message }
  if (error instanceof StartFault) return { code: 'start_failed', message: error.message }
  log.error({ fault: error instanceof Error ? (error.stack ?? error.message) : String(error) })
  const message = error instanceof Error ? error.message : String(error)
  return { code: 'start_failed', message: `The stack did not start: ${message}` }
}

function stopSignal(): AbortSignal {
  const controller = new AbortController()
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    process.on(signal, () => controller.abort())
  }
  return controller.signal
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return
  const { promise, resolve } = Promise.withResolvers<void>()
  signal.addEventListener('abort', () => resolve(), { once: true })
  await promise
}

await supervise(decidedOptionsSchema.parse(await Bun.stdin.json()))
process.exit()
