/** One sandbox as the runner sees it: started in a slot, greeted, sealed, loaded once, called, ended. All it sends is hostile. */
import { randomBytes, timingSafeEqual } from 'node:crypto'
import { chmodSync, rmSync, writeFileSync } from 'node:fs'
import { type FrameConnection, type FrameListener, listenFrames } from '@bmm/lib/frame-connection'
import { FRAME, type Frame, FrameFault, type FrameType, parseControl } from '@bmm/lib/frames'
import { z } from 'zod'
import { type CallSink, createSandboxCalls, type SandboxCalls } from './sandbox-calls.ts'
import {
  type SandboxClass,
  SLOT_SOCKET_MODE,
  SLOT_TOKEN_MODE,
  sandboxClasses,
  slotDirectory,
  slotFiles,
} from './sandbox-limits.ts'

/** Why a sandbox ended. `stopped`: its owner asked; the others are faults. */
export type SandboxEndCode =
  | 'stopped'
  | 'start'
  | 'protocol'
  | 'deadline'
  | 'heartbeat'
  | 'oom'
  | 'exited'

export interface SandboxEnd {
  code: SandboxEndCode
  /** A sentence for the person whose call it was. */
  message: string
  /** For the operator's log; may hold tenant's text. */
  detail: string
}

/** What the keeper says about the end of a slot's processes. */
export interface SlotExit {
  reason: 'oom' | 'killed' | 'exited'
  detail: string
}

export interface SandboxOptions {
  slot: number
  sandboxClass: SandboxClass
  slotsDir: string
  keeper: {
    /** `exited` may be called from then on, before the sandbox has even said hello. */
    start(slot: number, sandboxClass: SandboxClass, exited: (exit: SlotExit) => void): Promise<void>
    /** Resolves when nothing of the sandbox is left; `exited` is called before that. */
    stop(slot: number): Promise<void>
  }
  /** Makes the broker listen in the slot for one sandbox with this token. */
  expectEgress(slot: number, token: string): Promise<void>
  times?: Partial<SandboxTimes>
}

export interface SandboxTimes {
  /** From the keeper's start to the sealed guest. */
  startMs: number
  loadMs: number
  /** Between two pings; a ping that is not answered by the next one ends the sandbox. */
  heartbeatMs: number
  /** What a call may take longer than its deadline, or after being cancelled. */
  graceMs: number
}

export interface Sandbox {
  readonly slot: number
  /** The token that the broker expects of this sandbox, for the assignment. */
  readonly egressToken: string
  /** The spec's tools without implementations as a JSON array, and the compiled module (may be empty). Once only.
   * Answers the names that are callable; rejects with the guest's reason. */
  load(artefact: { tools: Uint8Array; module: Uint8Array }): Promise<string[]>
  /** Starts a call and answers its id; the sink hears exactly one `end` or `fail`. */
  call(header: { tool: string; timeoutMs: number }, args: Uint8Array, sink: CallSink): number
  /** Ends the call for its sink at once; a guest that goes on with it is ended. Unknown ids are ignored. */
  cancel(call: number): void
  isInFlight(call: number): boolean
  readonly inFlight: number
  /** Ends the sandbox; its calls fail. Later ends are ignored. */
  stop(): void
  /** The keeper's word that the slot's processes have ended. */
  exited(exit: SlotExit): void
  /** Set as soon as no more calls are taken. */
  readonly ended: boolean
  /** Resolves with the reason once the keeper has cleared the slot and all calls have failed. */
  readonly gone: Promise<SandboxEnd>
}

/** The guest could not load the server: the message is about the tenant's module. */
export class LoadFailed extends Error {
  override name = 'LoadFailed'
}

export const MAX_LOAD_BYTES = 24 * 1024 * 1024
const defaultTimes: SandboxTimes = {
  startMs: 15_000,
  loadMs: 10_000,
  heartbeatMs: 10_000,
  graceMs: 1_000,
}
const TOKEN_BYTES = 32
const QUEUE_LIMIT_BYTES = MAX_LOAD_BYTES + 8 * 1024 * 1024
/** How long calls wait for the keeper's reason before they fail without it. */
const REASON_WAIT_MS = 1_000
const MAX_LOADED_BYTES = 64 * 1024

const helloSchema = z.object({ token: z.string().max(200), protocol: z.literal(1) })
const loadedSchema = z.object({ tools: z.array(z.string().max(64)).max(1_000) })
const loadFailedSchema = z.object({ message: z.string() })

const accepted: readonly FrameType[] = [
  FRAME.HELLO,
  FRAME.SEALED,
  FRAME.LOADED,
  FRAME.LOAD_FAILED,
  FRAME.RESULT_PART,
  FRAME.RESULT_END,
  FRAME.FAILED,
  FRAME.PROGRESS,
  FRAME.LOG,
  FRAME.PONG,
]

/** `dialled`: connected, unknown; `greeted`: the token was right; `pooled`: sealed; `loading`; `ready`. */
type State = 'starting' | 'dialled' | 'greeted' | 'pooled' | 'loading' | 'ready' | 'ended'

/** Starts a sandbox and resolves when it is sealed and waits for `load`. On failure nothing is left. */
export async function startSandbox(options: SandboxOptions): Promise<Sandbox> {
  const { slot, keeper, sandboxClass } = options
  const times = { ...defaultTimes, ...options.times }
  const directory = slotDirectory(options.slotsDir, slot, 'c')
  const tokenFile = `${directory}/${slotFiles.token}`
  const token = randomBytes(TOKEN_BYTES).toString('base64url')
  const egressToken = randomBytes(TOKEN_BYTES).toString('base64url')
  const sealed = Promise.withResolvers<void>()
  const loaded = Promise.withResolvers<string[]>()
  const gone = Promise.withResolvers<SandboxEnd>()
  // Nobody may be waiting for these when the sandbox ends.
  sealed.promise.catch(() => {})
  loaded.promise.catch(() => {})
  let state: State = 'starting'
  let connection: FrameConnection | undefined
  let listener: FrameListener | undefined
  let heartbeat: ReturnType<typeof setInterval> | undefined
  let exit: SlotExit | undefined
  let awaitedPong: number | undefined
  let pings = 0

  const calls: SandboxCalls = createSandboxCalls({
    graceMs: times.graceMs,
    connection: () => connection,
    overdue: (why) => end('deadline', why, ''),
  })

  function end(code: SandboxEndCode, message: string, detail: string): void {
    if (state === 'ended') return
    state = 'ended'
    clearInterval(heartbeat)
    listener?.stop()
    rmSync(tokenFile, { force: true })
    connection?.end(message)
    clear({ code, message, detail }).then(gone.resolve, gone.reject)
  }

  /** Has the slot emptied, learns the real reason on the way, then tells whoever waits. */
  async function clear(suspected: SandboxEnd): Promise<SandboxEnd> {
    const cleared = keeper.stop(slot).catch((error) => {
      suspected.detail += ` the keeper did not stop it: ${String(error)}`
    })
    await Promise.race([cleared, Bun.sleep(REASON_WAIT_MS)])
    const reason = explain(suspected, exit, sandboxClass)
    sealed.reject(new Error(`${reason.message} ${reason.detail}`.trim()))
    loaded.reject(new LoadFailed(reason.message))
    calls.failAll(reason.message)
    await cleared
    return reason
  }

  function exited(reported: SlotExit): void {
    exit = reported
    end('exited', 'The sandbox ended in the middle of its work.', reported.detail)
  }

  function onFrame(frame: Frame, from: FrameConnection): void {
    if (state === 'ended') return
    if (frame.type === FRAME.HELLO) {
      require(state === 'dialled', 'a second hello')
      require(sameToken(parse(helloSchema, frame).token, token), 'a wrong token')
      rmSync(tokenFile, { force: true })
      state = 'greeted'
    } else if (frame.type === FRAME.SEALED) {
      require(state === 'greeted', 'sealed out of turn')
      state = 'pooled'
      heartbeat = setInterval(() => beat(from), times.heartbeatMs)
      heartbeat.unref()
      sealed.resolve()
    } else if (frame.type === FRAME.PONG) {
      require(frame.call === awaitedPong, 'a pong that nobody asked for')
      awaitedPong = undefined
    } else if (frame.type === FRAME.LOADED || frame.type === FRAME.LOAD_FAILED) {
      require(state === 'loading', 'loaded out of turn')
      onLoaded(frame)
    } else {
      require(state === 'ready', 'an answer before the tools were loaded')
      calls.onFrame(frame)
    }
  }

  function onLoaded(frame: Frame): void {
    if (frame.type === FRAME.LOADED) {
      const { tools } = parse(loadedSchema, frame, MAX_LOADED_BYTES)
      state = 'ready'
      loaded.resolve(tools)
    } else {
      loaded.reject(new LoadFailed(parse(loadFailedSchema, frame, MAX_LOADED_BYTES).message))
      end('stopped', 'The server could not be loaded.', '')
    }
  }

  function beat(to: FrameConnection): void {
    if (awaitedPong !== undefined) {
      end('heartbeat', 'The sandbox stopped responding and was ended.', '')
      return
    }
    awaitedPong = ++pings
    to.send(FRAME.PING, awaitedPong)
  }

  function onConnection() {
    // One connection only: with the listener gone the slot cannot be dialled again.
    listener?.stop()
    listener = undefined
    if (state !== 'starting') return undefined
    state = 'dialled'
    return {
      accept: accepted,
      onFrame,
      onOpen: (opened: FrameConnection) => {
        connection = opened
      },
      onEnd: (reason: string) =>
        end('protocol', 'The sandbox ended in the middle of its work.', reason),
      queueLimitBytes: QUEUE_LIMIT_BYTES,
    }
  }

  const timer = setTimeout(
    () => end('start', 'The sandbox did not start in time.', `state ${state}`),
    times.startMs,
  )
  try {
    writeFileSync(tokenFile, token, { mode: SLOT_TOKEN_MODE })
    chmodSync(tokenFile, SLOT_TOKEN_MODE)
    const unix = `${directory}/${slotFiles.calls}`
    listener = listenFrames({ unix, mode: SLOT_SOCKET_MODE, onConnection })
    await options.expectEgress(slot, egressToken)
    await keeper.start(slot, sandboxClass, exited)
    await sealed.promise
  } catch (error) {
    end('start', 'The sandbox could not be started.', String(error))
    const { message, detail } = await gone.promise
    throw new Error(`${message} ${detail}`, { cause: error })
  } finally {
    clearTimeout(timer)
  }

  return {
    slot,
    egressToken,
    gone: gone.promise,
    get ended() {
      return state === 'ended'
    },
    get inFlight() {
      return calls.inFlight
    },
    isInFlight: (call) => state === 'ready' && calls.isInFlight(call),
    async load({ tools, module }) {
      if (state !== 'pooled' || !connection) throw new Error('only a pooled sandbox can be loaded')
      if (tools.length + module.length > MAX_LOAD_BYTES) {
        throw new LoadFailed(`The server is larger than ${MAX_LOAD_BYTES} bytes.`)
      }
      state = 'loading'
      const late = setTimeout(
        () => end('deadline', 'The server took too long to load.', ''),
        times.loadMs,
      )
      const sizes = { toolsBytes: tools.length, moduleBytes: module.length }
      connection.sendControl(FRAME.LOAD, 0, sizes)
      connection.sendParts(FRAME.LOAD_PART, 0, tools)
      connection.sendParts(FRAME.LOAD_PART, 0, module)
      return await loaded.promise.finally(() => clearTimeout(late))
    },
    call(header, args, sink) {
      if (state !== 'ready') throw new Error(`a sandbox that is ${state} takes no calls`)
      return calls.start(header, args, sink)
    },
    cancel: (call) => calls.cancel(call),
    stop: () => end('stopped', 'The sandbox was stopped.', ''),
    exited,
  }
}

/** The keeper knows better than a lost connection why a sandbox ended. */
function explain(
  suspected: SandboxEnd,
  exit: SlotExit | undefined,
  sandboxClass: SandboxClass,
): SandboxEnd {
  const detail = [suspected.detail, exit?.detail].filter((text) => text).join('; ')
  if (exit?.reason === 'oom') {
    const megabytes = sandboxClasses[sandboxClass].memoryBytes / 1024 / 1024
    const message = `The sandbox needed more than its ${megabytes} MB of memory and was ended.`
    return { code: 'oom', message, detail }
  }
  if (exit?.reason === 'exited' && suspected.code === 'protocol') {
    return { code: 'exited', message: 'The sandbox ended by itself.', detail }
  }
  return { ...suspected, detail }
}

function require(condition: boolean, fault: string): asserts condition {
  if (!condition) throw new FrameFault(`the sandbox sent ${fault}`)
}

function parse<Schema extends z.ZodType>(
  schema: Schema,
  frame: Frame,
  limitBytes?: number,
): z.infer<Schema> {
  const parsed = schema.safeParse(parseControl(frame.payload, limitBytes))
  if (!parsed.success)
    throw new FrameFault(`the sandbox sent a malformed frame of type ${frame.type}`)
  return parsed.data
}

function sameToken(given: string, expected: string): boolean {
  const a = Buffer.from(given)
  const b = Buffer.from(expected)
  return a.length === b.length && timingSafeEqual(a, b)
}
