/** What a worker writes about a build while it holds the lease: steps, lines, the end. Without the lease it writes nothing. */
import { inTransaction, type Sql, type Transaction } from '@bmm/lib/sql'
import { BuildLetGo, type BuildState, type BuildStep, type StepState } from './build.ts'
import * as store from './build-store.ts'
import type { Hints } from './hints.ts'
import { moveServer } from './server-store.ts'

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
  succeed(step: BuildStep): Promise<void>
  /** A log line of the step under way. */
  line(text: string): Promise<void>
  /** Ends the build in failure or cancellation. */
  end(end: BuildEnd): Promise<void>
  /** Ends it in success together with what `publish` does, all or nothing. */
  succeedBuild(publish: (transaction: Transaction) => Promise<void>): Promise<void>
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
  async function write(work: (transaction: Transaction) => Promise<void>): Promise<void> {
    await inTransaction(sql, async (transaction) => {
      if (!(await store.holdLease(transaction, build.id, owner))) throw new BuildLetGo('lease_lost')
      await work(transaction)
    })
    hints.buildStep(build.id)
  }

  async function closeStep(transaction: Transaction, state: StepState): Promise<void> {
    if (current === undefined) return
    const elapsedMs = await store.finishStep(transaction, build.id, current, state)
    await store.appendEvent(transaction, build.id, { step: current, state, elapsedMs })
  }

  return {
    step: () => current,
    isDone: (step) => done.has(step),
    async begin(step) {
      current = step
      await write(async (transaction) => {
        await store.startStep(transaction, build.id, step)
        const event = { step, state: 'running', elapsedMs: 0 } as const
        await store.appendEvent(transaction, build.id, event)
      })
    },
    async succeed(step) {
      await write((transaction) => closeStep(transaction, 'succeeded'))
      done.add(step)
      current = undefined
    },
    async line(text) {
      if (++lines > MAX_LINES) return
      await write((transaction) =>
        store.appendEvent(transaction, build.id, {
          step: current ?? '',
          line: text.slice(0, MAX_LINE),
        }),
      )
    },
    async end({ state, reason, message }) {
      await write(async (transaction) => {
        await closeStep(transaction, state)
        await store.appendEvent(transaction, build.id, { state, line: message.slice(0, MAX_LINE) })
        await store.finishBuild(transaction, build.id, owner, { state, reason, message })
        await moveServer(transaction, build.serverId, ['building'], 'failed')
      })
      hints.serverUpdated(build.serverId)
    },
    async succeedBuild(publish) {
      await write(async (transaction) => {
        await publish(transaction)
        await closeStep(transaction, 'succeeded')
        await store.appendEvent(transaction, build.id, { state: 'succeeded' })
        const end = { state: 'succeeded', reason: '', message: '' } as const
        await store.finishBuild(transaction, build.id, owner, end)
      })
      hints.serverUpdated(build.serverId)
    },
  }
}
