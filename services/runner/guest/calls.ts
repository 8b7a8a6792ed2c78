/** Loading a server's tools and answering its calls: the guest's end of the runner leg. */
import { createDeadlines, type Deadline, type Expiring } from '@bmm/lib/deadlines'
import {
  callIds,
  FRAME,
  type Frame,
  FrameFault,
  type FrameType,
  MAX_RESULT_BYTES,
  parseCall,
  parseControl,
} from '@bmm/lib/frames'
import type { OperationSpec } from '@bmm/spec/server-spec'
import { type Arguments, inputForCode, readArguments } from './arguments.ts'
import { type CallLink, createContext, runOperation, type ToolContext } from './context.ts'
import { type CookieJar, createCookieJar } from './cookie-jar.ts'
import type { Egress } from './egress.ts'
import { type SchemaCheck, schemaCheck } from './input.ts'
import type { FrameLink } from './link.ts'
import { errorText, markResult, messageOf, resultText } from './result.ts'

const MAX_LOAD_MESSAGE = 2_000

type ToolBody = (input: unknown, ctx: ToolContext) => unknown

type LoadedTool = {
  check: SchemaCheck
  /** What its structured content must fit, where the tool promises a schema. */
  promise: SchemaCheck | undefined
  run: { operation: OperationSpec } | { body: ToolBody }
}

/** One of the spec's tools without its implementation. */
type ToolToLoad = {
  name: string
  inputSchema: Record<string, unknown>
  outputSchema?: Record<string, unknown>
  operation?: OperationSpec
}

/** Why a call ends without a result; the runner knows these words. */
type FailureCode = 'cancelled' | 'deadline' | 'result_too_large' | 'sandbox_failed'

/** The reason with which a call's signal aborts. */
class CallEnded extends Error {
  override name = 'AbortError'
  readonly code: FailureCode
  constructor(code: 'cancelled' | 'deadline') {
    super(code === 'cancelled' ? 'The call was cancelled.' : 'The time of the call is over.')
    this.code = code
  }
}

/** A call that has no answer yet; nothing of it is sent after its answer. */
class ActiveCall implements CallLink, Expiring {
  readonly #whenOver: (call: ActiveCall) => void
  #controller: AbortController | undefined
  #ended: CallEnded | undefined
  #over = false
  deadline: Deadline | undefined

  constructor(
    readonly call: number,
    readonly connection: FrameLink,
    readonly egress: Egress,
    readonly cookies: CookieJar,
    whenOver: (call: ActiveCall) => void,
  ) {
    this.#whenOver = whenOver
  }

  /** Made for the calls that look at it: few do. */
  get signal(): AbortSignal {
    this.#controller ??= new AbortController()
    if (this.#ended !== undefined) this.#controller.abort(this.#ended)
    return this.#controller.signal
  }

  progress(step: object): void {
    if (!this.#over) this.connection.sendControl(FRAME.PROGRESS, this.call, step)
  }

  log(line: string): void {
    if (!this.#over) this.connection.sendControl(FRAME.LOG, this.call, { line })
  }

  /** `result` is the JSON of a tool result. */
  answer(result: string): void {
    if (!this.#finish()) return
    const bytes = isSurelySmall(result) ? 0 : Buffer.byteLength(result)
    if (bytes > MAX_RESULT_BYTES) {
      const message = `The answer has ${bytes} bytes; ${MAX_RESULT_BYTES} are allowed.`
      this.#sendFailure('result_too_large', message)
    } else if (!this.connection.sendResult(this.call, result)) {
      this.connection.end('answers are not read fast enough')
    }
  }

  expire(): void {
    this.end('deadline')
  }

  /** Ends it from outside; a body that goes on speaks to nobody. */
  end(code: 'cancelled' | 'deadline'): void {
    if (!this.#finish()) return
    this.#ended = new CallEnded(code)
    this.#sendFailure(code, this.#ended.message)
    this.#controller?.abort(this.#ended)
  }

  #finish(): boolean {
    if (this.#over) return false
    this.#over = true
    this.#whenOver(this)
    return true
  }

  #sendFailure(code: FailureCode, message: string): void {
    this.connection.sendControl(FRAME.FAILED, this.call, { code, message })
  }
}

/** Without counting its bytes: three at most for each UTF-16 unit. */
function isSurelySmall(result: string): boolean {
  return result.length * 3 <= MAX_RESULT_BYTES
}

export const callFrames: readonly FrameType[] = [
  FRAME.LOAD,
  FRAME.LOAD_PART,
  FRAME.CALL,
  FRAME.CANCEL,
  FRAME.PING,
]

export type Calls = {
  onFrame(frame: Frame, connection: FrameLink): void
  /** A line for the log of the call that started last; nothing when none is running. */
  log(line: string): void
}

/** `modulePath` is where the server's compiled module lies by the time LOAD names one. */
export function createCalls(egress: Egress, modulePath: string): Calls {
  const active = new Map<number, ActiveCall>()
  const deadlines = createDeadlines()
  const ids = callIds()
  const cookies = createCookieJar()
  const load = loader(modulePath)
  let tools: Map<string, LoadedTool> | undefined

  async function finishLoad(connection: FrameLink, call: number): Promise<void> {
    try {
      tools = await load.finish()
      connection.sendControl(FRAME.LOADED, call, { tools: [...tools.keys()] })
    } catch (error) {
      const message = messageOf(error).slice(0, MAX_LOAD_MESSAGE)
      connection.sendControl(FRAME.LOAD_FAILED, call, { message })
    }
  }

  function forget(call: ActiveCall): void {
    deadlines.clear(call.deadline)
    active.delete(call.call)
  }

  /** The frame is a view that ends with this turn, so all of it is read at once. */
  function begin(frame: Frame, connection: FrameLink): void {
    const { header, args } = parseCall(frame.payload)
    const { tool: name, timeoutMs } = header as { tool: string; timeoutMs: number }
    const call = new ActiveCall(frame.call, connection, egress, cookies, forget)
    active.set(frame.call, call)
    call.deadline = deadlines.set(timeoutMs, call)
    const tool = tools?.get(name)
    if (tool === undefined) call.answer(errorText(`There is no tool ${name}.`))
    else run(call, tool, args).catch((error) => connection.end(messageOf(error)))
  }

  return {
    onFrame(frame, connection) {
      if (frame.type === FRAME.PING) connection.send(FRAME.PONG, frame.call)
      else if (frame.type === FRAME.CANCEL) active.get(frame.call)?.end('cancelled')
      else if (frame.type === FRAME.CALL) {
        ids.admit(frame.call)
        begin(frame, connection)
      } else if (load.take(frame)) {
        finishLoad(connection, frame.call).catch((error) => connection.end(messageOf(error)))
      }
    },
    log(line) {
      ;[...active.values()].at(-1)?.log(line)
    },
  }
}

const decoder = new TextDecoder()

/** Rejects only for a fault of ours: whatever the tool does is an answer. */
async function run(call: ActiveCall, tool: LoadedTool, args: Uint8Array): Promise<void> {
  const read = readArguments(decoder.decode(args), tool.check)
  if ('problems' in read) return call.answer(errorText(read.problems))
  let result: string
  try {
    result = resultText(await carryOut(tool, read, call), tool.promise)
  } catch (error) {
    result = errorText(messageOf(error))
  }
  call.answer(result)
}

/** Answers at once or later, as the tool does. */
function carryOut(tool: LoadedTool, input: Arguments, call: ActiveCall): unknown {
  if ('operation' in tool.run) {
    return runOperation(tool.run.operation, input.exact, call).then(markResult)
  }
  return tool.run.body(inputForCode(input), createContext(call))
}

/** Collects LOAD and its parts, the tools as JSON, then imports the module. */
function loader(modulePath: string) {
  let expected: { toolsBytes: number; hasModule: boolean } | undefined
  let bytes = new Uint8Array(0)
  let received = 0
  let finished = false
  return {
    /** True when the last byte is there. */
    take(frame: Frame): boolean {
      if (finished) throw new FrameFault('the sandbox is loaded already')
      if (frame.type === FRAME.LOAD) {
        expected = parseControl(frame.payload) as { toolsBytes: number; hasModule: boolean }
        bytes = new Uint8Array(expected.toolsBytes)
      } else {
        bytes.set(frame.payload, received)
        received += frame.payload.length
      }
      finished = expected !== undefined && received === bytes.length
      return finished
    },
    async finish(): Promise<Map<string, LoadedTool>> {
      const wanted = JSON.parse(new TextDecoder().decode(bytes)) as ToolToLoad[]
      bytes = new Uint8Array(0)
      const { bodies } = expected?.hasModule ? await importBodies(modulePath) : { bodies: {} }
      return new Map(wanted.map((tool) => [tool.name, loadedTool(tool, bodies)]))
    },
  }
}

function loadedTool(tool: ToolToLoad, bodies: Record<string, unknown>): LoadedTool {
  const check = schemaCheck(tool.inputSchema)
  const promise = tool.outputSchema && schemaCheck(tool.outputSchema, 'structuredContent')
  if (tool.operation) return { check, promise, run: { operation: tool.operation } }
  const body = Object.hasOwn(bodies, tool.name) ? bodies[tool.name] : undefined
  if (typeof body !== 'function') throw new Error(`The module has no tool ${tool.name}.`)
  return { check, promise, run: { body: body as ToolBody } }
}

/**
 * The compiled module is `export const tools = { name: async (input, ctx) => { … } }`: a file, because Bun was started so
 * that no text in memory becomes code. Its object is never a promise's value itself: a tool named `then` would be called.
 */
async function importBodies(path: string): Promise<{ bodies: Record<string, unknown> }> {
  const loaded = (await import(path)) as { tools?: Record<string, unknown> }
  return { bodies: loaded.tools ?? {} }
}
