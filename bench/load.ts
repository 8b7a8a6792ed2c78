/** The load generator: a fixed number of connections, each of which sends its request again as soon as it is answered. */
import { percentile } from './figure.ts'
import type { LoadPlan, LoadResult } from './load-plan.ts'

const HEAD_END = Buffer.from('\r\n\r\n')
const LAST_CHUNK = Buffer.from('0\r\n\r\n')
const MAX_ANSWER_BYTES = 64 * 1024

if (import.meta.main) {
  const plan: LoadPlan = JSON.parse(await Bun.stdin.text())
  process.stdout.write(JSON.stringify(await load(plan)))
  process.exit(0)
}

async function load(plan: LoadPlan): Promise<LoadResult> {
  const took: number[] = []
  const begun = performance.now()
  const until = begun + plan.durationMs
  await Promise.all(
    Array.from({ length: plan.connections }, (_, index) => repeat(plan, index, until, took)),
  )
  return {
    calls: took.length,
    elapsedMs: performance.now() - begun,
    p50Ms: percentile(took, 0.5),
    p99Ms: percentile(took, 0.99),
  }
}

/** One connection's requests, one after another, until the time is over. */
async function repeat(plan: LoadPlan, index: number, until: number, took: number[]) {
  const request = Buffer.from(plan.requests[index % plan.requests.length] ?? '')
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  let received: Buffer = Buffer.alloc(0)
  let sentAt = 0

  function send(socket: Bun.Socket) {
    sentAt = performance.now()
    if (socket.write(request) !== request.length) reject(new Error('a request was cut short'))
  }
  function take(socket: Bun.Socket, chunk: Buffer) {
    received = received.length === 0 ? chunk : Buffer.concat([received, chunk])
    if (received.length > MAX_ANSWER_BYTES) return reject(new Error('an answer is too long'))
    if (!isWhole(received)) return
    if (received.toString('latin1', 9, 12) !== '200' || !received.includes(plan.expected)) {
      return reject(new Error(`unexpected answer: ${received.toString()}`))
    }
    received = Buffer.alloc(0)
    const now = performance.now()
    took.push(now - sentAt)
    if (now >= until) resolve()
    else send(socket)
  }

  const socket = await Bun.connect({
    hostname: plan.hostname,
    port: plan.port,
    socket: {
      open: send,
      data: take,
      close: () => reject(new Error('the server closed a connection')),
      error: (_, error) => reject(error),
    },
  })
  await promise
  socket.end()
}

/** Whether an answer is complete, by its length or by its last chunk. */
function isWhole(received: Buffer): boolean {
  const end = received.indexOf(HEAD_END)
  if (end < 0) return false
  const length = /^content-length: *(\d+)/im.exec(received.toString('latin1', 0, end))?.[1]
  if (length === undefined) return received.subarray(-LAST_CHUNK.length).equals(LAST_CHUNK)
  return received.length >= end + HEAD_END.length + Number(length)
}
