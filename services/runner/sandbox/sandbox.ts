/** One sandbox as the runner sees it: started in a slot, greeted, sealed, loaded once, called, ended. All it sends is hostile. */
import { rmSync } from 'node:fs'
import { type FrameConnection, type FrameHandlers, PEER_ENDED } from '@bmm/lib/frame-connection'
import { type FrameListener, listenFrames } from '@bmm/lib/frame-socket'
import { FRAME, type Frame, FrameFault, type FrameType, parseControl } from '@bmm/lib/frames'
import { z } from 'zod'
import { type CallSink, createSandboxCalls, type SandboxCalls } from './sandbox-calls.ts'
import {
  type SandboxClass,
  SLOT_SOCKET_MODE,
  sandboxClasses,
  slotDirectory,
  slotFiles,
} from './sandbox-limits.ts'
import { writeModule, writeSlotFile } from './slot-files.ts'
import { isSameToken, newToken } from './slot-token.ts'

/** Why a sandbox ended. `stopped`: its owner asked; the others are faults. */
export type SandboxEndCode =
  | 'stopped'
  | 'start'
  | 'protocol'
  | 'deadline'
  | 'heartbeat'
  | 'oom'
  | 'exited'

export type SandboxEnd = {
  code: SandboxEndCode
  /** A sentence for the person whose call it was. */
  message: string
  /** For the operator's log; may hold tenant's text. */
  detail: string
}

/** What the keeper says about the end of a slot's processes. */
export type SlotExit = {
  reason: 'oom' | 'killed' | 'exited'
  detail: string
}

export type SandboxOptions = {
  slot: number
  sandboxClass: SandboxClass
  slotsDir: string
  keeper: {
    /** `exited` may be called from then on, before the sandbox has even said hello. */
    start(
      slot: number,
      sandboxClass: SandboxClass,
      exited: (exit: SlotExit) => void,
    ): Promise<unknown>
    /** Resolves when nothing of the sandbox is left; `exited` is called before that. */
    stop(slot: number): Promise<void>
  }
  /** Makes the broker listen in the slot for one sandbox with this token. */
  expectEgress(slot: number, token: string): Promise<void>
  /** Ends a start that is under way; of a sandbox that was started, nothing. */
  signal?: AbortSignal
  times?: Partial<SandboxTimes>
}

export type SandboxTimes = {
  /** From the keeper's start to the sealed guest. */
  startMs: number
  loadMs: number
  /** Between two pings; a ping that is not answered by the next one ends the sandbox. */
  heartbeatMs: number
  /** What a call may take longer than its deadline, or after being cancelled. */
  graceMs: number
}

export type Sandbox = {
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
  /** The span of a call that is traced. */
  traceOf(call: number): string | undefined
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

const MAX_LOAD_BYTES = 24 * 1024 * 1024
const defaultTimes: SandboxTimes = {
  startMs: 15_000,
  loadMs: 10_000,
  heartbeatMs: 10_000,
  graceMs: 1_000,
}
const QUEUE_LIMIT_BYTES = MAX_LOAD_BYTES + 8 * 1024 * 1024
/** How long calls wait for the keeper's reason before they fail without it: a busy engine takes its time. */
const REASON_WAIT_MS = 5_000
/** How long a sandbox that hung up has to be gone by itself, so that its own exit is what the keeper reports. */
const EXIT_WAIT_MS = 1_000

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
  const sandbox = new SlotSandbox(options)
  await sandbox.start()
  return sandbox
}

class SlotSandbox implements Sandbox {
  readonly slot: number
  readonly egressToken = newToken()
  readonly gone: Promise<SandboxEnd>
  readonly #options: SandboxOptions
  readonly #times: SandboxTimes
  readonly #token = newToken()
  readonly #directory: string
  readonly #calls: SandboxCalls
  readonly #sealed = Promise.withResolvers<void>()
  readonly #loaded = Promise.withResolvers<string[]>()
  readonly #gone = Promise.withResolvers<SandboxEnd>()
  readonly #exited = Promise.withResolvers<void>()
  #state: State = 'starting'
  #connection: FrameConnection | undefined
  #listener: FrameListener | undefined
  #heartbeat: ReturnType<typeof setInterval> | undefined
  #exit: SlotExit | undefined
  #awaitedPong: number | undefined
  #pings = 0

  constructor(options: SandboxOptions) {
    this.slot = options.slot
    this.#options = options
    this.#times = { ...defaultTimes, ...options.times }
    this.#directory = slotDirectory(options.slotsDir, options.slot, 'c')
    this.gone = this.#gone.promise
    // Nobody may be waiting for these when the sandbox ends.
    this.#sealed.promise.catch(() => {})
    this.#loaded.promise.catch(() => {})
    this.#calls = createSandboxCalls({
      graceMs: this.#times.graceMs,
      connection: () => this.#connection,
      overdue: (why) => this.#end('deadline', why),
    })
  }

  get ended(): boolean {
    return this.#state === 'ended'
  }

  get inFlight(): number {
    return this.#calls.inFlight
  }

  traceOf(call: number): string | undefined {
    return this.#calls.traceOf(call)
  }

  isInFlight(call: number): boolean {
    return this.#state === 'ready' && this.#calls.isInFlight(call)
  }

  async start(): Promise<void> {
    const { slot, keeper, sandboxClass, signal } = this.#options
    const abandon = () => this.stop()
    signal?.addEventListener('abort', abandon, { once: true })
    const late = () => this.#end('start', 'The sandbox did not start in time.', this.#state)
    const timer = setTimeout(late, this.#times.startMs)
    try {
      this.#listen()
      await this.#options.expectEgress(slot, this.egressToken)
      if (this.ended) throw new Error('it was ended before the keeper was asked')
      await keeper.start(slot, sandboxClass, (exit) => this.exited(exit))
      await this.#sealed.promise
    } catch (error) {
      this.#end('start', 'The sandbox could not be started.', String(error))
      const { message, detail } = await this.gone
      throw new Error(`${message} ${detail}`.trim(), { cause: error })
    } finally {
      clearTimeout(timer)
      signal?.removeEventListener('abort', abandon)
    }
  }

  async load({ tools, module }: { tools: Uint8Array; module: Uint8Array }): Promise<string[]> {
    const connection = this.#connection
    if (this.#state !== 'pooled' || !connection) throw new Error('only a pooled sandbox loads')
    if (tools.length + module.length > MAX_LOAD_BYTES) {
      throw new LoadFailed(`The server is larger than ${MAX_LOAD_BYTES} bytes.`)
    }
    this.#state = 'loading'
    const late = () => this.#end('deadline', 'The server took too long to load.')
    const timer = setTimeout(late, this.#times.loadMs)
    const hasModule = module.length > 0
    if (hasModule) writeModule(this.#pathOf('code'), module)
    connection.sendControl(FRAME.LOAD, 0, { toolsBytes: tools.length, hasModule })
    connection.sendParts(FRAME.LOAD_PART, 0, tools)
    return await this.#loaded.promise.finally(() => {
      clearTimeout(timer)
      if (hasModule) this.#remove('code')
    })
  }

  call(header: { tool: string; timeoutMs: number }, args: Uint8Array, sink: CallSink): number {
    if (this.#state !== 'ready') throw new Error(`a sandbox that is ${this.#state} takes no calls`)
    return this.#calls.start(header, args, sink)
  }

  cancel(call: number): void {
    this.#calls.cancel(call)
  }

  stop(): void {
    this.#end('stopped', 'The sandbox was stopped.')
  }

  exited(exit: SlotExit): void {
    this.#exit = exit
    this.#exited.resolve()
    this.#end('exited', 'The sandbox ended in the middle of its work.')
  }

  #listen(): void {
    writeSlotFile(this.#pathOf('token'), this.#token)
    this.#listener = listenFrames({
      unix: this.#pathOf('calls'),
      mode: SLOT_SOCKET_MODE,
      onConnection: () => this.#onConnection(),
    })
  }

  /** One connection only: with the listener gone the slot cannot be dialled again. */
  #onConnection(): FrameHandlers | undefined {
    this.#listener?.stop()
    this.#listener = undefined
    if (this.#state !== 'starting') return undefined
    this.#state = 'dialled'
    return {
      accept: accepted,
      queueLimitBytes: QUEUE_LIMIT_BYTES,
      onOpen: (connection) => {
        this.#connection = connection
      },
      onFrame: (frame) => this.#onFrame(frame),
      onEnd: (reason) =>
        this.#end('protocol', 'The sandbox ended in the middle of its work.', reason),
    }
  }

  #onFrame(frame: Frame): void {
    if (this.#state === 'ended') return
    if (frame.type === FRAME.HELLO) {
      require(this.#state === 'dialled', 'a second hello')
      require(isSameToken(parse(helloSchema, frame).token, this.#token), 'a wrong token')
      this.#remove('token')
      this.#state = 'greeted'
    } else if (frame.type === FRAME.SEALED) {
      require(this.#state === 'greeted', 'sealed out of turn')
      this.#state = 'pooled'
      this.#heartbeat = setInterval(() => this.#beat(), this.#times.heartbeatMs)
      this.#heartbeat.unref()
      this.#sealed.resolve()
    } else if (frame.type === FRAME.PONG) {
      require(frame.call === this.#awaitedPong, 'a pong that nobody asked for')
      this.#awaitedPong = undefined
    } else if (frame.type === FRAME.LOADED || frame.type === FRAME.LOAD_FAILED) {
      require(this.#state === 'loading', 'loaded out of turn')
      this.#onLoaded(frame)
    } else {
      require(this.#state === 'ready', 'an answer before the tools were loaded')
      this.#calls.onFrame(frame)
    }
  }

  #onLoaded(frame: Frame): void {
    if (frame.type === FRAME.LOADED) {
      const { tools } = parse(loadedSchema, frame)
      this.#state = 'ready'
      this.#loaded.resolve(tools)
    } else {
      this.#loaded.reject(new LoadFailed(parse(loadFailedSchema, frame).message))
      this.#end('stopped', 'The server could not be loaded.')
    }
  }

  #beat(): void {
    if (this.#awaitedPong !== undefined) {
      this.#end('heartbeat', 'The sandbox stopped responding and was ended.')
      return
    }
    this.#awaitedPong = ++this.#pings
    this.#connection?.send(FRAME.PING, this.#awaitedPong)
  }

  #end(code: SandboxEndCode, message: string, detail = ''): void {
    if (this.#state === 'ended') return
    this.#state = 'ended'
    clearInterval(this.#heartbeat)
    this.#listener?.stop()
    this.#remove('token')
    this.#connection?.end(message)
    this.#clear({ code, message, detail }).then(this.#gone.resolve, this.#gone.reject)
  }

  /** Has the slot emptied, learns the real reason on the way, then tells whoever waits. */
  async #clear(suspected: SandboxEnd): Promise<SandboxEnd> {
    const { keeper, slot, sandboxClass } = this.#options
    const notes = [suspected.detail]
    const isExiting = suspected.detail === PEER_ENDED
    if (isExiting) await Promise.race([this.#exited.promise, Bun.sleep(EXIT_WAIT_MS)])
    const cleared = keeper.stop(slot).catch((error) => notes.push(`not stopped: ${String(error)}`))
    await Promise.race([cleared, Bun.sleep(REASON_WAIT_MS)])
    const { message } = explain(suspected, this.#exit, sandboxClass)
    this.#sealed.reject(new Error(message))
    this.#loaded.reject(new LoadFailed(message))
    this.#calls.failAll(message)
    await cleared
    if (this.#exit) notes.push(this.#exit.detail)
    const detail = notes.filter((note) => note !== '').join('; ')
    return { ...explain(suspected, this.#exit, sandboxClass), detail }
  }

  #remove(file: keyof typeof slotFiles): void {
    rmSync(this.#pathOf(file), { force: true, recursive: true })
  }

  #pathOf(file: keyof typeof slotFiles): string {
    return `${this.#directory}/${slotFiles[file]}`
  }
}

/** The keeper knows better than a lost connection why a sandbox ended. */
function explain(
  suspected: SandboxEnd,
  exit: SlotExit | undefined,
  sandboxClass: SandboxClass,
): SandboxEnd {
  if (exit?.reason === 'oom') {
    const megabytes = sandboxClasses[sandboxClass].memoryBytes / 1024 / 1024
    const message = `The sandbox needed more than its ${megabytes} MB of memory and was ended.`
    return { ...suspected, code: 'oom', message }
  }
  if (exit?.reason === 'exited' && suspected.detail === PEER_ENDED) {
    return { ...suspected, code: 'exited', message: 'The sandbox ended by itself.' }
  }
  return suspected
}

function require(condition: boolean, fault: string): asserts condition {
  if (!condition) throw new FrameFault(`the sandbox sent ${fault}`)
}

function parse<Schema extends z.ZodType>(schema: Schema, frame: Frame): z.infer<Schema> {
  const parsed = schema.safeParse(parseControl(frame.payload))
  if (!parsed.success) {
    throw new FrameFault(`the sandbox sent a malformed frame of type ${frame.type}`)
  }
  return parsed.data
}
