/** The door of a frame listener: who gets in, and what a stranger may not do before it is known. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connectFrames } from '@bmm/lib/frame-socket'
import { FRAME, type Frame } from '@bmm/lib/frames'
import { type TestIdentities, testIdentities, testLog } from '@bmm/lib/testing'
import { until } from '@bmm/lib/testing-until'
import { listenForService, type ServiceLeg } from './service-leg.ts'

const directory = mkdtempSync(join(tmpdir(), 'bmm-leg-'))
const socket = join(directory, 'leg.sock')
const METHOD = '/frames/test'
let identities: TestIdentities
let leg: ServiceLeg
const ended: string[] = []

beforeAll(async () => {
  identities = await testIdentities()
  leg = listenForService({
    ...{ socket, identity: identities.of('runner'), from: 'gateway', method: METHOD },
    ...{ accept: [FRAME.PING], maxConnections: 2, log: testLog },
    onPeer: (connection) => ({
      onFrame: (frame: Frame) => connection.send(FRAME.PONG, frame.call, frame.payload),
      onEnd: (reason) => ended.push(reason),
    }),
  })
})
afterAll(() => {
  leg.stop('the test is over')
  rmSync(directory, { recursive: true, force: true })
})

async function dial() {
  const pongs: number[] = []
  const waiting: (() => void)[] = []
  const connection = await connectFrames({
    unix: socket,
    accept: [FRAME.PONG],
    onFrame(frame) {
      pongs.push(frame.call)
      for (const wake of waiting.splice(0)) wake()
    },
  })
  const pong = () => new Promise<void>((resolve) => waiting.push(resolve))
  return { connection, pongs, pong }
}
const tokenOf = (name: 'gateway' | 'broker', method = METHOD) =>
  identities.of(name).sign('runner', method)

test('the socket is for the owner and the group of the services', () => {
  expect(statSync(socket).mode & 0o777).toBe(0o660)
})

test('what follows the hello at once is kept in order until the token is checked', async () => {
  const { connection, pongs, pong } = await dial()
  connection.sendControl(FRAME.HELLO, 0, { jwt: await tokenOf('gateway') })
  for (let call = 1; call <= 50; call++) connection.send(FRAME.PING, call)
  while (pongs.length < 50) await pong()
  expect(pongs).toEqual(Array.from({ length: 50 }, (_, index) => index + 1))
  connection.sendControl(FRAME.HELLO, 0, { jwt: await tokenOf('gateway') })
  await connection.closed
  expect(ended.at(-1)).toBe('a second hello')
})

test('a stranger is put out: no hello first, a wrong one, another service, another method', async () => {
  const strangers = [
    async () => ({ type: FRAME.PING, value: {} }),
    async () => ({ type: FRAME.HELLO, value: { jwt: 'nonsense' } }),
    async () => ({ type: FRAME.HELLO, value: { token: await tokenOf('gateway') } }),
    async () => ({ type: FRAME.HELLO, value: { jwt: await tokenOf('broker') } }),
    async () => ({ type: FRAME.HELLO, value: { jwt: await tokenOf('gateway', '/frames/other') } }),
  ]
  for (const stranger of strangers) {
    const before = ended.length
    const { connection, pongs } = await dial()
    const { type, value } = await stranger()
    connection.sendControl(type, 0, value)
    connection.send(FRAME.PING, 1)
    await connection.closed
    expect([pongs, ended.length]).toEqual([[], before])
  }
})

test('a flood before the token is checked ends the connection', async () => {
  const { connection, pongs } = await dial()
  connection.sendControl(FRAME.HELLO, 0, { jwt: await tokenOf('gateway') })
  for (let call = 1; call <= 5_000; call++) connection.send(FRAME.PING, call)
  await connection.closed
  expect(pongs.length).toBeLessThan(5_000)
})

test('one connection too many is refused, and there is room again afterwards', async () => {
  const first = await dial()
  const second = await dial()
  const third = await dial()
  await third.connection.closed
  first.connection.end('done')
  second.connection.end('done')
  await until(async () => {
    const again = await dial()
    again.connection.sendControl(FRAME.HELLO, 0, { jwt: await tokenOf('gateway') })
    again.connection.send(FRAME.PING, 1)
    await Promise.race([again.pong(), again.connection.closed])
    again.connection.end('done')
    return again.pongs.length === 1
  }, 'a place to be free')
})
