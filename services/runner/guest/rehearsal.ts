/** One load and two calls of our own while the sandbox waits in the pool: code that ran once answers the first real call sooner. */
import { FRAME, type Frame, type FrameType, writeUint32 } from '@bmm/lib/frames'
import { createCalls } from './calls.ts'
import { createEgress } from './egress.ts'
import type { FrameLink } from './link.ts'

const inputSchema = {
  type: 'object',
  properties: { text: { type: 'string' }, count: { type: 'integer', minimum: 1 } },
  required: ['text'],
}
const tools = [
  { name: 'code', inputSchema },
  {
    name: 'operation',
    inputSchema,
    operation: {
      method: 'GET',
      url: 'https://rehearsal.invalid/{text}',
      parameters: [
        { key: 'text', name: 'text', in: 'path', style: 'simple', explode: false },
        { key: 'count', name: 'count', in: 'query', style: 'form', explode: true },
      ],
    },
  },
]
const header = { timeoutMs: 1_000 }
const input = '{"text":"a","count":1}'

/**
 * Nothing of it leaves the process. `modulePath` is the file that holds `rehearsalModule`. Resolves with what the calls
 * answered; with nothing when they could not be loaded.
 */
export async function rehearse(modulePath: string): Promise<string[]> {
  const answered = Promise.withResolvers<string[]>()
  const answers: string[] = []
  const egress = createEgress(() => broker)
  const broker = link({
    onSend(type, call) {
      if (type === FRAME.FETCH_END) queueMicrotask(() => answer(egress.onFrame, call))
    },
  })
  const calls = createCalls(egress, modulePath)
  const runner = link({
    onSend(type) {
      if (type === FRAME.LOAD_FAILED) answered.resolve([])
      if (type !== FRAME.LOADED) return
      for (const [index, { name }] of tools.entries()) {
        calls.onFrame(callFrame(index + 1, { ...header, tool: name }), runner)
      }
    },
    onResult(result) {
      if (answers.push(result) === tools.length) answered.resolve(answers)
    },
  })
  const toolsBytes = bytesOf(JSON.stringify(tools))
  const load = { toolsBytes: toolsBytes.length, hasModule: true }
  for (const [type, payload] of [
    [FRAME.LOAD, bytesOf(JSON.stringify(load))],
    [FRAME.LOAD_PART, toolsBytes],
  ] as const) {
    calls.onFrame({ type, call: 0, payload }, runner)
  }
  return answered.promise
}

/** What the broker answers to a request. */
function answer(onFrame: (frame: Frame) => void, call: number): void {
  const head = { status: 200, headers: [['content-type', 'application/json']] }
  onFrame({ type: FRAME.RESPONSE, call, payload: bytesOf(JSON.stringify(head)) })
  onFrame({ type: FRAME.RESPONSE_BODY, call, payload: bytesOf('{"text":"a"}') })
  onFrame({ type: FRAME.RESPONSE_END, call, payload: new Uint8Array() })
}

function link(handlers: {
  onSend(type: FrameType, call: number): void
  onResult?(result: string): void
}): FrameLink {
  const sent = (type: FrameType, call: number) => {
    handlers.onSend(type, call)
    return true
  }
  return {
    ...{ send: sent, sendControl: sent, sendParts: sent, end() {} },
    sendResult(_call, result) {
      handlers.onResult?.(result)
      return true
    },
  }
}

/** As `FrameConnection.sendCall` writes it. */
function callFrame(call: number, value: unknown): Frame {
  const head = bytesOf(JSON.stringify(value))
  const args = bytesOf(input)
  const payload = new Uint8Array(4 + head.length + args.length)
  writeUint32(payload, 0, head.length)
  payload.set(head, 4)
  payload.set(args, 4 + head.length)
  return { type: FRAME.CALL, call, payload }
}

function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}
