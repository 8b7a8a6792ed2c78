/** The keeper: starts, stops and lists sandboxes for its one peer, the runner, and ends them all with that connection. */
import { chownSync } from 'node:fs'
import type { FrameConnection, FrameHandlers } from '@bmm/lib/frame-connection'
import { type FrameListener, listenFrames } from '@bmm/lib/frame-socket'
import { callIds, FRAME, type Frame, FrameFault, parseControl } from '@bmm/lib/frames'
import type { Log } from '@bmm/lib/log'
import { z } from 'zod'
import { chargeSchema, type SandboxExit, startSchema, stopSchema } from '../keeper-verbs.ts'
import type { SandboxClass } from '../sandbox/sandbox-limits.ts'
import { type Budgets, createBudgets } from './budget.ts'
import type { Driver, StartedSandbox } from './driver.ts'
import type { SlotOwners } from './slots.ts'

export type KeeperOptions = {
  socket: string
  owners: SlotOwners
  organisationCores: number
  driver: Driver
  log: Log
}

export type Keeper = {
  /** Ends the listener and every sandbox. */
  stop(): Promise<void>
}

type Running = {
  slot: number
  class: SandboxClass
  /** Undefined while it starts. */
  sandbox: StartedSandbox | undefined
  stopRequested: boolean
  charged: boolean
  /** Resolves when nothing of it is left. */
  gone: Promise<void>
}

export function startKeeper(options: KeeperOptions): Keeper {
  const { driver, log } = options
  const running = new Map<number, Running>()
  const budgets: Budgets = createBudgets(options.organisationCores, log)
  let peer: FrameConnection | undefined
  let listener: FrameListener | undefined

  function stopSlot(slot: number): Promise<void> {
    const entry = running.get(slot)
    if (!entry) return Promise.resolve()
    entry.stopRequested = true
    entry.sandbox?.kill()
    return entry.gone
  }

  async function stopAll(): Promise<void> {
    await Promise.all([...running.keys()].map(stopSlot))
  }

  /** A throw reaches the runner as a sentence; nothing of a failed start stays. */
  async function start(request: { class: SandboxClass; slot: number }): Promise<StartedSandbox> {
    const { slot } = request
    if (slot >= options.owners.slots) throw new Error(`there is no slot ${slot}`)
    const before = running.get(slot)
    if (before && !before.stopRequested) throw new Error(`slot ${slot} is taken`)
    const entry: Running = {
      ...{ slot, class: request.class, sandbox: undefined, stopRequested: false },
      charged: false,
      gone: Promise.resolve(),
    }
    // Known from this moment: a stop that comes right behind must find it.
    running.set(slot, entry)
    const starting = startAfter(before, entry)
    entry.gone = follow(entry, starting).finally(() => {
      if (running.get(slot) === entry) running.delete(slot)
    })
    return await starting
  }

  async function startAfter(before: Running | undefined, entry: Running): Promise<StartedSandbox> {
    if (before) await before.gone
    if (entry.stopRequested) throw new Error(`slot ${entry.slot} was stopped before it started`)
    return await driver.start(entry.slot, entry.class)
  }

  /** From the start of a sandbox to its end, of which the runner hears. */
  async function follow(entry: Running, starting: Promise<StartedSandbox>): Promise<void> {
    const sandbox = await starting.catch(() => undefined)
    if (sandbox === undefined) return
    entry.sandbox = sandbox
    if (entry.stopRequested) sandbox.kill()
    const { slot } = entry
    const exit: SandboxExit = { slot, pid: sandbox.pid, ...(await sandbox.gone) }
    log.info(exit, 'a sandbox has ended')
    peer?.sendControl(FRAME.KEEPER_EXITED, 0, exit)
  }

  /** Once: nobody's sandbox ever becomes another's. One that has just ended is nobody's concern. */
  function charge({ slot, organisation }: { slot: number; organisation: string }): void {
    const entry = running.get(slot)
    if (entry?.sandbox === undefined) return
    if (entry.charged) throw new FrameFault(`slot ${slot} is charged already`)
    entry.charged = true
    const leave = budgets.join(organisation, entry.sandbox)
    void entry.gone.finally(leave)
  }

  function answer(frame: Frame, connection: FrameConnection): void {
    const reply = (type: Frame['type'], value: unknown) => {
      if (!connection.sendControl(type, frame.call, value))
        connection.end('the runner does not read')
    }
    const refuse = (error: unknown) => {
      log.warn({ err: error }, 'a request of the runner failed')
      reply(FRAME.KEEPER_FAILED, {
        message: error instanceof Error ? error.message : String(error),
      })
    }
    if (frame.type === FRAME.KEEPER_START) {
      const request = parse(startSchema, frame)
      start(request).then(
        ({ pid }) => reply(FRAME.KEEPER_STARTED, { slot: request.slot, pid }),
        refuse,
      )
    } else if (frame.type === FRAME.KEEPER_STOP) {
      const { slot } = parse(stopSchema, frame)
      stopSlot(slot).then(() => reply(FRAME.KEEPER_STOPPED, { slot }), refuse)
    } else {
      const slots = [...running.values()].map((entry) => ({
        slot: entry.slot,
        pid: entry.sandbox?.pid ?? 0,
        class: entry.class,
      }))
      reply(FRAME.KEEPER_SLOTS, { slots })
    }
  }

  function onConnection(): FrameHandlers | undefined {
    if (peer) return undefined
    const ids = callIds()
    return {
      accept: [FRAME.KEEPER_START, FRAME.KEEPER_STOP, FRAME.KEEPER_LIST, FRAME.KEEPER_CHARGE],
      onOpen(connection) {
        peer = connection
        log.info('the runner has connected')
      },
      onFrame(frame, connection) {
        // Has no answer, so no number.
        if (frame.type === FRAME.KEEPER_CHARGE) return charge(parse(chargeSchema, frame))
        ids.admit(frame.call)
        answer(frame, connection)
      },
      onEnd(reason) {
        peer = undefined
        log.info({ reason, sandboxes: running.size }, 'the runner has gone: all sandboxes end')
        stopAll().catch((error) => log.error({ err: error }, 'sandboxes could not be ended'))
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
      budgets.stop()
    },
  }
}

function parse<Schema extends z.ZodType>(schema: Schema, frame: Frame): z.infer<Schema> {
  const parsed = schema.safeParse(parseControl(frame.payload))
  if (!parsed.success)
    throw new FrameFault(`a request is malformed: ${z.prettifyError(parsed.error)}`)
  return parsed.data
}
