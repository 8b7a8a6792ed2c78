/** Answers of tools that a client of gRPC does not read: they take no more room than is meant for them. */
import { afterEach, beforeEach, expect, test } from 'bun:test'
import { connect as dial, type Socket } from 'node:net'
import { testIdentities } from '@bmm/lib/testing'
import { until } from '@bmm/lib/testing-until'
import { CallToolRequestSchema } from '@bmm/proto/gateway/v1/tool_service'
import { create, toBinary } from '@bufbuild/protobuf'
import { status } from '@grpc/grpc-js'
import { type TestGateway, testGateway, testSpec } from '../testing.ts'
import { standInPrograms, type TestProgram } from '../testing-programs.ts'
import { type GrpcClient, grpcClient, type Refused } from './testing.ts'

const CALL = 'bmm.gateway.v1.ToolService/CallTool'
const KIBIBYTE = 1024
/** Three large answers of one person fit, and five in all. */
const LARGE = 300 * KIBIBYTE
const unread = { perPerson: 1_000 * KIBIBYTE, total: 1_600 * KIBIBYTE }

/** Of each test its own: what one left unread could still count in the next. */
let gw: TestGateway
let client: GrpcClient
let programs: ReturnType<typeof standInPrograms>
const readers: Reader[] = []

beforeEach(async () => {
  const identities = await testIdentities()
  programs = standInPrograms(identities)
  gw = await testGateway({
    ...{ identities, unread },
    routes: (name, router) => (name === 'auth' ? programs.serve(router) : undefined),
  })
  client = grpcClient(`localhost:${gw.gateway.grpcPort}`)
  gw.addServer('echoes', testSpec(['echo', 'large']), { access: { kind: 'anyone' } })
  gw.world.tools.set('large', () => `{"content":[{"type":"text","text":"${'x'.repeat(LARGE)}"}]}`)
})
afterEach(async () => {
  for (const { socket } of readers.splice(0)) socket.destroy()
  client[Symbol.dispose]()
  await gw[Symbol.asyncDispose]()
})

type Reader = { socket: Socket; taken: number }

/** Calls on a connection of its own and takes what its first window lets through: the rest lies here. */
async function leaveUnread({ value }: TestProgram): Promise<Reader> {
  const socket = dial(gw.gateway.grpcPort, '127.0.0.1')
  const reader: Reader = { socket, taken: 0 }
  readers.push(reader)
  socket.on('error', () => {})
  socket.on('data', (chunk) => {
    reader.taken += chunk.length
  })
  const settings = frame(4, 0, 0, Buffer.alloc(0))
  socket.write(Buffer.concat([Buffer.from(PREFACE), settings, callFrames(value)]))
  await until(() => reader.taken > WINDOW)
  return reader
}

/** Gives the rest as much window as it needs. */
function readOn({ socket }: Reader): void {
  const more = Buffer.alloc(4)
  more.writeUInt32BE(2 * LARGE)
  socket.write(Buffer.concat([frame(8, 0, 0, more), frame(8, 0, STREAM, more)]))
}

const callLarge = ({ value }: TestProgram) =>
  client.call(CALL, { server: 'echoes', tool: 'large' }, { token: value }).then(
    () => 'answered',
    ({ code, reason }: Refused) => `${code} ${reason}`,
  )
const FULL = `${status.RESOURCE_EXHAUSTED} too_much_unread`
const answered = (program: TestProgram) =>
  until(async () => (await callLarge(program)) === 'answered')

test('they are bounded for a person, whose small answers still come', async () => {
  const person = programs.make(['tools:call'])
  for (let lying = 0; lying < 3; lying++) await leaveUnread(person)
  expect(await callLarge(person)).toBe(FULL)
  const echo = { server: 'echoes', tool: 'echo', arguments_json: '{}' }
  expect(await client.call(CALL, echo, { token: person.value })).toMatchObject({ is_error: false })
  expect(await callLarge(programs.make(['tools:call']))).toBe('answered')
})

test('they are bounded in all', async () => {
  const [eve, mallory] = [programs.make(['tools:call']), programs.make(['tools:call'])]
  for (let lying = 0; lying < 3; lying++) await leaveUnread(eve)
  for (let lying = 0; lying < 2; lying++) await leaveUnread(mallory)
  expect(await callLarge(programs.make(['tools:call']))).toBe(FULL)
})

test.each([
  ['the client reads on', readOn],
  ['the client gives the call up', ({ socket }: Reader) => socket.write(RESET)],
  ['the client goes', ({ socket }: Reader) => socket.destroy()],
])('one gives its room back when %s', async (_, act) => {
  const person = programs.make(['tools:call'])
  const [first] = [await leaveUnread(person), await leaveUnread(person), await leaveUnread(person)]
  expect(await callLarge(person)).toBe(FULL)
  act(first)
  await answered(person)
  await leaveUnread(person)
  expect(await callLarge(person)).toBe(FULL)
})

const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'
const STREAM = 1
/** What may come before a client says more (RFC 9113 section 6.9.2). */
const WINDOW = 65_535

/** A frame of HTTP/2: no library of a client leaves answers unread for long. */
function frame(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const header = Buffer.alloc(9)
  header.writeUIntBE(payload.length, 0, 3)
  header[3] = type
  header[4] = flags
  header.writeUInt32BE(stream, 5)
  return Buffer.concat([header, payload])
}

/** CANCEL. */
const RESET = frame(3, 0, STREAM, Buffer.from([0, 0, 0, 8]))

function callFrames(token: string): Buffer {
  const fields = {
    ':method': 'POST',
    ':scheme': 'http',
    ':path': `/${CALL}`,
    ':authority': 'localhost',
    'content-type': 'application/grpc',
    te: 'trailers',
    authorization: `Bearer ${token}`,
  }
  const text = (value: string) => [Buffer.from([value.length]), Buffer.from(value)]
  // Literal fields that nobody indexes (RFC 7541 section 6.2.2).
  const headers = Object.entries(fields).flatMap(([name, value]) => [
    Buffer.from([0]),
    ...text(name),
    ...text(value),
  ])
  const asked = create(CallToolRequestSchema, { server: 'echoes', tool: 'large' })
  const message = toBinary(CallToolRequestSchema, asked)
  const body = Buffer.concat([Buffer.from([0, 0, 0, 0, message.length]), message])
  return Buffer.concat([frame(1, 4, STREAM, Buffer.concat(headers)), frame(0, 1, STREAM, body)])
}
