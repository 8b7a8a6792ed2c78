/** Launching sandboxes: a slot, a broker that expects it, a keeper that starts it, and all of it given back at the end. */
import type { BrokerLink } from '../broker-link.ts'
import type { KeeperLink } from '../keeper-link.ts'
import { type Sandbox, startSandbox } from '../sandbox/sandbox.ts'
import type { SandboxClass } from '../sandbox/sandbox-limits.ts'
import type { SlotTable } from './slot-table.ts'

export type Launcher = {
  /** A sealed sandbox that waits for `load`. Rejects when there is no slot or it does not start; nothing is left then. */
  launch(): Promise<Sandbox>
  /** Whether this call of this slot's sandbox is under way. */
  isInFlight(slot: number, call: number): boolean
  traceOf(slot: number, call: number): string | undefined
  /** Ends what runs in slots that nobody has taken: a start whose answer came too late. */
  sweep(): Promise<void>
  /** Ends all sandboxes, those that are being started as well, and resolves when nothing of them is left. */
  stopAll(): Promise<void>
}

export function createLauncher(options: {
  slots: SlotTable
  slotsDir: string
  sandboxClass: SandboxClass
  keeper: Pick<KeeperLink, 'start' | 'stop' | 'list'>
  broker: Pick<BrokerLink, 'expect' | 'release'>
  /** A slot is free again. */
  onSlotFree: () => void
}): Launcher {
  const { slots, slotsDir, sandboxClass, keeper, broker } = options
  const live = new Map<number, Sandbox>()
  const leaving = new Set<Promise<unknown>>()
  let abandon = new AbortController()

  async function giveBack(slot: number): Promise<void> {
    live.delete(slot)
    await broker.release(slot)
    slots.release(slot)
    options.onSlotFree()
  }
  function track<Result>(work: Promise<Result>): Promise<Result> {
    leaving.add(work)
    const left = () => leaving.delete(work)
    work.then(left, left)
    return work
  }
  async function launch(signal: AbortSignal): Promise<Sandbox> {
    const slot = slots.take()
    if (slot === undefined) throw new Error('all slots are taken')
    try {
      const sandbox = await startSandbox({
        ...{ slot, slotsDir, sandboxClass, keeper, signal },
        expectEgress: (at, token) => broker.expect(at, token),
      })
      live.set(slot, sandbox)
      void track(sandbox.gone.then(() => giveBack(slot)))
      return sandbox
    } catch (error) {
      await giveBack(slot)
      throw error
    }
  }

  return {
    launch: () => track(launch(abandon.signal)),
    traceOf: (slot, call) => live.get(slot)?.traceOf(call),
    isInFlight: (slot, call) => live.get(slot)?.isInFlight(call) ?? false,
    async sweep() {
      for (const slot of await keeper.list()) if (!slots.has(slot)) await keeper.stop(slot)
    },
    async stopAll() {
      abandon.abort()
      abandon = new AbortController()
      for (const sandbox of live.values()) sandbox.stop()
      await Promise.allSettled(leaving)
    },
  }
}
