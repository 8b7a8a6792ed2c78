/** The link to the runner against a runner that misbehaves: too much, malformed, late, gone. */
import { afterEach, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CALLS_METHOD, type CallHeader } from '@bmm/lib/call-frames'
import type { FrameConnection } from '@bmm/lib/frame-connection'
import { listenFrames } from '@bmm/lib/frame-socket'
import { FRAME, type Frame, parseCall } from '@bmm/lib/frames'
import { testIdentities, testLog } from '@bmm/lib/testing'
import { until } from '@bmm/lib/testing-until'
import type { EndReason } from './limits/in-flight.ts'
import { type CallOutcome, openRunnerLink, type RunnerLink } from './runner-link.ts'

const identities = await testIdentities()
const cleanups: (() => PromiseLike<void> | void)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

type Runner = { hellos: string[]; cancels: number[]; calls: number[]; connections: number }

/** `onCall` plays the runner. */
function start(onCall: (connection: FrameConnection, frame: Frame) => void): {
  link: RunnerLink
  runner: Runner
} {
  const folder = mkdtempSync(join(tmpdir(), 'link-'))
  const socket = join(folder, 'calls.sock')
  const runner: Runner = { hellos: [], cancels: [], calls: [], connections: 0 }
  const open: FrameConnection[] = []
  const listener = listenFrames({
    unix: socket,
    mode: 0o600,
    onConnection: () => ({
      accept: [FRAME.HELLO, FRAME.CALL, FRAME.CANCEL],
      onOpen(connection) {
        runner.connections++
        open.push(connection)
      },
      onFrame(frame, connection) {
        if (frame.type === FRAME.HELLO) {
          runner.hellos.push(JSON.parse(new TextDecoder().decode(frame.payload)).jwt)
        } else if (frame.type === FRAME.CANCEL) runner.cancels.push(frame.call)
        else {
          runner.calls.push(frame.call)
          onCall(connection, frame)
        }
      },
    }),
  })
  const link = openRunnerLink({ socket, identity: identities.of('gateway'), log: testLog })
  cleanups.push(
    () => rmSync(folder, { recursive: true, force: true }),
    () => listener.stop(),
    () => {
      for (const connection of open) connection.end('the test ends')
    },
    () => link[Symbol.asyncDispose](),
  )
  return { link, runner }
}

const header: CallHeader = {
  serverId: 'srv_1',
  epoch: 1,
  tool: 'echo',
  userId: 'usr_1',
  orgId: 'org_1',
  timeoutMs: 1_000,
  requestId: 'req_1',
  progress: true,
}
const encoder = new TextEncoder()

function call(link: RunnerLink, args = '{"a":1}', userId = header.userId) {
  const seen: number[] = []
  const ending: { reason: EndReason | undefined; listener: { onEnd(): void } | undefined } = {
    reason: undefined,
    listener: undefined,
  }
  const { promise: outcome, resolve } = Promise.withResolvers<CallOutcome>()
  link.call({ ...header, userId }, args, {
    ending,
    onProgress: ({ progress }) => void seen.push(progress),
    onOutcome(told) {
      resolve(told.kind === 'result' ? { ...told, bytes: new Uint8Array(told.bytes) } : told)
    },
  })
  const cancel = () => {
    ending.reason = 'cancelled'
    ending.listener?.onEnd()
  }
  return { outcome, seen, cancel }
}

test('the hello proves who dials, the call carries header and arguments, ids rise', async () => {
  const { link, runner } = start((connection, frame) => {
    const { header: sent, args } = parseCall(frame.payload)
    expect(sent).toEqual(header)
    connection.send(FRAME.RESULT_PART, frame.call, args.slice())
    connection.send(FRAME.RESULT_END, frame.call)
  })
  for (let calls = 0; calls < 3; calls++) {
    const outcome = await call(link).outcome
    expect(outcome).toEqual({ kind: 'result', bytes: encoder.encode('{"a":1}') })
  }
  expect(runner.calls).toEqual([1, 2, 3])
  const [hello = ''] = runner.hellos
  const verified = await identities.of('runner').verify(hello, CALLS_METHOD, { once: true })
  expect(verified).toBe('gateway')
})

test('arguments larger than a frame are refused, also of a call that waited for the connection', async () => {
  const { link, runner } = start((connection, frame) => {
    connection.send(FRAME.RESULT_END, frame.call, encoder.encode('{}'))
  })
  const large = JSON.stringify({ a: 'x'.repeat(1024 * 1024) })
  expect(link.isConnected()).toBe(false)
  expect(await call(link, large).outcome).toMatchObject({ code: 'arguments_too_large' })
  expect(link.isConnected()).toBe(true)
  expect(await call(link, large).outcome).toMatchObject({ code: 'arguments_too_large' })
  expect(await call(link).outcome).toMatchObject({ kind: 'result' })
  expect(runner.calls).toHaveLength(1)
})

test('a result of more than eight megabytes is cut off and cancelled', async () => {
  const part = new Uint8Array(1024 * 1024)
  const { link, runner } = start((connection, frame) => {
    for (let parts = 0; parts < 9; parts++) connection.send(FRAME.RESULT_PART, frame.call, part)
  })
  expect(await call(link).outcome).toMatchObject({ kind: 'failed', code: 'result_too_large' })
  await until(() => runner.cancels.length === 1)
})

for (const [what, type, payload] of [
  ['progress', FRAME.PROGRESS, { progress: 'much' }],
  ['failure', FRAME.FAILED, { code: 1 }],
] as const) {
  test(`malformed ${what} ends the connection, its calls fail, and a new one is made`, async () => {
    let bad = true
    const { link, runner } = start((connection, frame) => {
      if (bad) connection.sendControl(type, frame.call, payload)
      else connection.send(FRAME.RESULT_END, frame.call)
    })
    expect(await call(link).outcome).toMatchObject({ kind: 'failed', code: 'runner_stopping' })
    bad = false
    await until(() => runner.connections === 2)
    expect(await call(link).outcome).toMatchObject({ kind: 'result' })
  })
}

test('frames of calls that nobody waits for are dropped', async () => {
  const { link } = start((connection, frame) => {
    connection.sendControl(FRAME.PROGRESS, 999, { progress: 1 })
    connection.send(FRAME.RESULT_END, 999)
    connection.send(FRAME.RESULT_PART, frame.call, encoder.encode('ok'))
    connection.send(FRAME.RESULT_END, frame.call)
    connection.sendControl(FRAME.FAILED, frame.call, { code: 'busy', message: 'late' })
  })
  for (let calls = 0; calls < 2; calls++) {
    expect(await call(link).outcome).toEqual({ kind: 'result', bytes: encoder.encode('ok') })
  }
})

test('a cancelled call is over at once, whatever the runner still sends', async () => {
  const { link, runner } = start((connection, frame) => {
    connection.sendControl(FRAME.PROGRESS, frame.call, { progress: 1 })
  })
  const { outcome, seen, cancel } = call(link)
  await until(() => seen.length === 1)
  cancel()
  expect(await outcome).toMatchObject({ kind: 'failed', code: 'cancelled' })
  await until(() => runner.cancels.length === 1)
})

test('nobody there is said after a moment, not after ever', async () => {
  const link = openRunnerLink({
    socket: join(tmpdir(), `nobody-${crypto.randomUUID()}.sock`),
    identity: identities.of('gateway'),
    log: testLog,
  })
  cleanups.push(() => link[Symbol.asyncDispose]())
  expect(link.isConnected()).toBe(false)
  expect(await call(link).outcome).toMatchObject({ kind: 'failed', code: 'unavailable' })
}, 30_000)

test('answers of one person that come at once leave turns to those who come behind them', async () => {
  const waiting: number[] = []
  const { link } = start((connection, frame) => {
    waiting.push(frame.call)
    if (waiting.length < 101) return
    for (const id of waiting) connection.send(FRAME.RESULT_END, id, encoder.encode(`${id}`))
  })
  const answered: string[] = []
  const note = async (userId: string, { outcome }: ReturnType<typeof call>) => {
    const told = await outcome
    if (told.kind === 'result') answered.push(`${userId} ${new TextDecoder().decode(told.bytes)}`)
  }
  const many = Array.from({ length: 100 }, () => note('usr_busy', call(link, '{}', 'usr_busy')))
  await Promise.all([...many, note('usr_other', call(link, '{}', 'usr_other'))])
  const busy = answered.filter((line) => line.startsWith('usr_busy'))
  expect(busy).toEqual(Array.from({ length: 100 }, (_, at) => `usr_busy ${at + 1}`))
  expect(answered.indexOf('usr_other 101')).toBeLessThan(50)
})

test('answers that wait for a turn are given although the runner has gone away', async () => {
  const waiting: number[] = []
  const { link } = start((connection, frame) => {
    waiting.push(frame.call)
    if (waiting.length < 100) return
    for (const id of waiting) connection.send(FRAME.RESULT_END, id, encoder.encode(`${id}`))
    connection.end('the runner ends')
  })
  const calls = Array.from({ length: 100 }, () => call(link, '{}', 'usr_busy').outcome)
  const kinds = (await Promise.all(calls)).map(({ kind }) => kind)
  expect(kinds).toEqual(kinds.map(() => 'result'))
})
