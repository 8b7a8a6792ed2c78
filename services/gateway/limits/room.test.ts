/** Documents on their way here, by REST and gRPC: from whom any are taken at all, and how many at a time. */
import { afterEach, expect, test } from 'bun:test'
import { type ClientHttp2Session, connect } from 'node:http2'
import { connect as dial, type Socket } from 'node:net'
import { until } from '@bmm/lib/testing-until'
import { restWorldOfFile, session } from '../testing-rest.ts'

const MEBIBYTE = 1024 * 1024
/** The largest body of `POST /v1/drafts/upload`. */
const LARGEST = 32 * MEBIBYTE

const world = await restWorldOfFile()
const open: { destroy(): unknown }[] = []
afterEach(() => {
  for (const each of open.splice(0)) each.destroy()
})

/** Announces a document and sends its first byte; `status` once the gateway answers. */
function upload(bearer: string, bytes: number): Socket & { status?: string } {
  const { port, host } = new URL(world.gw.origin)
  const socket: Socket & { status?: string } = dial(Number(port), '127.0.0.1')
  open.push(socket)
  socket.on('error', () => {})
  socket.on('data', (chunk) => {
    socket.status ??= chunk.toString('latin1', 9, 12)
  })
  socket.write(
    `POST /v1/drafts/upload HTTP/1.1\r\nHost: ${host}\r\nAuthorization: Bearer ${bearer}\r\n` +
      `Content-Type: application/octet-stream\r\nContent-Length: ${bytes}\r\n\r\n{`,
  )
  return socket
}

test('a stranger is refused before the body is there', async () => {
  const anybody = upload(`bms_${'x'.repeat(43)}`, LARGEST)
  await until(() => anybody.status === '401')
})

test('a person sends four of the largest at a time by REST, and any number of small ones', async () => {
  const first = upload(session, LARGEST)
  const others = [1, 2, 3].map(() => upload(session, LARGEST))
  await until(async () => {
    const third = upload(session, LARGEST)
    const refused = await Promise.race([
      until(() => third.status === '429').then(() => true),
      Bun.sleep(1_000).then(() => false),
    ])
    third.destroy()
    return refused
  })
  expect([first, ...others].map(({ status }) => status)).toEqual(Array(4).fill(undefined))
  const body = { document: 'openapi: 3.1.0' }
  expect((await world.answer('/v1/drafts', { method: 'POST', body })).status).toBe(201)
  first.destroy()
  await until(async () => {
    const next = upload(session, LARGEST)
    await Bun.sleep(200)
    const { status } = next
    next.destroy()
    return status === undefined
  })
}, 60_000)

test('a person sends four at a time by gRPC', async () => {
  const { value } = world.programs.make(['servers:write'])
  const connection = connect(`http://localhost:${world.gw.gateway.grpcPort}`)
  connection.on('error', () => {})
  open.push(connection)
  const begun = Array.from({ length: 4 }, () => createDraft(connection, value))
  await until(async () => {
    const fifth = createDraft(connection, value)
    await Promise.race([until(() => fifth.code !== undefined).catch(() => {}), Bun.sleep(1_000)])
    fifth.stream.close()
    return fifth.code === '8'
  })
  expect(begun.map(({ code }) => code)).toEqual([undefined, undefined, undefined, undefined])
  for (const { stream } of begun) stream.close()
  await until(async () => {
    const next = createDraft(connection, value)
    await Bun.sleep(200)
    next.stream.close()
    return next.code === undefined
  })
}, 60_000)

/** Says that 32 MiB come, and sends none. */
function createDraft(connection: ClientHttp2Session, token: string) {
  const stream = connection.request({
    ':method': 'POST',
    ':path': '/bmm.generator.v1.DraftService/CreateDraft',
    'content-type': 'application/grpc',
    te: 'trailers',
    authorization: `Bearer ${token}`,
  })
  const begun: { stream: typeof stream; code: string | undefined } = { stream, code: undefined }
  stream.on('error', () => {})
  const see = (headers: Record<string, unknown>) => {
    if (headers['grpc-status'] !== undefined) begun.code = String(headers['grpc-status'])
  }
  stream.on('response', see)
  stream.on('trailers', see)
  stream.resume()
  stream.write(Buffer.from([0, 2, 0, 0, 0]))
  return begun
}
