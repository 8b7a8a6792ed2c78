/** The keeper: starts, stops and lists sandboxes for its one peer, the runner, and ends them all with that connection. */
import { chownSync, closeSync, constants, openSync, readSync, statSync } from 'node:fs'
import {
  type FrameConnection,
  type FrameHandlers,
  type FrameListener,
  listenFrames,
} from '@bmm/lib/frame-connection'
import { callIds, FRAME, type Frame, FrameFault, parseControl } from '@bmm/lib/frames'
import type { Log } from '@bmm/lib/log'
import type { Subprocess } from 'bun'
import { z } from 'zod'
import { type SandboxExit, startSchema, stopSchema } from '../keeper-verbs.ts'
import {
  type SandboxClass,
  sandboxClasses,
  sandboxLimits,
  slotDirectory,
} from '../sandbox-limits.ts'
import { launchCommand, type Programs } from './bwrap.ts'
import type { Cgroups } from './cgroups.ts'
import type { Rootfs } from './rootfs.ts'
import type { SlotOwners } from './slots.ts'

export interface KeeperOptions {
  socket: string
  owners: SlotOwners
  cgroups: Cgroups
  rootfs: Rootfs
  programs: Programs
  log: Log
}

export interface Keeper {
  /** Ends the listener and every sandbox. */
  stop(): Promise<void>
}

interface Running {
  slot: number
  class: SandboxClass
  process: Subprocess
  stopRequested: boolean
  /** Resolves when nothing of it is left. */
  gone: Promise<void>
}

const DETAIL_BYTES = 2_048

export function startKeeper(options: KeeperOptions): Keeper {
  const running = new Map<number, Running>()
  let peer: FrameConnection | undefined
  let listener: FrameListener | undefined

  function stopSlot(slot: number): Promise<void> {
    const sandbox = running.get(slot)
    if (!sandbox) return Promise.resolve()
    sandbox.stopRequested = true
    sandbox.process.kill('SIGKILL')
    return sandbox.gone
  }

  async function stopAll(): Promise<void> {
    await Promise.all([...running.keys()].map(stopSlot))
  }

  /** A throw reaches the runner as a sentence; nothing of a failed start stays. */
  async function start(request: { class: SandboxClass; slot: number }): Promise<Running> {
    const { slot } = request
    if (slot >= options.owners.slots) throw new Error(`there is no slot ${slot}`)
    const before = running.get(slot)
    if (before && !before.stopRequested) throw new Error(`slot ${slot} is taken`)
    await before?.gone
    if (running.has(slot)) throw new Error(`slot ${slot} is taken`)
    const child = spawn(options, request)
    const sandbox: Running = {
      slot,
      class: request.class,
      process: child.process,
      stopRequested: false,
      gone: Promise.resolve(),
    }
    sandbox.gone = settle(options, sandbox, child.errorFile).then((exit) => {
      running.delete(slot)
      peer?.sendControl(FRAME.KEEPER_EXITED, 0, exit)
    })
    running.set(slot, sandbox)
    return sandbox
  }

  function answer(frame: Frame, connection: FrameConnection): void {
    const reply = (type: Frame['type'], value: unknown) => {
      if (!connection.sendControl(type, frame.call, value))
        connection.end('the runner does not read')
    }
    const refuse = (error: unknown) => {
      options.log.warn({ err: error }, 'a request of the runner failed')
      reply(FRAME.KEEPER_FAILED, {
        message: error instanceof Error ? error.message : String(error),
      })
    }
    if (frame.type === FRAME.KEEPER_START) {
      start(parse(startSchema, frame)).then(
        ({ slot, process }) => reply(FRAME.KEEPER_STARTED, { slot, pid: process.pid }),
        refuse,
      )
    } else if (frame.type === FRAME.KEEPER_STOP) {
      const { slot } = parse(stopSchema, frame)
      stopSlot(slot).then(() => reply(FRAME.KEEPER_STOPPED, { slot }), refuse)
    } else {
      const slots = [...running.values()].map((s) => ({
        slot: s.slot,
        pid: s.process.pid,
        class: s.class,
      }))
      reply(FRAME.KEEPER_SLOTS, { slots })
    }
  }

  function onConnection(): FrameHandlers | undefined {
    if (peer) return undefined
    const ids = callIds()
    return {
      accept: [FRAME.KEEPER_START, FRAME.KEEPER_STOP, FRAME.KEEPER_LIST],
      onOpen(connection) {
        peer = connection
        options.log.info('the runner has connected')
      },
      onFrame(frame, connection) {
        ids.admit(frame.call)
        answer(frame, connection)
      },
      onEnd(reason) {
        peer = undefined
        options.log.info(
          { reason, sandboxes: running.size },
          'the runner has gone: all sandboxes end',
        )
        stopAll().catch((error) =>
          options.log.error({ err: error }, 'sandboxes could not be ended'),
        )
      },
    }
  }

  listener = listenFrames({ unix: options.socket, mode: 0o600, onConnection })
  chownSync(options.socket, options.owners.runnerUid, options.owners.runnerUid)
  return {
    async stop() {
      listener?.stop()
      peer?.end('the keeper stops')
      await stopAll()
    },
  }
}

function parse<Schema extends z.ZodType>(schema: Schema, frame: Frame): z.infer<Schema> {
  const parsed = schema.safeParse(parseControl(frame.payload))
  if (!parsed.success)
    throw new FrameFault(`a request is malformed: ${z.prettifyError(parsed.error)}`)
  return parsed.data
}

/** Nothing of it stays when it throws. */
function spawn(
  options: KeeperOptions,
  request: { class: SandboxClass; slot: number },
): { process: Subprocess; errorFile: string } {
  const { slot } = request
  const { processes, cpuPeriodUs, cpuQuotaUs } = sandboxLimits
  const { memoryBytes } = sandboxClasses[request.class]
  try {
    options.cgroups.create(slot, { memoryBytes, processes, cpuPeriodUs, cpuQuotaUs })
    return spawnInGroup(options, slot)
  } catch (error) {
    options.cgroups
      .destroy(slot)
      .catch((left) => options.log.error({ err: left, slot }, 'left over'))
    throw error
  }
}

function spawnInGroup(
  options: KeeperOptions,
  slot: number,
): { process: Subprocess; errorFile: string } {
  const { owners, programs, rootfs } = options
  // In the slot's parent, which only root changes: no link can be put in its way.
  const errorFile = `${owners.slotsDir}/${slot}/stderr`
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_APPEND
  const stderr = openSync(errorFile, flags | constants.O_NOFOLLOW, 0o600)
  try {
    const process = Bun.spawn({
      cmd: launchCommand({
        programs,
        rootfs: rootfs.path,
        seccompFile: rootfs.seccompFile,
        uid: owners.slotUidBase + slot,
        cgroupJoinFiles: options.cgroups.joinFiles(slot),
        callsDirectory: slotDirectory(owners.slotsDir, slot, 'c'),
        egressDirectory: slotDirectory(owners.slotsDir, slot, 'e'),
      }),
      cwd: '/',
      env: {},
      stdin: 'ignore',
      stdout: 'ignore',
      stderr,
    })
    return { process, errorFile }
  } finally {
    closeSync(stderr)
  }
}

/** Waits for the end of a sandbox, reads why, and removes what is left of it. */
async function settle(
  options: KeeperOptions,
  sandbox: Running,
  errorFile: string,
): Promise<SandboxExit> {
  const { cgroups, log } = options
  const { slot, process } = sandbox
  await process.exited
  const oom = cgroups.oomKills(slot) > 0
  const memoryPeakBytes = cgroups.memoryPeakBytes(slot)
  if (!(await cgroups.destroy(slot))) log.error({ slot }, 'a control group could not be emptied')
  const killed = sandbox.stopRequested || process.signalCode !== null
  const reason = oom ? 'oom' : killed ? 'killed' : 'exited'
  const status = process.signalCode ?? `exit code ${process.exitCode}`
  const exit: SandboxExit = {
    slot,
    pid: process.pid,
    reason,
    detail: `${status} ${tail(errorFile)}`.trim(),
    memoryPeakBytes,
  }
  log.info(exit, 'a sandbox has ended')
  return exit
}

function tail(path: string): string {
  const { size } = statSync(path)
  const bytes = new Uint8Array(Math.min(size, DETAIL_BYTES))
  const file = openSync(path, 'r')
  try {
    readSync(file, bytes, 0, bytes.length, size - bytes.length)
  } finally {
    closeSync(file)
  }
  return new TextDecoder().decode(bytes).trim()
}
