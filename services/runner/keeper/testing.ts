/** What tests of real sandboxes start from: a keeper process, and a broker leg that answers by a function. */
import { rmSync } from 'node:fs'
import type { Progress } from '@bmm/lib/call-frames'
import { type FrameListener, listenFrames } from '@bmm/lib/frame-socket'
import { FRAME, parseControl } from '@bmm/lib/frames'
import { createLog } from '@bmm/lib/log'
import { dialKeeper, type KeeperLink } from '../keeper-link.ts'
import { type Sandbox, type SandboxOptions, startSandbox } from '../sandbox/sandbox.ts'
import {
  type SandboxClass,
  SLOT_SOCKET_MODE,
  slotDirectory,
  slotFiles,
} from '../sandbox/sandbox-limits.ts'
import { writeSlotFile } from '../sandbox/slot-files.ts'
import type { DriverName } from './driver.ts'
import { startKeeperProcess, type TestKeeperProcess } from './testing-process.ts'

export type TestFetch = {
  call: number
  method: string
  url: string
  headers: [string, string][]
  body: Uint8Array
}
export type TestUpstream = (
  request: TestFetch,
) =>
  | { status: number; headers?: [string, string][]; body: Uint8Array | string }
  | { failed: { code: string; message: string } }
  | Promise<never>

export type TestStack = TestKeeperProcess & {
  link: KeeperLink
  sandbox(slot: number, options?: Omit<TestSandboxOptions, 'slot' | 'more'>): Promise<Sandbox>
  /** Starts a keeper again with the same folders; resolves when the link is connected to it. */
  restartKeeper(): Promise<void>
}

export type TestAnswer = {
  outcome: { code: 'ok' } | { code: string; message: string }
  /** The result, parsed. */
  result: {
    content: { type: string; text: string }[]
    isError?: boolean
    structuredContent?: unknown
  }
  bytes: number
  progress: Progress[]
  log: string[]
}

const SLOTS = 16
const READY_TIMEOUT_MS = 60_000

/** A keeper of its own; needs root and what the driver needs, and fails without them. */
export async function startTestStack(
  name: string,
  driver: DriverName,
  options: { env?: Record<string, string> } = {},
): Promise<TestStack> {
  const keeper = startKeeperProcess({ name, driver, slots: SLOTS, ...options })
  const listeners: FrameListener[] = []
  let connected = Promise.withResolvers<void>()
  const link = dialKeeper({
    socket: keeper.socket,
    onConnected: () => connected.resolve(),
    onLost: () => {},
    log: createLog('test', 'silent'),
  })
  const ready = () =>
    Promise.race([
      connected.promise,
      keeper.process.exited.then(() => Promise.reject(new Error('the keeper did not start'))),
      Bun.sleep(READY_TIMEOUT_MS).then(() => Promise.reject(new Error('the keeper is not ready'))),
    ])
  await ready()

  return {
    ...keeper,
    link,
    get process() {
      return keeper.process
    },
    async restartKeeper() {
      connected = Promise.withResolvers()
      keeper.start()
      await ready()
    },
    async sandbox(slot, options = {}) {
      const upstream = options.upstream ?? (() => ({ status: 404, body: 'no upstream' }))
      return await startSandbox({
        slot,
        sandboxClass: options.class ?? 'hobby',
        slotsDir: keeper.slotsDir,
        keeper: {
          ...link,
          start(...parameters) {
            const started = link.start(...parameters)
            options.onAsked?.()
            return started
          },
        },
        expectEgress: async (at, token) => {
          listeners.push(fakeBroker(slotDirectory(keeper.slotsDir, at, 'e'), token, upstream))
        },
        ...(options.times && { times: options.times }),
        ...(options.signal && { signal: options.signal }),
      })
    },
    async stop() {
      link.close()
      await keeper.stop()
      for (const listener of listeners) listener.stop()
    },
  }
}

/** The compiled form of tools given as source text. */
function moduleOf(tools: Record<string, string>): Uint8Array {
  const entries = Object.entries(tools).map(([name, code]) => `${JSON.stringify(name)}: ${code}`)
  return new TextEncoder().encode(`export const tools = {\n${entries.join(',\n')}\n}\n`)
}

export type TestTool = {
  name: string
  inputSchema: Record<string, unknown>
  operation?: unknown
  /** Source text of a code tool with a schema of its own. */
  body?: string
}

/** Loads code tools that take any object. */
export function loadTools(
  sandbox: Sandbox,
  tools: Record<string, string>,
  more: TestTool[] = [],
): Promise<string[]> {
  const specs = Object.keys(tools).map(
    (name): TestTool => ({ name, inputSchema: { type: 'object' } }),
  )
  const bodies = { ...tools }
  for (const { body, ...tool } of more) {
    specs.push(tool)
    if (body !== undefined) bodies[tool.name] = body
  }
  return sandbox.load({
    tools: new TextEncoder().encode(JSON.stringify(specs)),
    module: Object.keys(bodies).length > 0 ? moduleOf(bodies) : new Uint8Array(),
  })
}

export type TestSandboxOptions = {
  class?: SandboxClass
  upstream?: TestUpstream
  times?: NonNullable<SandboxOptions['times']>
  signal?: AbortSignal
  /** Called when the keeper has been asked to start it. */
  onAsked?: () => void
  slot?: number
  /** Tools beside the code tools. */
  more?: TestTool[]
}

/** A loaded sandbox that is gone afterwards. */
export async function withSandbox(
  stack: TestStack,
  tools: Record<string, string>,
  use: (sandbox: Sandbox) => Promise<void>,
  { slot = 0, more = [], ...options }: TestSandboxOptions = {},
): Promise<void> {
  const sandbox = await stack.sandbox(slot, options)
  try {
    await loadTools(sandbox, tools, more)
    await use(sandbox)
  } finally {
    sandbox.stop()
    await sandbox.gone
  }
}

/** Calls a tool and waits for its end, whatever it is. */
export function callTool(
  sandbox: Sandbox,
  tool: string,
  input: unknown = {},
  options: { timeoutMs?: number; onStart?: (call: number) => void } = {},
): Promise<TestAnswer> {
  const parts: Uint8Array[] = []
  const progress: Progress[] = []
  const log: string[] = []
  return new Promise((resolve) => {
    const finish = (outcome: TestAnswer['outcome']) => {
      const bytes = Buffer.concat(parts)
      const isWhole = outcome.code === 'ok' && bytes.length > 0
      const result = isWhole ? JSON.parse(bytes.toString()) : { content: [] }
      resolve({ outcome, result, bytes: bytes.length, progress, log })
    }
    const args = new TextEncoder().encode(JSON.stringify(input))
    const call = sandbox.call({ tool, timeoutMs: options.timeoutMs ?? 20_000 }, args, {
      part: (bytes) => void parts.push(bytes.slice()),
      end(last) {
        parts.push(last.slice())
        finish({ code: 'ok' })
      },
      fail: (code, message) => finish({ code, message }),
      progress: (step) => void progress.push(step),
      log: (line) => void log.push(line),
    })
    options.onStart?.(call)
  })
}

/** Greets one sandbox by its token, as the broker does, and answers its requests by a function. */
function fakeBroker(directory: string, token: string, upstream: TestUpstream): FrameListener {
  const tokenFile = `${directory}/${slotFiles.token}`
  writeSlotFile(tokenFile, token)
  const requests = new Map<number, TestFetch>()
  const listener = listenFrames({
    unix: `${directory}/${slotFiles.egress}`,
    mode: SLOT_SOCKET_MODE,
    onConnection() {
      listener.stop()
      return {
        accept: [FRAME.HELLO, FRAME.FETCH, FRAME.FETCH_BODY, FRAME.FETCH_END, FRAME.CANCEL],
        async onFrame(frame, connection) {
          if (frame.type === FRAME.HELLO) {
            const hello = parseControl(frame.payload) as { token: string }
            if (hello.token !== token) connection.end('a wrong token')
            rmSync(tokenFile, { force: true })
          } else if (frame.type === FRAME.FETCH) {
            const request = parseControl(frame.payload) as Omit<TestFetch, 'body'>
            requests.set(frame.call, { ...request, body: new Uint8Array() })
          } else if (frame.type === FRAME.FETCH_BODY) {
            const request = requests.get(frame.call)
            if (request) request.body = Buffer.concat([request.body, frame.payload])
          } else if (frame.type === FRAME.FETCH_END) {
            const request = requests.get(frame.call)
            if (!request) return
            const answer = await upstream(request)
            if ('failed' in answer) {
              connection.sendControl(FRAME.FETCH_FAILED, frame.call, answer.failed)
              return
            }
            const { status, headers = [] } = answer
            connection.sendControl(FRAME.RESPONSE, frame.call, { status, headers })
            connection.sendParts(FRAME.RESPONSE_BODY, frame.call, Buffer.from(answer.body))
            connection.send(FRAME.RESPONSE_END, frame.call)
          }
        },
      }
    },
  })
  return listener
}
