/** The slots as the broker knows them: a socket for one sandbox each, and later whose sandbox it is. */
import { rmSync } from 'node:fs'
import type { FrameConnection } from '@bmm/lib/frame-connection'
import { type FrameListener, listenFrames } from '@bmm/lib/frame-socket'
import type { Log } from '@bmm/lib/log'
import { SLOT_SOCKET_MODE, slotDirectory, slotFiles } from '../sandbox/sandbox-limits.ts'
import { clearSlotFiles, writeSlotFile } from '../sandbox/slot-files.ts'
import type { SandboxAnswers } from './answer-memory.ts'
import type { Assignment } from './outgoing.ts'
import { type SandboxRequest, sandboxLeg } from './sandbox-leg.ts'
import { type SandboxTurns, sandboxTurns } from './turns.ts'

export type Slot = SandboxAnswers & {
  readonly slot: number
  readonly token: string
  /** Undefined until the runner hands the sandbox over to a server. */
  assignment: Assignment | undefined
  turns: SandboxTurns
  listener: FrameListener | undefined
  connection: FrameConnection | undefined
}

export type SlotDesk = {
  /** Listens in the slot's directory for one sandbox with this token, instead of whatever was there. */
  expect(slot: number, token: string): void
  /** The slot that expected this token, or undefined. */
  find(slot: number, token: string): Slot | undefined
  /** Ends the slot's connection and forgets it. */
  release(slot: number): Assignment | undefined
  releaseAll(): Assignment[]
  readonly size: number
}

export function createSlotDesk(options: {
  slotsDir: string
  slots: number
  log: Log
  carryOut: (slot: Slot, request: SandboxRequest) => Promise<void>
}): SlotDesk {
  const { slotsDir, log } = options
  clearSlotFiles(slotsDir, options.slots, 'e')
  const known = new Map<number, Slot>()

  function release(slot: number): Assignment | undefined {
    const entry = known.get(slot)
    if (entry === undefined) return undefined
    known.delete(slot)
    entry.listener?.stop()
    rmSync(pathOf(slotsDir, slot, 'token'), { force: true })
    entry.connection?.end('the slot was released')
    return entry.assignment
  }

  return {
    expect(slot, token) {
      if (slot >= options.slots) throw new Error(`there is no slot ${slot}`)
      release(slot)
      const entry: Slot = {
        ...{ slot, token, answerBytes: 0, turns: sandboxTurns() },
        ...{ assignment: undefined, listener: undefined, connection: undefined },
      }
      writeSlotFile(pathOf(slotsDir, slot, 'token'), token)
      entry.listener = listenForOne(pathOf(slotsDir, slot, 'egress'), () => ({
        ...sandboxLeg({
          token,
          onGreeted: () => rmSync(pathOf(slotsDir, slot, 'token'), { force: true }),
          carryOut: (request) => options.carryOut(entry, request),
          onEnd: (reason) => log.debug({ slot }, `a sandbox's connection ended: ${reason}`),
        }),
        onConnected: (connection: FrameConnection) => {
          entry.connection = connection
        },
      }))
      known.set(slot, entry)
    },
    find(slot, token) {
      const entry = known.get(slot)
      return entry?.token === token ? entry : undefined
    },
    release,
    releaseAll: () => [...known.keys()].flatMap((slot) => release(slot) ?? []),
    get size() {
      return known.size
    },
  }
}

type OneConnection = ReturnType<typeof sandboxLeg> & {
  onConnected: (connection: FrameConnection) => void
}

/** The first connection closes the door behind it, whether or not it knows the token. */
function listenForOne(unix: string, handlersOf: () => OneConnection): FrameListener {
  let isTaken = false
  const listener = listenFrames({
    unix,
    mode: SLOT_SOCKET_MODE,
    onConnection() {
      if (isTaken) return undefined
      isTaken = true
      listener.stop()
      const { onConnected, ...handlers } = handlersOf()
      return {
        ...handlers,
        onOpen(connection) {
          onConnected(connection)
          handlers.onOpen?.(connection)
        },
      }
    },
  })
  return listener
}

function pathOf(slotsDir: string, slot: number, file: 'token' | 'egress'): string {
  return `${slotDirectory(slotsDir, slot, 'e')}/${slotFiles[file]}`
}
