/** What a worker writes about a build while it holds the lease: steps, lines, the end. Without the lease it writes nothing. */
import { inTransaction, type Sql, type Transaction } from '@bmm/lib/sql'
import type { Hints } from '../hints.ts'
import { moveServer } from '../server/server-store.ts'
import { BuildLetGo, type BuildState, type BuildStep, type StepState } from './build.ts'
import * as store from './build-store.ts'

const MAX_LINE = 2_000
const MAX_LINES = 500

export type BuildEnd = {
  state: Extract<BuildState, 'failed' | 'cancelled'>
  reason: string
  message: string
}

export type BuildRecord = {
  /** The step under way. */
  step(): BuildStep | undefined
  /** Whether an earlier worker finished the step. */
  isDone(step: BuildStep): boolean
  begin(step: BuildStep): Promise<void>
  /** Ends the step under way, with what there is to tell of it, and begins another one if one is named, all or nothing. */
  succeed(step: BuildStep, lines: readonly string[], next?: BuildStep): Promise<void>
  /** A log line of the step under way. */
  line(text: string): Promise<void>
  /** Ends the build in failure or cancellation. */
  end(end: BuildEnd): Promise<void>
  /** Ends it in success together with what `publish` does, all or nothing. */
  succeedBuild(
    lines: readonly string[],
    publish: (transaction: Transaction) => Promise<void>,
  ): Promise<void>
}

export type RecordOptions = {
  sql: Sql
  hints: Hints
  build: store.BuildRow
  owner: string
  steps: readonly store.StepRow[]
}

export function buildRecord({ sql, hints, build, owner, steps }: RecordOptions): BuildRecord {
  const done = new Set(steps.filter(({ state }) => state === 'succeeded').map(({ step }) => step))
  let current: BuildStep | undefined = steps.find(({ state }) => state === 'running')?.step
  let lines = 0

  /** One transaction in which the lease is ours, and a hint after it. */
  async function write(
    what: 'progress' | 'outcome',
    work: (transaction: Transaction) => Promise<void>,
  ): Promise<void> {
    await inTransaction(sql, async (transaction) => {
      const isHeld = await store.holdLease(transaction, build.id, owner, what)
      if (!isHeld) throw new BuildLetGo('lease_lost')
      await work(transaction)
    })
    hints.buildStep(build.id)
  }

  async function closeStep(transaction: Transaction, state: StepState): Promise<void> {
    if (current === undefined) return
    const elapsedMs = await store.finishStep(transaction, build.id, current, state)
    await store.appendEvent(transaction, build.id, { step: current, state, elapsedMs })
  }

  async function open(transaction: Transaction, step: BuildStep): Promise<void> {
    await store.startStep(transaction, build.id, step)
    await store.appendEvent(transaction, build.id, { step, state: 'running', elapsedMs: 0 })
  }

  async function append(
    transaction: Transaction,
    step: BuildStep | '',
    texts: readonly string[],
  ): Promise<void> {
    for (const text of texts) {
      if (++lines > MAX_LINES) return
      await store.appendEvent(transaction, build.id, { step, line: text.slice(0, MAX_LINE) })
    }
  }

  return {
    step: () => current,
    isDone: (step) => done.has(step),
    async begin(step) {
      current = step
      await write('progress', (transaction) => open(transaction, step))
    },
    async succeed(step, lines, next) {
      await write('progress', async (transaction) => {
        await closeStep(transaction, 'succeeded')
        await append(transaction, step, lines)
        if (next !== undefined) await open(transaction, next)
      })
      done.add(step)
      current = next
    },
    line: (text) => write('progress', (transaction) => append(transaction, current ?? '', [text])),
    async end({ state, reason, message }) {
      await write('outcome', async (transaction) => {
        await closeStep(transaction, state)
        await store.appendEvent(transaction, build.id, { state, line: message.slice(0, MAX_LINE) })
        await store.finishBuild(transaction, build.id, owner, { state, reason, message })
        await moveServer(transaction, build.serverId, ['building'], 'failed')
      })
      hints.serverUpdated(build.serverId)
    },
    async succeedBuild(lines, publish) {
      await write('outcome', async (transaction) => {
        await publish(transaction)
        const deployed = current ?? ''
        await closeStep(transaction, 'succeeded')
        await append(transaction, deployed, lines)
        await store.appendEvent(transaction, build.id, { state: 'succeeded' })
        const end = { state: 'succeeded', reason: '', message: '' } as const
        await store.finishBuild(transaction, build.id, owner, end)
      })
      hints.serverUpdated(build.serverId)
    },
  }
}
