/** The pace at which a connection reads a peer that costs it much time. */
import { afterEach, expect, test } from 'bun:test'
import { connectFrames } from './frame-socket.ts'
import { FRAME, MAX_PART_BYTES } from './frames.ts'
import { cleanUp, cleanups, frame, rawClient, server } from './testing-frames.ts'
import { until } from './testing-until.ts'

afterEach(cleanUp)

test('a peer that costs more time than its pace allows is read later, and loses nothing', async () => {
  const frames: number[] = []
  const { unix } = server({
    pace: { share: 0.1, burstMs: 10 },
    onFrame({ call }) {
      Bun.sleepSync(2)
      frames.push(call)
    },
  })
  const client = await connectFrames({ unix, accept: [], onFrame() {} })
  cleanups.push(() => client.end('over'))
  const begun = performance.now()
  const payload = new Uint8Array(MAX_PART_BYTES / 8)
  for (let call = 1; call <= 60; call++) client.send(FRAME.LOG, call, payload)
  await until(() => frames.length === 60)
  expect(frames).toEqual(Array.from({ length: 60 }, (_, at) => at + 1))
  // 120 ms of handling, of which the burst and one read are free: the rest takes ten times as long.
  expect(performance.now() - begun).toBeGreaterThan(500)
})

test('a slow moment of the reader keeps a peer waiting for a second at most', async () => {
  const handledAt: number[] = []
  const { unix } = server({
    pace: { share: 0.1, burstMs: 0 },
    onFrame() {
      Bun.sleepSync(600)
      handledAt.push(performance.now())
    },
  })
  const client = await connectFrames({ unix, accept: [], onFrame() {} })
  cleanups.push(() => client.end('over'))
  client.send(FRAME.PING, 1)
  await until(() => handledAt.length === 1)
  client.send(FRAME.PING, 2)
  await until(() => handledAt.length === 2)
  expect((handledAt[1] ?? 0) - (handledAt[0] ?? 0)).toBeWithin(1_000, 5_000)
})

test('the time in which a peer is not read does not count for its unfinished frame', async () => {
  const { unix, connected, frames } = server({
    ...{ pace: { share: 0.1, burstMs: 0 }, frameDeadlineMs: 500 },
    onFrame(frame) {
      Bun.sleepSync(90)
      frames.push(frame)
    },
  })
  const socket = await rawClient(unix)
  const peer = await connected
  const second = frame(FRAME.LOG, 4, 'x')
  socket.write(Buffer.concat([frame(FRAME.PING, 3), second.subarray(0, 6)]))
  await until(() => frames.length === 1)
  socket.write(second.subarray(6))
  await until(() => frames.length === 2 || peer.ended)
  expect(peer.ended).toBe(false)
  socket.write(frame(FRAME.LOG, 5, 'x').subarray(0, 6))
  expect(await peer.closed).toBe('a frame did not arrive whole within 500 ms')
})

test('a peer that ends while it is not read ends the connection', async () => {
  let handled = 0
  const { unix, connected } = server({
    pace: { share: 0.1, burstMs: 0 },
    onFrame() {
      handled++
      Bun.sleepSync(10)
    },
  })
  const client = await connectFrames({ unix, accept: [], onFrame() {} })
  client.send(FRAME.PING, 1)
  await until(() => handled === 1)
  client.end('done')
  expect(await (await connected).closed).toBe('the peer ended the connection')
})
