/** Loading a server's tools and answering its calls: the guest's end of the runner leg. */
import type { FrameConnection } from '@bmm/lib/frame-connection'
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
import { createContext, runOperation, type ToolContext } from './context.ts'
import type { Egress } from './egress.ts'
import { type InputCheck, inputCheck } from './input.ts'
import { errorBytes, markResult, messageOf, resultBytes } from './result.ts'

const MAX_LOAD_MESSAGE = 2_000

type ToolBody = (input: unknown, ctx: ToolContext) => unknown

interface LoadedTool {
  check: InputCheck
  run: { operation: OperationSpec } | { body: ToolBody }
}

/** One of the spec's tools without its implementation. */
interface ToolToLoad {
  name: string
  inputSchema: Record<string, unknown>
  operation?: OperationSpec
}

interface ActiveCall {
  controller: AbortController
  log: (line: string) => void
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

export const callFrames: readonly FrameType[] = [
  FRAME.LOAD,
  FRAME.LOAD_PART,
  FRAME.CALL,
  FRAME.CANCEL,
  FRAME.PING,
]

export interface Calls {
  onFrame(frame: Frame, connection: FrameConnection): void
  /** A line for the log of the call that started last; nothing when none is running. */
  log(line: string): void
}

export function createCalls(egress: Egress): Calls {
  const active = new Map<number, ActiveCall>()
  const ids = callIds()
  const load = loader()
  let tools: Map<string, LoadedTool> | undefined

  async function finishLoad(connection: FrameConnection, call: number): Promise<void> {
    try {
      tools = await load.finish()
      connection.sendControl(FRAME.LOADED, call, { tools: [...tools.keys()] })
    } catch (error) {
      const message = messageOf(error).slice(0, MAX_LOAD_MESSAGE)
      connection.sendControl(FRAME.LOAD_FAILED, call, { message })
    }
  }

  async function answer(frame: Frame, connection: FrameConnection): Promise<void> {
    const { header, args } = parseCall(frame.payload)
    const { tool: name, timeoutMs } = header as { tool: string; timeoutMs: number }
    const { call } = frame
    const controller = new AbortController()
    const log = (line: string) => connection.sendControl(FRAME.LOG, call, { line })
    active.set(call, { controller, log })
    const deadline = setTimeout(() => controller.abort(new CallEnded('deadline')), timeoutMs)
    try {
      const tool = tools?.get(name)
      const link = {
        ...{ call, egress, log, signal: controller.signal },
        progress: (step: object) => connection.sendControl(FRAME.PROGRESS, call, step),
      }
      const result = tool ? await run(tool, args, link) : errorBytes(`There is no tool ${name}.`)
      sendResult(connection, call, result)
    } catch (error) {
      const code = error instanceof CallEnded ? error.code : 'sandbox_failed'
      connection.sendControl(FRAME.FAILED, call, { code, message: messageOf(error) })
    } finally {
      clearTimeout(deadline)
      active.delete(call)
    }
  }

  return {
    onFrame(frame, connection) {
      if (frame.type === FRAME.PING) connection.send(FRAME.PONG, frame.call)
      else if (frame.type === FRAME.CANCEL) {
        active.get(frame.call)?.controller.abort(new CallEnded('cancelled'))
      } else if (frame.type === FRAME.CALL) {
        ids.admit(frame.call)
        // The view ends with this turn, the call does not.
        const copy = { ...frame, payload: frame.payload.slice() }
        answer(copy, connection).catch((error) => connection.end(messageOf(error)))
      } else if (load.take(frame)) {
        finishLoad(connection, frame.call).catch((error) => connection.end(messageOf(error)))
      }
    },
    log(line) {
      ;[...active.values()].at(-1)?.log(line)
    },
  }
}

type Link = Parameters<typeof createContext>[0]

/** The bytes of the answer. Throws only when the call was ended from outside. */
async function run(tool: LoadedTool, args: Uint8Array, link: Link): Promise<Uint8Array> {
  let input: Record<string, unknown>
  try {
    input = JSON.parse(new TextDecoder().decode(args)) as Record<string, unknown>
  } catch {
    return errorBytes('The arguments are not JSON.')
  }
  const problems = problemsOf(tool, input)
  if (problems !== undefined) return errorBytes(problems)
  const ended = Promise.withResolvers<never>()
  const onAbort = () => ended.reject(link.signal.reason)
  link.signal.addEventListener('abort', onAbort, { once: true })
  try {
    return resultBytes(await Promise.race([carryOut(tool, input, link), ended.promise]))
  } catch (error) {
    link.signal.throwIfAborted()
    return errorBytes(messageOf(error))
  } finally {
    link.signal.removeEventListener('abort', onAbort)
  }
}

/** A schema that cannot be followed (a `$ref` to nowhere) is the author's fault, and said as such. */
function problemsOf(tool: LoadedTool, input: unknown): string | undefined {
  try {
    const problems = tool.check(input)
    if (problems.length === 0) return undefined
    return `The arguments do not fit this tool:\n- ${problems.join('\n- ')}`
  } catch (error) {
    return `The input schema of this tool cannot be used: ${messageOf(error).split('\n')[0]}`
  }
}

async function carryOut(tool: LoadedTool, input: Record<string, unknown>, link: Link) {
  if ('operation' in tool.run)
    return markResult(await runOperation(tool.run.operation, input, link))
  return await tool.run.body(input, createContext(link))
}

function sendResult(connection: FrameConnection, call: number, result: Uint8Array): void {
  if (result.length > MAX_RESULT_BYTES) {
    const message = `The answer has ${result.length} bytes; ${MAX_RESULT_BYTES} are allowed.`
    connection.sendControl(FRAME.FAILED, call, { code: 'result_too_large', message })
    return
  }
  const sent =
    connection.sendParts(FRAME.RESULT_PART, call, result) && connection.send(FRAME.RESULT_END, call)
  if (!sent) connection.end('answers are not read fast enough')
}

/** Collects LOAD and its parts: first the tools as JSON, then the text of the module. */
function loader() {
  let expected: { toolsBytes: number; moduleBytes: number } | undefined
  let bytes = new Uint8Array(0)
  let received = 0
  let finished = false
  return {
    /** True when the last byte is there. */
    take(frame: Frame): boolean {
      if (finished) throw new FrameFault('the sandbox is loaded already')
      if (frame.type === FRAME.LOAD) {
        expected = parseControl(frame.payload) as { toolsBytes: number; moduleBytes: number }
        bytes = new Uint8Array(expected.toolsBytes + expected.moduleBytes)
      } else {
        bytes.set(frame.payload, received)
        received += frame.payload.length
      }
      finished = expected !== undefined && received === bytes.length
      return finished
    },
    async finish(): Promise<Map<string, LoadedTool>> {
      const toolsBytes = expected?.toolsBytes ?? 0
      const wanted = JSON.parse(
        new TextDecoder().decode(bytes.subarray(0, toolsBytes)),
      ) as ToolToLoad[]
      const bodies = await importBodies(bytes.subarray(toolsBytes))
      bytes = new Uint8Array(0)
      return new Map(wanted.map((tool) => [tool.name, loadedTool(tool, bodies)]))
    },
  }
}

function loadedTool(tool: ToolToLoad, bodies: Record<string, unknown>): LoadedTool {
  const check = inputCheck(tool.inputSchema)
  if (tool.operation) return { check, run: { operation: tool.operation } }
  const body = Object.hasOwn(bodies, tool.name) ? bodies[tool.name] : undefined
  if (typeof body !== 'function') throw new Error(`The module has no tool ${tool.name}.`)
  return { check, run: { body: body as ToolBody } }
}

/** The compiled module is text: `export const tools = { name: async (input, ctx) => { … } }`. */
async function importBodies(module: Uint8Array): Promise<Record<string, unknown>> {
  if (module.length === 0) return {}
  const url = URL.createObjectURL(new Blob([module.slice()], { type: 'text/javascript' }))
  try {
    const loaded = (await import(url)) as { tools?: Record<string, unknown> }
    return loaded.tools ?? {}
  } finally {
    URL.revokeObjectURL(url)
  }
}
