/** A call between its placing and its one answer: tried again while a version goes live, and watched for its client. */
import type { CallHeader, Progress } from '@bmm/lib/call-frames'
import type { Deadline, Expiring } from '@bmm/lib/deadlines'
import { errorFrom } from '@bmm/lib/errors'
import type { TraceSpan } from '@bmm/lib/tracing'
import type { RunningCall } from '../limits/in-flight.ts'
import type { CallOutcome, CallWaiter } from '../runner-link.ts'
import type { CallContext } from './call-context.ts'
import type { ToolCall } from './decision.ts'
import { outcomeText, settled } from './outcome.ts'

const CALL_TIMEOUT_MS = 60_000
/** The runner keeps the deadline; this much later the gateway stops waiting for it. */
const RUNNER_GRACE_MS = 5_000
/** Most calls are over sooner; only from then on is the client watched. */
const WATCH_AFTER_MS = 250
/** Most calls answer sooner, with a status of their own. Proxies may give a silent upstream as little as 10 s. */
const QUIET_MS = 800
const EPOCH_TRIES = 4
const EPOCH_PAUSE_MS = 250

/** Where the answer of a call goes: to exactly one of `answer` and `fail`, once. */
export type Reply = {
  /** `text` is a JSON-RPC answer. */
  answer(text: string): void
  /** For what is a bug of ours. */
  fail(thrown: Error): void
  onProgress(progress: Progress): void
  /** Nothing was said for long. */
  onQuiet(): void
  /** Lifts the idle limit of the client's connection; returns the way to put it back. */
  stayOpen?(): () => void
}

export class PlacedCall implements CallWaiter, Expiring {
  readonly ending: RunningCall
  readonly #call: ToolCall
  readonly #context: CallContext
  readonly #reply: Reply
  readonly #header: CallHeader
  readonly #args: string
  readonly #span: TraceSpan | undefined
  #tries = 0
  #stage: 'short' | 'watched' | 'quiet' = 'short'
  #deadline: Deadline | undefined
  #unwatch: (() => void) | undefined

  constructor(call: ToolCall, context: CallContext, running: RunningCall, reply: Reply) {
    const { target, caller, arrival } = context
    this.ending = running
    this.#call = call
    this.#context = context
    this.#reply = reply
    this.#args = JSON.stringify(call.args)
    this.#header = {
      serverId: target.serverId,
      epoch: target.epoch,
      tool: call.tool,
      userId: caller.userId,
      orgId: caller.orgId,
      timeoutMs: context.timeoutMs ?? CALL_TIMEOUT_MS,
      requestId: arrival.requestId,
      progress: call.progressToken !== undefined || context.isListening !== undefined,
    }
    this.#span = context.beginSpan?.(call)
    if (this.#span !== undefined) this.#header.trace = this.#span.trace
  }

  place(): void {
    const { deadlines, runner } = this.#context
    this.#deadline = deadlines.set(WATCH_AFTER_MS, this)
    runner.call(this.#header, this.#args, this)
  }

  onProgress(progress: Progress): void {
    this.#reply.onProgress(progress)
  }

  onOutcome(outcome: CallOutcome): void {
    const isStale = outcome.kind === 'failed' && outcome.code === 'stale_epoch'
    if (isStale && this.#tries < EPOCH_TRIES) void this.#placeAgain(outcome)
    else this.#answer(outcome)
  }

  /** Its deadlines come one after another: begin to watch, long silence, no answer of the runner. */
  expire(): void {
    const { deadlines } = this.#context
    switch (this.#stage) {
      case 'short':
        this.#stage = 'watched'
        this.#deadline = deadlines.set(QUIET_MS - WATCH_AFTER_MS, this)
        this.#watch()
        break
      case 'watched':
        this.#stage = 'quiet'
        this.#deadline = deadlines.set(this.#header.timeoutMs + RUNNER_GRACE_MS - QUIET_MS, this)
        this.#reply.onQuiet()
        break
      case 'quiet':
        this.ending.end('overdue')
        break
      default:
        this.#stage satisfies never
    }
  }

  /** Ends the call when the client's connection does, and keeps that connection open while the call is silent. */
  #watch(): void {
    const { signal } = this.#context.request
    const gone = () => this.ending.end('client_gone')
    if (signal.aborted) {
      gone()
      return
    }
    signal.addEventListener('abort', gone, { once: true })
    const release = this.#reply.stayOpen?.()
    this.#unwatch = () => {
      signal.removeEventListener('abort', gone)
      // From here on silence is the client's: one that does not read loses its connection.
      release?.()
    }
  }

  /** While a new version goes live, gateway and runner learn of it moments apart: nothing ran yet, so try again. */
  async #placeAgain(stale: CallOutcome): Promise<void> {
    await Bun.sleep(EPOCH_PAUSE_MS * this.#tries++)
    const epoch = await this.#context.newestEpoch().catch(() => undefined)
    if (epoch === undefined) this.#answer(stale)
    else this.#context.runner.call({ ...this.#header, epoch }, this.#args, this)
  }

  #answer(raw: CallOutcome): void {
    const outcome = settled(raw, this.ending)
    this.#context.deadlines.clear(this.#deadline)
    this.#unwatch?.()
    this.ending.close()
    try {
      this.#reply.answer(outcomeText(this.#call, this.#context, outcome, this.#span))
    } catch (thrown) {
      this.#reply.fail(errorFrom(thrown))
    }
  }
}
