import { expect, test } from 'bun:test'
import { outcomeOf } from '@bmm/lib/testing-outcome'
import { until } from '@bmm/lib/testing-until'
import { openRoom } from '../limits/room.ts'
import { markLarge, markStream, type UnreadAnswers, unreadAnswers } from './unread-answers.ts'

const MEBIBYTE = 1024 * 1024
const limits = { perPerson: 20 * MEBIBYTE, total: 30 * MEBIBYTE }
const large = () => {
  const text = 'x'.repeat(8 * MEBIBYTE)
  return markLarge(new Response(text), text)
}

/** A server over real sockets; `person` stands in the path. */
function serving(unread: UnreadAnswers, idleSeconds = 60) {
  return Bun.serve({
    port: 0,
    hostname: '127.0.0.1',
    idleTimeout: idleSeconds,
    fetch: (request) =>
      unread.guard(new URL(request.url).pathname, large()) ?? new Response(null, { status: 429 }),
  })
}

/** Asks and never reads; says the status. */
async function askOnly(port: number | undefined, person: string, open: Bun.Socket[]) {
  const { promise, resolve } = Promise.withResolvers<string>()
  const socket = await Bun.connect({
    hostname: '127.0.0.1',
    port: port ?? 0,
    socket: {
      data(self, bytes) {
        self.pause()
        resolve(bytes.toString('latin1', 9, 12))
      },
    },
  })
  open.push(socket)
  socket.write(`GET /${person} HTTP/1.1\r\nHost: x\r\n\r\n`)
  return promise
}

test('answers that are not read are bounded for a person and in all, and make room when their client goes', async () => {
  using server = serving(unreadAnswers(openRoom(limits)))
  const open: Bun.Socket[] = []
  const ask = (person: string) => askOnly(server.port, person, open)
  expect([await ask('eve'), await ask('eve'), await ask('eve')]).toEqual(['200', '200', '429'])
  expect([await ask('ann'), await ask('bob')]).toEqual(['200', '429'])
  for (const socket of open) socket.terminate()
  await until(async () => (await fetch(`${server.url}eve`)).status === 200)
})

test('what is read comes whole, again and again', async () => {
  using server = serving(unreadAnswers(openRoom(limits)))
  for (let at = 0; at < 5; at++) {
    const answer = await fetch(`${server.url}ann`)
    expect((await answer.text()).length).toBe(8 * MEBIBYTE)
  }
})

test('a client that stops reading loses its connection, and others get its room', async () => {
  using server = serving(unreadAnswers(openRoom({ ...limits, total: 10 * MEBIBYTE })), 1)
  const open: Bun.Socket[] = []
  expect(await askOnly(server.port, 'eve', open)).toBe('200')
  await until(async () => (await fetch(`${server.url}ann`)).status === 200)
  for (const socket of open) socket.terminate()
})

test('an event counts until the next one is asked for, a stream until it ends or its client goes', async () => {
  const unread = unreadAnswers(openRoom({ perPerson: 2 * MEBIBYTE, total: 2 * MEBIBYTE }))
  const stream = () => {
    const event = new Uint8Array(1.5 * MEBIBYTE)
    const body = new ReadableStream({ pull: (controller) => controller.enqueue(event) })
    return markStream(new Response(body, { headers: { 'content-type': 'text/event-stream' } }))
  }
  const first = unread.guard('eve', stream())?.body?.getReader()
  expect((await first?.read())?.value?.length).toBe(1.5 * MEBIBYTE)
  const second = unread.guard('eve', stream())?.body?.getReader()
  expect(await outcomeOf(second?.read())).toThrow('unread')
  await first?.cancel()
  const third = unread.guard('eve', stream())?.body?.getReader()
  expect((await third?.read())?.value?.length).toBe(1.5 * MEBIBYTE)
})

test('a small answer passes as it is', () => {
  const response = markLarge(new Response('{}'), '{}')
  expect(unreadAnswers(openRoom(limits)).guard('eve', response)).toBe(response)
})
