/** The link to the keeper, which alone starts and ends sandboxes; it kills them all when this connection ends. */
import { errorFrom } from '@bmm/lib/errors'
import { connectFrames, type FrameConnection } from '@bmm/lib/frame-connection'
import { FRAME, type Frame, parseControl } from '@bmm/lib/frames'
import type { Log } from '@bmm/lib/log'
import { z } from 'zod'
import { createFrameRequests, type FrameRequests } from './frame-requests.ts'
import type { SandboxClass } from './sandbox-limits.ts'

const START_TIMEOUT_MS = 15_000
const STOP_TIMEOUT_MS = 10_000
const FIRST_RETRY_MS = 50
const LONGEST_RETRY_MS = 2_000

const exitSchema = z.object({
  slot: z.number().int(),
  reason: z.enum(['oom', 'killed', 'exited']),
  detail: z.string().max(4_000).default(''),
})
/** Why a sandbox's processes ended by themselves. */
export type SandboxExit = z.infer<typeof exitSchema>

const failureSchema = z.object({ message: z.string().max(4_000) })

export interface KeeperLink {
  readonly connected: boolean
  /** Starts a sandbox in a slot whose directories are ready. */
  start(slot: number, sandboxClass: SandboxClass): Promise<void>
  /** Ends whatever runs in the slot; when it resolves nothing of it is left. */
  stop(slot: number): Promise<void>
  close(): void
}

/** Dials the keeper and dials again whenever the connection ends. */
export function dialKeeper(options: {
  socket: string
  onConnected: () => void
  /** Every sandbox is dead now. */
  onLost: () => void
  onExit: (exit: SandboxExit) => void
  log: Log
}): KeeperLink {
  const { socket, log } = options
  let current: { connection: FrameConnection; requests: FrameRequests } | undefined
  let closed = false
  let retryMs = FIRST_RETRY_MS

  function retry() {
    if (closed) return
    setTimeout(() => void dial(), retryMs).unref()
    retryMs = Math.min(LONGEST_RETRY_MS, retryMs * 2)
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
            options.onExit(exitSchema.parse(parseControl(frame.payload)))
          } else requests?.answer(frame)
        },
        onEnd(reason) {
          log.warn(`the keeper is gone: ${reason}`)
          const lost = current !== undefined
          current = undefined
          requests?.end('the keeper is gone')
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
    type: typeof FRAME.KEEPER_START | typeof FRAME.KEEPER_STOP,
    value: unknown,
    timeoutMs: number,
  ): Promise<Frame> {
    if (current === undefined) throw new Error('the keeper is not connected')
    const answer = await current.requests.ask(type, value, timeoutMs)
    if (answer.type !== FRAME.KEEPER_FAILED) return answer
    const failure = failureSchema.safeParse(parseControl(answer.payload))
    throw new Error(failure.success ? failure.data.message : 'the keeper failed without a reason')
  }

  void dial()
  return {
    get connected() {
      return current !== undefined
    },
    async start(slot, sandboxClass) {
      await ask(FRAME.KEEPER_START, { class: sandboxClass, slot }, START_TIMEOUT_MS)
    },
    async stop(slot) {
      await ask(FRAME.KEEPER_STOP, { slot }, STOP_TIMEOUT_MS)
    },
    close() {
      closed = true
      current?.connection.end('the runner is stopping')
    },
  }
}
