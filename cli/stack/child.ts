/** A process that is kept running: started, watched, started again with back-off, and stopped. */
import { closeSync, openSync } from 'node:fs'
import { CONFIG_EXIT_CODE, CONFIG_FAULT } from '@bmm/lib/env'
import { errorFrom } from '@bmm/lib/errors'
import { pause } from '@bmm/lib/pause'
import { closeQuietly, openLog, tailOf } from './log-file.ts'

const READY_POLL_MS = 25
const FIRST_BACKOFF_MS = 100
const MAX_BACKOFF_MS = 5_000
/** What is broken ends while it starts; a process that ran this long was hit from outside and returns at once. */
const STEADY_MS = 5_000
/** Before it was ever ready: this many ends make the start of the stack fail. */
const MAX_EARLY_ENDS = 6

export type ChildSpec = {
  name: string
  command: string[]
  env: Record<string, string>
  cwd: string
  /** Files that it reads from descriptors 3 and up. */
  files: string[]
  /** What it reads from standard input. */
  input?: string
  /** Why it is not ready yet, or undefined when it is. */
  fault: () => Promise<string | undefined>
  readyTimeoutMs: number
  stopSignal: NodeJS.Signals
  stopTimeoutMs: number
}

export type ChildEvent =
  | { kind: 'started'; name: string; pid: number }
  | { kind: 'ended'; name: string; how: string; againInMs: number }

export type Child = {
  name: string
  /** Settles when it is ready for the first time; rejects with StartFault when it will not be. */
  firstReady: Promise<void>
  stop(): Promise<void>
}

/** The process did not become ready; the message holds the end of its log. */
export class StartFault extends Error {
  override name = 'StartFault'
}

/** Pure: how long to wait before the next start, after so many ends in a row. */
export function backoffMs(endsInARow: number): number {
  return Math.min(FIRST_BACKOFF_MS * 2 ** Math.max(0, endsInARow - 1), MAX_BACKOFF_MS)
}

/** Starts the process and keeps it running until it is stopped. */
export function keepRunning(
  spec: ChildSpec,
  logs: string,
  onEvent: (event: ChildEvent) => void,
): Child {
  const stopping = new AbortController()
  let current: Bun.Subprocess | undefined
  let everReady = false
  const first = Promise.withResolvers<void>()

  async function watch(): Promise<void> {
    let endsInARow = 0
    while (!stopping.signal.aborted) {
      const startedAt = performance.now()
      const how = await runOnce()
      if (stopping.signal.aborted) return
      if (!everReady && how === `exit code ${CONFIG_EXIT_CODE}`) {
        first.reject(new StartFault(`${spec.name} did not start. ${configFault(logs, spec.name)}`))
        return
      }
      endsInARow = performance.now() - startedAt > STEADY_MS ? 1 : endsInARow + 1
      if (!everReady && endsInARow >= MAX_EARLY_ENDS) {
        first.reject(startFault(spec, logs, `it ended ${endsInARow} times`))
        return
      }
      const againInMs = backoffMs(endsInARow)
      onEvent({ kind: 'ended', name: spec.name, how, againInMs })
      await pause(againInMs, stopping.signal)
    }
  }

  /** How it ended, or why it could not be started: for want of memory, processes or room on the disk. */
  async function runOnce(): Promise<string> {
    try {
      current = spawn(spec, logs)
    } catch (error) {
      return errorFrom(error).message
    }
    onEvent({ kind: 'started', name: spec.name, pid: current.pid })
    const code = await current.exited
    return String(current.signalCode ?? `exit code ${code}`)
  }

  async function awaitReady(): Promise<void> {
    const deadline = performance.now() + spec.readyTimeoutMs
    while (!stopping.signal.aborted) {
      const fault = await spec.fault()
      if (fault === undefined) {
        everReady = true
        first.resolve()
        return
      }
      if (performance.now() > deadline) {
        first.reject(
          startFault(spec, logs, `not ready after ${spec.readyTimeoutMs / 1000} s (${fault})`),
        )
        return
      }
      await pause(READY_POLL_MS, stopping.signal)
    }
    first.reject(new StartFault(`${spec.name} was stopped before it was ready`))
  }

  const watching = watch()
  first.promise.catch(() => {})
  void awaitReady()
  return {
    name: spec.name,
    firstReady: first.promise,
    async stop() {
      stopping.abort()
      if (current !== undefined) await end(current, spec)
      await watching
    },
  }
}

function spawn(spec: ChildSpec, logs: string): Bun.Subprocess {
  const log = openLog(logs, spec.name)
  const files = spec.files.map((path) => openSync(path, 'r'))
  try {
    return Bun.spawn(spec.command, {
      cwd: spec.cwd,
      env: spec.env,
      stdio: [spec.input === undefined ? 'ignore' : new Blob([spec.input]), log, log, ...files],
      // A session of its own: Ctrl-C reaches only the supervisor, which stops its children in order.
      detached: true,
    })
  } finally {
    closeQuietly(log)
    for (const descriptor of files) closeSync(descriptor)
  }
}

async function end(process: Bun.Subprocess, spec: ChildSpec): Promise<void> {
  process.kill(spec.stopSignal)
  const timer = setTimeout(() => process.kill('SIGKILL'), spec.stopTimeoutMs)
  await process.exited
  clearTimeout(timer)
}

function startFault(spec: ChildSpec, logs: string, what: string): StartFault {
  const tail = tailOf(logs, spec.name)
  return new StartFault(
    `${spec.name} did not start: ${what}. The end of ${logs}/${spec.name}.log:\n${tail || '(empty)'}`,
  )
}

/** What the process wrote last: nothing but its faults. */
function configFault(logs: string, name: string): string {
  const tail = tailOf(logs, name)
  return tail.slice(Math.max(0, tail.lastIndexOf(CONFIG_FAULT)))
}
