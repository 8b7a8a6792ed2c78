/** A whole runner for tests: a real keeper, real sandboxes, a stand-in for the broker, and a gateway to call from. */
import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { FrameConnection } from '@bmm/lib/frame-connection'
import { connectFrames, listenFrames } from '@bmm/lib/frame-socket'
import { callIds, FRAME, type Frame, parseControl } from '@bmm/lib/frames'
import type { TestIdentities } from '@bmm/lib/testing'
import { until } from '@bmm/lib/testing-until'
import type { DriverName } from './keeper/driver.ts'
import { startKeeperProcess, type TestKeeperProcess } from './keeper/testing-process.ts'
import { SLOT_SOCKET_MODE, slotDirectory, slotFiles } from './sandbox/sandbox-limits.ts'
import { writeSlotFile } from './sandbox/slot-files.ts'

const READY_TIMEOUT_MS = 60_000

export type TestKeeper = TestKeeperProcess & {
  /** Starts a new keeper process after the old one was killed; resolves when it listens. */
  restart(): Promise<void>
}

/** A keeper that listens; needs root and what the driver needs, and fails without them. */
export async function startTestKeeper(slots: number, driver: DriverName): Promise<TestKeeper> {
  const keeper = startKeeperProcess({ name: 'r', driver, slots })
  const ready = async () => {
    const child = keeper.process
    await until(
      () => existsSync(keeper.socket) || child.exitCode !== null,
      'the keeper to listen',
      READY_TIMEOUT_MS,
    )
    if (child.exitCode !== null) throw new Error('the keeper did not start')
  }
  await ready()
  return {
    ...keeper,
    get process() {
      return keeper.process
    },
    async restart() {
      keeper.start()
      await ready()
    },
  }
}

export type TestAssignment = {
  slot: number
  /** Of the statement that came along. */
  serverId: string
  userId: string
}

export type TestBroker = {
  assignments: TestAssignment[]
  /** Slots for which a sandbox was expected, in order. */
  expected: number[]
  released: number[]
  /** What the runner says about a call of a slot. */
  isInFlight(slot: number, call: number): Promise<boolean>
  /** Requests that sandboxes sent, by slot. */
  fetches: { slot: number; call: number; url: string }[]
  stop(): void
}

/** Speaks the broker's part of the link, greets sandboxes, and answers every request with its URL. */
export async function startTestBroker(
  socket: string,
  slotsDir: string,
  identities: TestIdentities,
): Promise<TestBroker> {
  const assignments: TestAssignment[] = []
  const expected: number[] = []
  const released: number[] = []
  const fetches: TestBroker['fetches'] = []
  const questions = new Map<number, (inFlight: boolean) => void>()
  const guests = new Set<FrameConnection>()
  const ids = callIds()
  function onFrame(frame: Frame, link: FrameConnection) {
    const value = parseControl(frame.payload, 1024 * 1024)
    if (frame.type === FRAME.EXPECT) {
      const { slot, token } = value as { slot: number; token: string }
      expected.push(slot)
      expectGuest(slotDirectory(slotsDir, slot, 'e'), token, guests, (call, url) =>
        fetches.push({ slot, call, url }),
      )
      link.sendControl(FRAME.EXPECTED, frame.call, { slot })
    } else if (frame.type === FRAME.ASSIGN) {
      const { slot, userId, statement } = value as TestAssignment & { statement: string }
      const { serverId } = JSON.parse(Buffer.from(statement, 'base64').toString())
      assignments.push({ slot, serverId, userId })
      link.sendControl(FRAME.ASSIGNED, frame.call, { slot })
    } else if (frame.type === FRAME.RELEASE) {
      released.push((value as { slot: number }).slot)
      link.sendControl(FRAME.RELEASED, frame.call, value)
    } else {
      questions.get(frame.call)?.((value as { inFlight: boolean }).inFlight)
    }
  }
  const link = await connectFrames({
    unix: socket,
    accept: [FRAME.EXPECT, FRAME.ASSIGN, FRAME.RELEASE, FRAME.IN_FLIGHT_ANSWER],
    onFrame,
    onEnd() {
      for (const guest of [...guests]) guest.end('the broker is gone')
    },
  })
  const jwt = await identities.of('broker').sign('runner', '/frames/link')
  link.sendControl(FRAME.HELLO, 0, { jwt })
  return {
    ...{ assignments, expected, released, fetches },
    isInFlight(slot, call) {
      const question = ids.next()
      link.sendControl(FRAME.IN_FLIGHT, question, { slot, call })
      return new Promise((resolve) => questions.set(question, resolve))
    },
    stop: () => link.end('the test is over'),
  }
}

function expectGuest(
  directory: string,
  token: string,
  guests: Set<FrameConnection>,
  onFetch: (call: number, url: string) => void,
) {
  const tokenFile = join(directory, slotFiles.token)
  writeSlotFile(tokenFile, token)
  const listener = listenFrames({
    unix: join(directory, slotFiles.egress),
    mode: SLOT_SOCKET_MODE,
    onConnection() {
      listener.stop()
      return {
        accept: [FRAME.HELLO, FRAME.FETCH, FRAME.FETCH_BODY, FRAME.FETCH_END, FRAME.CANCEL],
        onOpen: (guest) => guests.add(guest),
        onEnd: (_, guest) => guests.delete(guest),
        onFrame(frame, guest) {
          if (frame.type === FRAME.HELLO) rmSync(tokenFile, { force: true })
          if (frame.type !== FRAME.FETCH) return
          const { call, url } = parseControl(frame.payload) as { call: number; url: string }
          onFetch(call, url)
          guest.sendControl(FRAME.RESPONSE, frame.call, { status: 200, headers: [] })
          guest.send(FRAME.RESPONSE_BODY, frame.call, new TextEncoder().encode(url))
          guest.send(FRAME.RESPONSE_END, frame.call)
        },
      }
    },
  })
}

export type TestCall = {
  serverId: string
  epoch: number
  tool: string
  userId: string
  orgId: string
  timeoutMs?: number
  progress?: boolean
  input?: unknown
}

export type TestOutcome = {
  /** `ok`, or the code of FAILED. */
  code: string
  message: string
  /** First text of the result. */
  text: string
  bytes: number
  progress: unknown[]
  elapsedMs: number
}

export type CallUnderWay = {
  /** For cancelling it. */
  id: number
  /** What the tool has reported so far, where that was asked for. */
  progress: readonly unknown[]
  outcome: Promise<TestOutcome>
}

export type TestGateway = {
  connection: FrameConnection
  call(call: TestCall): CallUnderWay
  cancel(id: number): void
}

/** A gateway's end of the call leg. */
export async function dialAsGateway(socket: string, jwt: string): Promise<TestGateway> {
  const ids = callIds()
  const open = new Map<number, (frame: Frame) => void>()
  const lost = new Set<(reason: string) => void>()
  const connection = await connectFrames({
    unix: socket,
    accept: [FRAME.RESULT_PART, FRAME.RESULT_END, FRAME.FAILED, FRAME.PROGRESS],
    onFrame: (frame) => open.get(frame.call)?.(frame),
    onEnd: (reason) => {
      for (const tell of lost) tell(reason)
    },
  })
  connection.sendControl(FRAME.HELLO, 0, { jwt })
  return {
    connection,
    call({ input = {}, ...given }) {
      const id = ids.next()
      const header = { timeoutMs: 20_000, progress: false, requestId: `req-${id}`, ...given }
      const startedAt = performance.now()
      const parts: Uint8Array[] = []
      const progress: unknown[] = []
      const { promise, resolve } = Promise.withResolvers<TestOutcome>()
      function finish(code: string, message: string) {
        open.delete(id)
        const bytes = Buffer.concat(parts)
        const elapsedMs = performance.now() - startedAt
        resolve({ code, message, text: firstText(bytes), bytes: bytes.length, progress, elapsedMs })
      }
      lost.add((reason) => finish('lost', reason))
      open.set(id, (frame) => {
        if (frame.type === FRAME.RESULT_PART) parts.push(frame.payload.slice())
        else if (frame.type === FRAME.RESULT_END) {
          parts.push(frame.payload.slice())
          finish('ok', '')
        } else if (frame.type === FRAME.PROGRESS) progress.push(parseControl(frame.payload))
        else {
          const { code, message } = parseControl(frame.payload) as { code: string; message: string }
          finish(code, message)
        }
      })
      connection.sendCall(id, header, new TextEncoder().encode(JSON.stringify(input)))
      return { id, progress, outcome: promise }
    },
    cancel: (id) => void connection.send(FRAME.CANCEL, id),
  }
}

/** Resolves when the tools of all of them run and have reported: what is assigned may still be loading. */
export async function toRun(...calls: CallUnderWay[]): Promise<void> {
  const run = until(() => calls.every(({ progress }) => progress.length > 0), 'the tools to run')
  const ends = calls.map(async ({ outcome }) => {
    const { code, message } = await outcome
    throw new Error(`a call that should run has ended: ${code} ${message}`)
  })
  await Promise.race([run, ...ends])
}

function firstText(bytes: Buffer): string {
  if (bytes.length === 0) return ''
  const { content } = JSON.parse(bytes.toString()) as { content: { text?: string }[] }
  return content[0]?.text ?? ''
}
