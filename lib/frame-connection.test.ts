/** Frames over real unix sockets: whole, in pieces, hostile, and more than the socket takes. */
import { afterEach, describe, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Socket } from 'bun'
import { connectFrames } from './frame-socket.ts'
import {
  FRAME,
  type Frame,
  FrameFault,
  MAX_FRAME_BYTES,
  MAX_PART_BYTES,
  MAX_RESULT_BYTES,
  parseCall,
  parseControl,
} from './frames.ts'
import { allTypes, cleanUp, cleanups, frame, rawClient, server } from './testing-frames.ts'
import { until } from './testing-until.ts'

afterEach(cleanUp)

/** Small, seeded, so that a failing run can be repeated. */
function random(seed: number): (limit: number) => number {
  let state = seed
  return (limit) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state % limit
  }
}

describe('a frame connection', () => {
  test('carries frames of every type both ways, in order', async () => {
    const { unix, frames, connected } = server()
    const back: Frame[] = []
    const client = await connectFrames({
      unix,
      accept: allTypes,
      onFrame: (f) => void back.push({ ...f, payload: f.payload.slice() }),
    })
    allTypes.forEach((type, index) => {
      expect(client.send(type, index + 1, new Uint8Array([index]))).toBe(true)
    })
    const peer = await connected
    peer.sendControl(FRAME.PONG, 7, { at: 'ü' })
    await until(() => frames.length === allTypes.length && back.length === 1)
    expect(frames.map((f) => [f.type, f.call, f.payload[0]])).toEqual(
      allTypes.map((type, index) => [type, index + 1, index]),
    )
    expect(parseControl(back[0]?.payload ?? new Uint8Array())).toEqual({ at: 'ü' })
    client.end('done')
    expect(await client.closed).toBe('done')
    expect(await peer.closed).toBe('the peer ended the connection')
    expect(client.send(FRAME.PING, 1)).toBe(false)
  })

  test('delivers eight megabytes that no single write takes, byte for byte', async () => {
    const { unix, frames } = server()
    const client = await connectFrames({ unix, accept: [], onFrame() {} })
    cleanups.push(() => client.end('test over'))
    const bytes = crypto.getRandomValues(new Uint8Array(65_536))
    const result = new Uint8Array(MAX_RESULT_BYTES)
    for (let at = 0; at < result.length; at += bytes.length) result.set(bytes, at)
    expect(client.sendParts(FRAME.RESULT_PART, 1, result)).toBe(true)
    expect(client.sendControl(FRAME.RESULT_END, 1, {})).toBe(true)
    await until(() => frames.at(-1)?.type === FRAME.RESULT_END)
    const parts = frames.slice(0, -1)
    expect(parts).toHaveLength(MAX_RESULT_BYTES / MAX_PART_BYTES)
    expect(Bun.SHA256.hash(Buffer.concat(parts.map((p) => p.payload)), 'hex')).toBe(
      Bun.SHA256.hash(result, 'hex'),
    )
  })

  test('refuses to queue past its limit, and sends what it accepted once the reader reads', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'frames-'))
    cleanups.push(() => rmSync(dir, { recursive: true }))
    const unix = join(dir, 's.sock')
    const chunks: Uint8Array[] = []
    const paused = Promise.withResolvers<Socket>()
    const reader = Bun.listen({
      unix,
      socket: {
        open(socket) {
          socket.pause()
          paused.resolve(socket)
        },
        data: (_, chunk) => void chunks.push(chunk),
      },
    })
    cleanups.push(() => reader.stop(true))
    const client = await connectFrames({
      unix,
      accept: [],
      onFrame() {},
      queueLimitBytes: 3 * MAX_PART_BYTES,
    })
    let accepted = 0
    const part = new Uint8Array(MAX_PART_BYTES)
    while (client.send(FRAME.RESULT_PART, accepted + 1, part)) {
      accepted++
      await new Promise((resolve) => setImmediate(resolve))
      if (accepted > 100) throw new Error('no limit')
    }
    expect(accepted).toBeGreaterThanOrEqual(2)
    expect(client.queuedBytes).toBeLessThanOrEqual(3 * MAX_PART_BYTES)
    const socket = await paused.promise
    socket.resume()
    const expected = accepted * (MAX_PART_BYTES + 9)
    await until(() => chunks.reduce((sum, chunk) => sum + chunk.length, 0) === expected)
    expect(client.queuedBytes).toBe(0)
    expect(client.send(FRAME.PING, 1)).toBe(true)
    client.end('done')
  })

  test('reads any cut of any frames the same way (200 random cuts)', async () => {
    const next = random(20260728)
    const sent: Frame[] = []
    const wire: Uint8Array[] = []
    for (let n = 0; n < 300; n++) {
      const type = allTypes[next(allTypes.length)] ?? FRAME.PING
      const payload = new Uint8Array(next(20) === 0 ? next(100_000) : next(300)).fill(n & 0xff)
      sent.push({ type, call: n, payload })
      wire.push(frame(type, n, payload))
    }
    const bytes = Buffer.concat(wire)
    const received: Frame[] = []
    const { unix, connected } = server({
      onFrame: (f) => void received.push({ ...f, payload: f.payload.slice() }),
    })
    await rawClient(unix)
    const peer = await connected
    for (let round = 0; round < 200; round++) {
      received.length = 0
      for (let at = 0; at < bytes.length; ) {
        const size = Math.min(bytes.length - at, 1 + next(next(3) === 0 ? 200_000 : 40))
        peer.events.data(bytes.subarray(at, at + size))
        at += size
      }
      expect(peer.ended).toBe(false)
      expect(received.length).toBe(sent.length)
      expect(
        received.every((f, index) => {
          const s = sent[index]
          return (
            s &&
            s.type === f.type &&
            s.call === f.call &&
            Buffer.compare(s.payload, f.payload) === 0
          )
        }),
      ).toBe(true)
    }
  })

  test('reads frames that drip in byte by byte', async () => {
    const { unix, frames } = server()
    const socket = await rawClient(unix)
    for (const byte of [...frame(FRAME.LOG, 4, 'hello'), ...frame(FRAME.PING, 5)]) {
      socket.write(new Uint8Array([byte]))
      await Bun.sleep(1)
    }
    await until(() => frames.length === 2)
    expect(new TextDecoder().decode(frames[0]?.payload)).toBe('hello')
    expect(frames[1]).toMatchObject({ type: FRAME.PING, call: 5 })
  })

  test('ends when a frame stays unfinished, however slowly it goes on', async () => {
    const { unix, connected, frames } = server({ frameDeadlineMs: 300 })
    const socket = await rawClient(unix)
    const bytes = frame(FRAME.LOG, 4, new Uint8Array(100_000))
    const peer = await connected
    socket.write(frame(FRAME.PING, 3))
    let at = 0
    const drip = setInterval(() => socket.write(bytes.subarray(at, ++at)), 20)
    cleanups.push(() => clearInterval(drip))
    expect(await peer.closed).toBe('a frame did not arrive whole within 300 ms')
    expect(frames.map((f) => f.type)).toEqual([FRAME.PING])
  })

  test('does not end a quiet connection whose frames are whole', async () => {
    const { unix, connected, frames } = server({ frameDeadlineMs: 600 })
    const socket = await rawClient(unix)
    const bytes = frame(FRAME.LOG, 4, 'x')
    socket.write(bytes.subarray(0, 6))
    await Bun.sleep(20)
    socket.write(bytes.subarray(6))
    await Bun.sleep(800)
    expect((await connected).ended).toBe(false)
    expect(frames).toHaveLength(1)
  })

  test.each([
    ['garbage', crypto.getRandomValues(new Uint8Array(64)).fill(0xff, 0, 4), /bytes; allowed/],
    ['a length below the header', new Uint8Array([0, 0, 0, 4, 1, 0, 0, 0, 0]), /4 bytes; allowed/],
    ['a length of nothing', new Uint8Array(9), /0 bytes; allowed/],
    ['text', new TextEncoder().encode('GET / HTTP/1.1\r\n\r\n'), /bytes; allowed/],
    ['an unknown type', frame(9, 1), /type 9 is not accepted/],
    ['a type of another leg', frame(FRAME.ASSIGN, 1), /type 70 is not accepted/],
    ['one byte too much', frame(FRAME.LOG, 1, new Uint8Array(MAX_FRAME_BYTES - 4)), /allowed/],
  ])('ends at once at %s', async (_, bytes, reason) => {
    const { unix, connected, frames } = server({ accept: [FRAME.LOG, FRAME.PING] })
    const socket = await rawClient(unix)
    socket.write(frame(FRAME.PING, 1))
    socket.write(bytes)
    socket.write(frame(FRAME.PING, 2))
    expect(await (await connected).closed).toMatch(reason)
    expect(frames.filter((f) => f.call === 2)).toHaveLength(0)
  })

  test('sends texts as the UTF-8 that bytes of them would be', async () => {
    const { unix, frames } = server()
    const client = await connectFrames({ unix, accept: allTypes, onFrame() {} })
    cleanups.push(() => client.end('over'))
    const texts = [
      '',
      'plain',
      'schlüssel',
      '日本',
      '\u{1f600}',
      'half \ud83d of one',
      'x'.repeat(100_000),
    ]
    for (const text of texts) client.send(FRAME.RESULT_PART, 1, text, new Uint8Array([1]), text)
    await until(() => frames.length === texts.length)
    texts.forEach((text, index) => {
      const bytes = Buffer.from(text)
      expect(Buffer.from(frames[index]?.payload ?? [])).toEqual(
        Buffer.concat([bytes, Buffer.from([1]), bytes]),
      )
    })
  })

  test('sends a result as one frame, or as parts of the largest size and an end', async () => {
    const { unix, frames } = server()
    const client = await connectFrames({ unix, accept: allTypes, onFrame() {} })
    cleanups.push(() => client.end('over'))
    client.sendResult(1, '{"content":[]}')
    client.sendResult(2, 'ü'.repeat(MAX_PART_BYTES))
    await until(() => frames.length === 4)
    expect(frames.map(({ type, call, payload }) => [type, call, payload.length])).toEqual([
      [FRAME.RESULT_END, 1, 14],
      [FRAME.RESULT_PART, 2, MAX_PART_BYTES],
      [FRAME.RESULT_PART, 2, MAX_PART_BYTES],
      [FRAME.RESULT_END, 2, 0],
    ])
  })

  test('accepts the largest frame', async () => {
    const { unix, frames } = server()
    const client = await connectFrames({ unix, accept: [], onFrame() {} })
    cleanups.push(() => client.end('test over'))
    expect(client.send(FRAME.LOG, 1, new Uint8Array(MAX_FRAME_BYTES - 5))).toBe(true)
    expect(() => client.send(FRAME.LOG, 1, new Uint8Array(MAX_FRAME_BYTES - 4))).toThrow('larger')
    await until(() => frames.length === 1)
    expect(frames[0]?.payload.length).toBe(MAX_FRAME_BYTES - 5)
  })

  test('survives a flood of a hundred thousand frames', async () => {
    let count = 0
    const { unix, connected } = server({ onFrame: () => void count++ })
    const client = await connectFrames({ unix, accept: [], onFrame() {} })
    for (let n = 1; n <= 100_000; n++) {
      if (!client.send(FRAME.PING, n)) throw new Error('the queue should take two megabytes')
    }
    await until(() => count === 100_000)
    client.end('done')
    expect(await (await connected).closed).toBe('the peer ended the connection')
  })

  test('ends with the reason of a fault that a handler throws, and handles nothing after it', async () => {
    let handled = 0
    const { unix, connected } = server({
      onFrame() {
        handled++
        throw new FrameFault('call 1 is not known')
      },
    })
    const socket = await rawClient(unix)
    socket.write(Buffer.concat([frame(FRAME.PING, 1), frame(FRAME.PING, 2)]))
    expect(await (await connected).closed).toBe('call 1 is not known')
    expect(handled).toBe(1)
  })

  test('sends what is queued before it ends', async () => {
    const { unix, frames } = server()
    const client = await connectFrames({ unix, accept: [], onFrame() {} })
    client.sendControl(FRAME.FAILED, 3, { code: 'busy' })
    client.end('full')
    await until(() => frames.length === 1)
    expect(frames[0]?.type).toBe(FRAME.FAILED)
  })

  test('a call keeps its header apart from its opaque arguments', async () => {
    const { unix, frames } = server()
    const client = await connectFrames({ unix, accept: [], onFrame() {} })
    cleanups.push(() => client.end('test over'))
    client.sendCall(9, { tool: 'echo' }, new Uint8Array([1, 2, 0xff]))
    await until(() => frames.length === 1)
    const call = parseCall(frames[0]?.payload ?? new Uint8Array())
    expect(call.header).toEqual({ tool: 'echo' })
    expect([...call.args]).toEqual([1, 2, 0xff])
  })
})
