import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { existsSync, statSync } from 'node:fs'
import { connectFrames } from '@bmm/lib/frame-socket'
import { FRAME } from '@bmm/lib/frames'
import { until } from '@bmm/lib/testing-until'
import { type RawUpstream, rawUpstream } from '@bmm/lib/testing-upstream'
import { TargetService } from '@bmm/proto/broker/v1/broker_service'
import { slotDirectory, slotFiles } from '../sandbox/sandbox-limits.ts'
import { openBroker } from './broker.ts'
import { connectSandbox, startTestBroker, type TestBroker } from './testing.ts'

const ok = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'
let broker: TestBroker
let upstream: RawUpstream
let origin: string
/** Answers of the upstream wait here until a test lets them go. */
let held: (() => void)[] = []
let isHolding = false

beforeAll(async () => {
  broker = await startTestBroker({ resolve: async () => ['127.0.0.1'] })
  upstream = await rawUpstream((_request, socket) => {
    if (isHolding) held.push(() => socket.write(ok))
    else socket.write(ok)
  })
  origin = `http://api.lan:${upstream.port}`
  const targets = broker.rpc.client(TargetService, 'broker', 'operator')
  await targets.allowTarget({ host: 'api.lan', port: upstream.port })
})
beforeEach(() => {
  isHolding = false
  held = []
})
afterAll(async () => {
  upstream.close()
  await broker[Symbol.asyncDispose]()
})

const pathOf = (slot: number, file: 'egress' | 'token') =>
  `${slotDirectory(broker.folder, slot, 'e')}/${slotFiles[file]}`
const message = (act: Promise<unknown>) =>
  act.then(
    () => 'done',
    (error) => String(error),
  )
const serving = () => broker.sandbox(broker.sign({ egress: [{ origin }] }).signed)

describe('a slot', () => {
  test('has a socket and a token for its own group only, and neither after the hello', async () => {
    await broker.runner.link.expect(15, 'a-token-of-enough-length')
    expect(statSync(pathOf(15, 'egress')).mode & 0o777).toBe(0o660)
    expect(statSync(pathOf(15, 'token')).mode & 0o777).toBe(0o640)
    const sandbox = await connectSandbox(broker.folder, 15, 'a-token-of-enough-length')
    await until(() => !existsSync(pathOf(15, 'token')))
    expect(existsSync(pathOf(15, 'egress'))).toBe(false)
    expect(sandbox.connection.ended).toBe(false)
    const again = connectSandbox(broker.folder, 15, 'a-token-of-enough-length')
    expect(await message(again)).not.toBe('done')
  })

  test('ends a sandbox that does not know the token, and lets nobody in afterwards', async () => {
    await broker.runner.link.expect(14, 'a-token-of-enough-length')
    const wrong = await connectSandbox(broker.folder, 14, 'another-token-of-that-len')
    await wrong.connection.closed
    const late = connectSandbox(broker.folder, 14, 'a-token-of-enough-length')
    expect(await message(late)).not.toBe('done')
  })

  test('is assigned once, to the token that it expects, in an existing slot', async () => {
    const { signed } = broker.sign({ egress: [{ origin }] })
    const { slot, token } = await broker.sandbox(signed)
    expect(await message(broker.assign(slot, token, signed))).toContain('serves somebody already')
    expect(await message(broker.assign(slot, 'no-such-token-anywhere', signed))).toContain(
      'does not expect that',
    )
    const beyond = broker.runner.link.expect(999, 'a-token-of-enough-length')
    expect(await message(beyond)).toContain('there is no slot 999')
  })

  test('that is released ends its sandbox and what it has under way', async () => {
    const sandbox = await serving()
    isHolding = true
    const id = sandbox.begin(`${origin}/`)
    await until(() => held.length === 1)
    const socket = upstream.sockets.at(-1)
    await broker.runner.link.release(sandbox.slot)
    expect(await sandbox.answer(id)).toMatchObject({ failed: 'closed' })
    await until(() => socket?.destroyed === true)
  })

  test('that is expected anew ends whoever was there', async () => {
    const sandbox = await serving()
    await broker.runner.link.expect(sandbox.slot, 'a-token-of-enough-length')
    await sandbox.connection.closed
  })
})

describe('a statement', () => {
  test('that is forged, unknown, a stop or older than one seen is refused', async () => {
    const { statement, signed } = broker.sign({ egress: [{ origin }], epoch: 5 })
    const unassigned = await broker.sandbox()
    const assign = (of: typeof signed) =>
      message(broker.assign(unassigned.slot, unassigned.token, of))
    const flipped = signed.bytes.slice()
    flipped[20] = (flipped[20] ?? 0) ^ 1
    expect(await assign({ ...signed, bytes: flipped })).toContain('not validly signed')
    expect(await assign({ ...signed, keyId: 'k2' })).toContain('not validly signed')
    await broker.sandbox(signed)
    const older = broker.sign({ ...statement, epoch: 4 })
    expect(await assign(older.signed)).toContain('older than one seen before')
    expect(await assign(signed)).toBe('done')
  })

  test('is no longer acted by once a newer one of the server was seen', async () => {
    const { statement, signed } = broker.sign({ egress: [{ origin }], epoch: 1 })
    const old = await broker.sandbox(signed)
    expect(await old.fetch(`${origin}/`)).toMatchObject({ status: 200 })
    await broker.sandbox(broker.sign({ ...statement, epoch: 2 }).signed)
    expect(await old.fetch(`${origin}/`)).toMatchObject({ failed: 'statement_superseded' })
  })

  test('that is older stays refused after a restart', async () => {
    await using own = await startTestBroker({ resolve: async () => [] })
    const { statement, signed } = own.sign({ epoch: 9 })
    await own.sandbox(signed)
    const epochs = () => own.sql`select from epochs where server_id = ${statement.serverId}`
    await until(async () => (await epochs()).length === 1)
    await own.broker[Symbol.asyncDispose]()
    await until(() => !own.runner.link.connected)
    await using _restarted = await openBroker(own.brokerOptions)
    await until(() => own.runner.link.connected)
    const { slot, token } = await own.sandbox()
    const older = own.sign({ ...statement, epoch: 8 }).signed
    expect(await message(own.assign(slot, token, older))).toContain('older than one seen before')
  })
})

describe('frames of a hostile sandbox', () => {
  const hostile = async (
    act: (connection: Awaited<ReturnType<typeof serving>>['connection']) => void,
  ) => {
    const { connection } = await serving()
    act(connection)
    return connection.closed
  }
  const head = { call: 1, method: 'GET', url: 'http://x.example.com/', headers: [], hasBody: true }

  test.each([
    ['a second hello', FRAME.HELLO, 0, { token: 'x', protocol: 1 }],
    ['a type of the runner leg', FRAME.ASSIGN, 1, {}],
    ['an answer', FRAME.RESPONSE, 1, {}],
    ['a fetch that is not one', FRAME.FETCH, 1, { url: 'http://x.example.com/' }],
    ['a fetch with more than it may say', FRAME.FETCH, 1, { ...head, slot: 3 }],
    ['a fetch whose header is no pair', FRAME.FETCH, 1, { ...head, headers: [['a']] }],
    ['a body of nothing', FRAME.FETCH_BODY, 1, {}],
    ['an end of nothing', FRAME.FETCH_END, 1, {}],
    ['a cancel of nothing', FRAME.CANCEL, 9, {}],
  ] as const)('%s ends its connection', async (_what, type, call, payload) => {
    expect(await hostile((connection) => connection.sendControl(type, call, payload))).toBeString()
  })

  test('an id used twice ends its connection', async () => {
    const reason = hostile((connection) => {
      connection.sendControl(FRAME.FETCH, 3, head)
      connection.sendControl(FRAME.FETCH, 3, head)
    })
    expect(await reason).toBeString()
  })

  test('a body after the end of a request ends its connection', async () => {
    isHolding = true
    const reason = hostile((connection) => {
      connection.sendControl(FRAME.FETCH, 1, { ...head, url: `${origin}/` })
      connection.send(FRAME.FETCH_END, 1)
      connection.send(FRAME.FETCH_BODY, 1, Buffer.from('late'))
    })
    expect(await reason).toBeString()
  })

  test('requests without end are bounded', async () => {
    const reason = hostile((connection) => {
      for (let id = 1; id <= 300; id++) connection.sendControl(FRAME.FETCH, id, head)
    })
    expect(await reason).toBeString()
  })

  test('a body in parts of nothing ends its connection, before they fill the memory', async () => {
    const reason = hostile((connection) => {
      connection.sendControl(FRAME.FETCH, 1, head)
      for (let part = 0; part < 100; part++) connection.send(FRAME.FETCH_BODY, 1)
    })
    expect(await reason).toBeString()
  })

  test('frames that lead to nothing end its connection, before they take the time of others', async () => {
    const reason = hostile((connection) => {
      connection.sendControl(FRAME.FETCH, 1, head)
      for (let at = 0; at < 20_000; at++) connection.send(FRAME.CANCEL, 1)
    })
    expect(await reason).toBeString()
  })

  test('a fetch before the hello ends its connection', async () => {
    await broker.runner.link.expect(13, 'a-token-of-enough-length')
    const connection = await connectFrames({
      unix: pathOf(13, 'egress'),
      accept: [],
      onFrame() {},
    })
    connection.sendControl(FRAME.FETCH, 1, head)
    expect(await connection.closed).toBeString()
  })

  test('a body over the limit is refused, its rest is read, and the next request works', async () => {
    const sandbox = await serving()
    const body = new Uint8Array(9 * 1024 * 1024)
    expect(await sandbox.fetch(`${origin}/`, { method: 'POST', body })).toMatchObject({
      failed: 'request_too_large',
    })
    expect(await sandbox.fetch(`${origin}/`)).toMatchObject({ status: 200 })
  })

  test('a URL or headers over the limit are refused, and the next request works', async () => {
    const sandbox = await serving()
    const long = 'x'.repeat(300_000)
    expect(await sandbox.fetch(`${origin}/${long}`, { body: 'b' })).toMatchObject({
      failed: 'request_too_large',
    })
    expect(await sandbox.fetch(`${origin}/${long.slice(0, 20_000)}`)).toMatchObject({
      failed: 'url_invalid',
    })
    const many = Array.from({ length: 3_000 }, (_, at): [string, string] => [`x-${at}`, 'y'])
    expect(await sandbox.fetch(`${origin}/`, { headers: many })).toMatchObject({
      failed: 'header_refused',
    })
    expect(await sandbox.fetch(`${origin}/`)).toMatchObject({ status: 200 })
  })

  test('a flood of requests waits its turn, is refused beyond that, and hurts nobody else', async () => {
    const greedy = await serving()
    const modest = await serving()
    isHolding = true
    const ids = Array.from({ length: 100 }, () => greedy.begin(`${origin}/`))
    await until(() => held.length === 16)
    isHolding = false
    expect(await modest.fetch(`${origin}/`)).toMatchObject({ status: 200 })
    expect(held).toHaveLength(16)
    for (const go of held) go()
    const answers = await Promise.all(ids.map((id) => greedy.answer(id)))
    expect(answers.filter((answer) => 'status' in answer)).toHaveLength(64)
    expect(answers.filter((answer) => 'failed' in answer && answer.failed === 'busy')).toHaveLength(
      36,
    )
    expect(await greedy.fetch(`${origin}/`)).toMatchObject({ status: 200 })
  })

  test('a cancelled request leaves the upstream, and the sandbox goes on', async () => {
    const sandbox = await serving()
    isHolding = true
    const id = sandbox.begin(`${origin}/`)
    await until(() => held.length === 1)
    const socket = upstream.sockets.at(-1)
    sandbox.connection.send(FRAME.CANCEL, id)
    await until(() => socket?.destroyed === true)
    isHolding = false
    expect(await sandbox.fetch(`${origin}/`)).toMatchObject({ status: 200 })
  })
})

describe('without the runner', () => {
  test('every sandbox is cut off, nothing leaves, and a new runner is found again', async () => {
    const sandbox = await serving()
    isHolding = true
    const id = sandbox.begin(`${origin}/`)
    await until(() => held.length === 1)
    await broker.runner.link.expect(12, 'a-token-of-enough-length')
    broker.runner.link.stop()
    expect(await sandbox.answer(id)).toMatchObject({ failed: 'closed' })
    await until(() => broker.broker.slots === 0)
    expect(broker.broker.fault()).toContain('not connected')
    expect(existsSync(pathOf(12, 'egress'))).toBe(false)
    expect(existsSync(pathOf(12, 'token'))).toBe(false)
    broker.runner.link = broker.startLink()
    await until(() => broker.runner.link.connected && broker.broker.fault() === undefined)
    isHolding = false
    expect(await (await serving()).fetch(`${origin}/`)).toMatchObject({ status: 200 })
  })
})
