/** HTTP answers: one piece of JSON, or a stream of events once something comes before the answer. */
import type { Progress } from '@bmm/lib/call-frames'
import type { Arrival } from '../arrival/arrival.ts'
import type { RunningCall } from '../limits/in-flight.ts'
import type { CallContext } from './call-context.ts'
import type { ToolCall } from './decision.ts'
import { streamed } from './event-stream.ts'
import type { Reply } from './placed-call.ts'
import { reporter } from './report.ts'
import { markLarge } from './unread-answers.ts'

type Stream = {
  send(notification: string): void
  answer: PromiseWithResolvers<string>
}

type Target = {
  takesEvents: boolean
  resolve(response: Response): void
  reject(thrown: Error): void
}

export class ResponseReply implements Reply {
  readonly #call: ToolCall
  readonly #context: CallContext & { arrival: Arrival }
  readonly #running: RunningCall
  readonly #target: Target
  #stream: Stream | undefined
  #report: ((progress: Progress) => void) | undefined
  #isOver = false

  constructor(
    call: ToolCall,
    context: CallContext & { arrival: Arrival },
    running: RunningCall,
    target: Target,
  ) {
    this.#call = call
    this.#context = context
    this.#running = running
    this.#target = target
  }

  answer(text: string): void {
    this.#isOver = true
    if (this.#stream !== undefined) this.#stream.answer.resolve(text)
    else this.#target.resolve(json(text, this.#context.arrival))
  }

  fail(thrown: Error): void {
    this.#isOver = true
    if (this.#stream !== undefined) this.#stream.answer.reject(thrown)
    else this.#target.reject(thrown)
  }

  stayOpen(): () => void {
    return this.#context.arrival.stayOpen()
  }

  onProgress(progress: Progress): void {
    if (!this.#target.takesEvents) return
    this.#report ??= reporter(this.#call, this.#context.isListening, (notification) => {
      if (!this.#isOver) this.#openStream().send(notification)
    })
    this.#report(progress)
  }

  onQuiet(): void {
    if (this.#target.takesEvents) this.#openStream()
  }

  #openStream(): Stream {
    if (this.#stream !== undefined) return this.#stream
    const stream: Stream = { send() {}, answer: Promise.withResolvers() }
    this.#stream = stream
    const response = streamed(
      stream.answer.promise,
      this.#running,
      this.#context.arrival,
      (send) => {
        stream.send = send
      },
    )
    this.#target.resolve(response)
    return stream
  }
}

/** A JSON answer that nobody stores. */
export function json(
  body: string,
  arrival: Arrival,
  { status = 200, headers }: { status?: number; headers?: Record<string, string> } = {},
): Response {
  const response = arrival.json(body, status)
  if (headers !== undefined) {
    for (const [name, value] of Object.entries(headers)) response.headers.set(name, value)
  }
  return markLarge(response, body)
}
