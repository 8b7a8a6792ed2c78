/** Messages on their way to an MCP endpoint, over plain sockets: how much of them may lie here, and whose. */
import { afterAll, afterEach, beforeAll, expect, test } from 'bun:test'
import { connect, type Socket } from 'node:net'
import { newId } from '@bmm/lib/ids'
import { until } from '@bmm/lib/testing-until'
import { addToolServer, type TestGateway, type TestServer, testGateway } from '../testing.ts'

const MEBIBYTE = 1024 * 1024
const messages = {
  perPerson: 4 * MEBIBYTE,
  total: 7 * MEBIBYTE,
  little: { each: 64 * 1024, total: MEBIBYTE },
}
const ping = '{"jsonrpc":"2.0","id":1,"method":"ping"}'

let gw: TestGateway
let server: TestServer
const open: Sender[] = []
beforeAll(async () => {
  gw = await testGateway({ messages })
  server = addToolServer(gw)
})
afterEach(() => {
  for (const socket of open.splice(0)) socket.destroy()
})
afterAll(() => gw[Symbol.asyncDispose]())

/** `answers` is everything that came back. */
type Sender = Socket & { answers: string }

/** Sends the head of a message, and of its body what is given. */
function send(token: string, framing: string, body: string, at: TestServer = server): Sender {
  const { port, host, pathname } = new URL(at.url)
  const socket: Sender = Object.assign(connect(Number(port), '127.0.0.1'), { answers: '' })
  open.push(socket)
  socket.on('error', () => {})
  socket.on('data', (chunk) => {
    socket.answers += chunk.toString('latin1')
  })
  socket.write(`${headOf(pathname, host, token, framing)}${body}`)
  return socket
}

function headOf(path: string, host: string, token: string, framing: string): string {
  return (
    `POST ${path} HTTP/1.1\r\nHost: ${host}\r\nAuthorization: Bearer ${token}\r\n` +
    `Accept: application/json\r\nContent-Type: application/json\r\n${framing}\r\n\r\n`
  )
}

const announced = (bytes: number) => `Content-Length: ${bytes}`
const largest = announced(MEBIBYTE)
const unannounced = 'Transfer-Encoding: chunked'
const chunk = (text: string) => `${text.length.toString(16)}\r\n${text}\r\n`

const statusOf = ({ answers }: Sender) => answers.slice(9, 12)

async function personToken(userId = newId('usr')): Promise<string> {
  const token = await gw.token(server, { sub: userId })
  // From now on it is known: looking it up counts for nobody.
  const known = send(token, announced(ping.length), ping)
  await until(() => statusOf(known) === '200')
  return token
}

async function pinged(token: string): Promise<Sender> {
  const socket = send(token, announced(ping.length), ping)
  await until(() => socket.answers !== '')
  return socket
}

/** A message that is there at once is answered, as soon as there is room. */
async function pingPasses(token: string): Promise<void> {
  await until(async () => statusOf(await pinged(token)) === '200')
}

/** All that a person may send at a time, under way. */
async function fill(token: string, body: string): Promise<Sender[]> {
  const slow = Array.from({ length: 4 }, () => send(token, largest, body))
  await until(async () => statusOf(await pinged(token)) === '429')
  return slow
}

test('what a person sends at a time is bounded, and comes to nobody else', async () => {
  const [eve, ann] = [await personToken(), await personToken()]
  const slow = await fill(eve, '[')
  const refused = await pinged(eve)
  expect(refused.answers).toMatch(/retry-after: 2\r\n/i)
  expect(refused.answers).toContain('{"jsonrpc":"2.0","id":null,"error":{"code":-32000,')
  expect(slow.map(statusOf)).toEqual(['', '', '', ''])
  await pingPasses(ann)
})

test('a refused body may end: the connection then takes the next message', async () => {
  const eve = await personToken()
  const slow = await fill(eve, '[')
  const refused = send(eve, largest, '[')
  await until(() => statusOf(refused) === '429')
  for (const socket of slow) socket.destroy()
  await pingPasses(eve)
  const { host, pathname } = new URL(server.url)
  refused.write(' '.repeat(MEBIBYTE - 1))
  refused.write(`${headOf(pathname, host, eve, announced(ping.length))}${ping}`)
  await until(() => refused.answers.includes('HTTP/1.1 200'))
})

test('a client that hangs up gives its room back', async () => {
  const eve = await personToken()
  for (let round = 0; round < 3; round++) {
    for (const socket of await fill(eve, '['.repeat(100_000))) socket.destroy()
    await pingPasses(eve)
  }
})

test('a body that does not say how long it is counts what has come of it', async () => {
  const eve = await personToken()
  const begun = Array.from({ length: 50 }, () => send(eve, unannounced, chunk('[')))
  const long = Array.from({ length: 4 }, () => send(eve, unannounced, chunk('['.repeat(900_000))))
  await until(() => long.some((socket) => statusOf(socket) === '429'))
  expect(begun.map(statusOf)).toEqual(begun.map(() => ''))
  for (const socket of long) socket.destroy()
  for (const socket of begun) socket.write(`${chunk(']')}0\r\n\r\n`)
  await until(() => begun.every((socket) => statusOf(socket) === '400'))
  await pingPasses(eve)
})

test('who sends little is answered while others use all the room that there is', async () => {
  const people = [await personToken(), await personToken()]
  const small = await personToken()
  for (const token of people) for (let at = 0; at < 4; at++) send(token, largest, '[')
  await until(() => open.some((socket) => statusOf(socket) === '429'))
  const large = send(small, largest, '[')
  await until(() => statusOf(large) === '429')
  await pingPasses(small)
})

test('while tokens cannot be looked up, what a visitor sends is bounded as well', async () => {
  const hang = Promise.withResolvers<{ jwks: Uint8Array }>()
  await using hanging = await testGateway({ oauth: { getJwks: () => hang.promise } })
  const target = addToolServer(hanging)
  const token = await hanging.token(target)
  for (let at = 0; at < 17; at++) send(token, largest, '[', target)
  await until(() => open.filter((socket) => statusOf(socket) === '429').length === 1)
  hang.resolve({ jwks: new TextEncoder().encode('{"keys":[]}') })
  await until(() => open.filter((socket) => statusOf(socket) === '401').length === 16)
})
