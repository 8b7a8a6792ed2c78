/** An answer that turned into a stream of events (HTML standard, server-sent events). */
import type { Arrival } from '../arrival/arrival.ts'
import type { RunningCall } from '../limits/in-flight.ts'
import { markStream } from './unread-answers.ts'

/** Well below the 10 s after which some proxies give up on a silent upstream. */
const KEEP_ALIVE_MS = 5_000

const encoder = new TextEncoder()

/** What comes before the answer, and the answer, as events; `begin` gets the way to send one. */
export function streamed(
  answer: Promise<string>,
  running: RunningCall,
  arrival: Arrival,
  begin: (send: (data: string) => void) => void,
): Response {
  const body = new ReadableStream<Uint8Array>({
    async start(controller) {
      const write = (text: string) => {
        if (running.reason === undefined) controller.enqueue(encoder.encode(text))
      }
      // Sends the headers at once.
      write(': running\n\n')
      begin((data) => write(event(data)))
      const keepAlive = setInterval(() => write(': still running\n\n'), KEEP_ALIVE_MS)
      try {
        const text = await answer
        if (running.reason !== 'client_gone') controller.enqueue(encoder.encode(event(text)))
        controller.close()
      } catch (error) {
        controller.error(error)
      } finally {
        clearInterval(keepAlive)
      }
    },
    cancel: () => running.end('client_gone'),
  })
  const headers = arrival.headers('text/event-stream')
  return markStream(new Response(body, { headers: { ...headers, 'x-accel-buffering': 'no' } }))
}

/** JSON has no raw line breaks, so one data line holds it. */
function event(data: string): string {
  return `event: message\ndata: ${data}\n\n`
}
