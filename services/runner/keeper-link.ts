/** The link to the keeper, which alone starts and ends sandboxes; it kills them all when this connection ends. */
import { errorFrom } from '@bmm/lib/errors'
import type { FrameConnection } from '@bmm/lib/frame-connection'
import { connectFrames } from '@bmm/lib/frame-socket'
import { FRAME, type Frame, parseControl } from '@bmm/lib/frames'
import type { Log } from '@bmm/lib/log'
import { createFrameRequests, type FrameRequests } from './frame-requests.ts'
import {
  exitedSchema,
  keeperFailedSchema,
  type SandboxExit,
  slotsSchema,
  startedSchema,
} from './keeper-verbs.ts'
import type { SandboxClass } from './sandbox/sandbox-limits.ts'

const START_TIMEOUT_MS = 15_000
const STOP_TIMEOUT_MS = 10_000
const FIRST_RETRY_MS = 50
const LONGEST_RETRY_MS = 2_000

export type KeeperLink = {
  readonly connected: boolean
  /** Starts a sandbox in a slot whose directories are ready; `exited` hears of its end, and of no other's. */
  start(
    slot: number,
    sandboxClass: SandboxClass,
    exited: (exit: SandboxExit) => void,
  ): Promise<void>
  /** The slot's sandbox counts for this organisation from now on. */
  charge(slot: number, organisation: string): void
  /** Ends whatever runs in the slot; when it resolves nothing of it is left. */
  stop(slot: number): Promise<void>
  /** The slots in which something runs. */
  list(): Promise<number[]>
  close(): void
}

/** Dials the keeper and dials again whenever the connection ends. */
export function dialKeeper(options: {
  socket: string
  onConnected: () => void
  /** Every sandbox is dead now. */
  onLost: () => void
  /** Also of sandboxes of an earlier connection. */
  onExit?: (exit: SandboxExit) => void
  log: Log
}): KeeperLink {
  const { socket, log } = options
  const started = new Map<
    number,
    { pid: number | undefined; exited: (exit: SandboxExit) => void }
  >()
  /** An end that was read in the same moment as its start. */
  const early = new Map<number, SandboxExit>()
  let current: { connection: FrameConnection; requests: FrameRequests } | undefined
  let closed = false
  let retryMs = FIRST_RETRY_MS

  function retry() {
    if (closed) return
    setTimeout(() => void dial(), retryMs).unref()
    retryMs = Math.min(LONGEST_RETRY_MS, retryMs * 2)
  }

  function onExited(exit: SandboxExit) {
    options.onExit?.(exit)
    const sandbox = started.get(exit.slot)
    if (sandbox?.pid === undefined) early.set(exit.slot, exit)
    else if (sandbox.pid === exit.pid) {
      started.delete(exit.slot)
      sandbox.exited(exit)
    }
  }

  /** The keeper's children die with it. */
  function endAll() {
    const sandboxes = [...started]
    started.clear()
    const exit = { reason: 'killed', detail: 'the keeper is gone' } as const
    for (const [slot, { pid = 0, exited }] of sandboxes) exited({ slot, pid, ...exit })
  }

  async function dial() {
    let requests: FrameRequests | undefined
    try {
      const connection = await connectFrames({
        unix: socket,
        accept: [
          FRAME.KEEPER_STARTED,
          FRAME.KEEPER_STOPPED,
          FRAME.KEEPER_FAILED,
          FRAME.KEEPER_SLOTS,
          FRAME.KEEPER_EXITED,
        ],
        onFrame(frame) {
          if (frame.type === FRAME.KEEPER_EXITED) {
            onExited(exitedSchema.parse(parseControl(frame.payload)))
          } else requests?.answer(frame)
        },
        onEnd(reason) {
          log.warn(`the keeper is gone: ${reason}`)
          const lost = current !== undefined
          current = undefined
          requests?.end('the keeper is gone')
          early.clear()
          endAll()
          if (lost) options.onLost()
          retry()
        },
      })
      if (closed || connection.ended) return connection.end('the runner is stopping')
      requests = createFrameRequests(connection)
      current = { connection, requests }
      retryMs = FIRST_RETRY_MS
      options.onConnected()
    } catch (error) {
      log.debug({ err: errorFrom(error) }, 'the keeper does not answer')
      retry()
    }
  }

  async function ask(
    type: typeof FRAME.KEEPER_START | typeof FRAME.KEEPER_STOP | typeof FRAME.KEEPER_LIST,
    value: unknown,
    timeoutMs: number,
  ): Promise<Frame> {
    if (current === undefined) throw new Error('the keeper is not connected')
    const answer = await current.requests.ask(type, value, timeoutMs)
    if (answer.type !== FRAME.KEEPER_FAILED) return answer
    const failure = keeperFailedSchema.safeParse(parseControl(answer.payload))
    throw new Error(failure.success ? failure.data.message : 'the keeper failed without a reason')
  }

  void dial()
  return {
    get connected() {
      return current !== undefined
    },
    async start(slot, sandboxClass, exited) {
      const sandbox = { pid: undefined as number | undefined, exited }
      started.set(slot, sandbox)
      const request = { class: sandboxClass, slot }
      const answer = await ask(FRAME.KEEPER_START, request, START_TIMEOUT_MS)
      sandbox.pid = startedSchema.parse(parseControl(answer.payload)).pid
      const exit = early.get(slot)
      early.delete(slot)
      if (exit?.pid === sandbox.pid) onExited(exit)
    },
    // Not awaited: the keeper ends what it cannot limit, and without it there is no sandbox.
    charge(slot, organisation) {
      current?.connection.sendControl(FRAME.KEEPER_CHARGE, 0, { slot, organisation })
    },
    async stop(slot) {
      await ask(FRAME.KEEPER_STOP, { slot }, STOP_TIMEOUT_MS)
    },
    async list() {
      const answer = await ask(FRAME.KEEPER_LIST, {}, STOP_TIMEOUT_MS)
      return slotsSchema.parse(parseControl(answer.payload)).slots.map(({ slot }) => slot)
    },
    close() {
      closed = true
      current?.connection.end('the runner is stopping')
    },
  }
}
