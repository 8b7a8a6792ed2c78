/** The engine: links, slots, pool and fleet put together, and what happens to them when a link comes or goes. */
import { errorFrom } from '@bmm/lib/errors'
import type { Identity } from '@bmm/lib/identity'
import type { Log } from '@bmm/lib/log'
import { listenForBroker } from '../broker-link.ts'
import { CallFailure } from '../calls/call-failure.ts'
import type { ServingDeployment } from '../deployment/deployment.ts'
import { dialKeeper } from '../keeper-link.ts'
import type { SandboxClass } from '../sandbox/sandbox-limits.ts'
import { clearSlotFiles } from '../sandbox/slot-files.ts'
import { type AdmissionLimits, createAdmissionDesk } from './admission.ts'
import { createFleet, type Fleet } from './fleet.ts'
import { createLauncher, type Launcher } from './launch.ts'
import { createPool, type Pool, type PoolBounds } from './pool.ts'
import type { SandboxCounts } from './sandbox-counts.ts'
import { createSlotTable, type SlotTable } from './slot-table.ts'

const SANDBOX_CLASS: SandboxClass = 'standard'

export type EngineConfig = {
  keeperSocket: string
  slotsDir: string
  slots: number
  pool: PoolBounds
  admission: AdmissionLimits
  idleMs: number
}

export type Engine = {
  readonly fleet: Fleet
  readonly pool: Pool
  readonly launcher: Launcher
  readonly slots: Pick<SlotTable, 'free' | 'taken'>
  /** What keeps sandboxes from starting, as a sentence; undefined when nothing does. */
  fault(): string | undefined
  stop(): Promise<void>
}

export function startEngine(options: {
  config: EngineConfig
  linkSocket: string
  identity: Identity
  log: Log
  now: () => number
  counts: SandboxCounts
  onEvent: (deployment: ServingDeployment, message: string) => void
  /** Both links are there and the pool fills. */
  onReady: () => void
}): Engine {
  const { config, identity, log, now } = options
  clearSlotFiles(config.slotsDir, config.slots, 'c')
  const slots = createSlotTable(config.slots)

  function fault(): string | undefined {
    if (!keeper.connected)
      return 'Sandboxes cannot be started: the keeper does not answer. Try again in some seconds.'
    if (!broker.connected)
      return 'Sandboxes cannot be started: the broker does not answer. Try again in some seconds.'
    return undefined
  }
  function linksChanged() {
    const why = fault()
    if (why !== undefined) return pool.close(why)
    pool.open()
    options.onReady()
  }

  /** Every sandbox lives by both connections and ends with either. */
  function linkLost(part: string) {
    fleet.endAll(new CallFailure('sandbox_failed', `The ${part} has restarted. Try again.`))
    linksChanged()
    launcher.stopAll().catch((error) => log.error({ err: errorFrom(error) }, 'stopping failed'))
  }

  const keeper = dialKeeper({
    socket: config.keeperSocket,
    onConnected: linksChanged,
    onLost: () => linkLost('keeper of the sandboxes'),
    log,
  })
  const broker = listenForBroker({
    socket: options.linkSocket,
    identity,
    isInFlight: (slot, call) => launcher.isInFlight(slot, call),
    traceOf: (slot, call) => launcher.traceOf(slot, call),
    onConnected: linksChanged,
    onLost: () => linkLost('broker of the sandboxes'),
    log,
  })
  const launcher: Launcher = createLauncher({
    ...{ slots, keeper, broker, slotsDir: config.slotsDir, sandboxClass: SANDBOX_CLASS },
    onSlotFree: () => pool.roomMade(),
  })
  const pool: Pool = createPool({
    launch: () => launcher.launch(),
    hasSlot: () => slots.free > 0,
    makeRoom: () => fleet.makeRoom(),
    charge: (slot, orgId) => keeper.charge(slot, orgId),
    bounds: config.pool,
    ...{ now, log },
  })
  const fleet: Fleet = createFleet({
    ...{ pool, broker, now, log, idleMs: config.idleMs },
    ...{ counts: options.counts, onEvent: options.onEvent },
    desk: createAdmissionDesk(config.admission, now),
  })

  return {
    ...{ fleet, pool, launcher, slots, fault },
    async stop() {
      await fleet.stop()
      pool.stop()
      await launcher.stopAll()
      keeper.close()
      broker.stop()
    },
  }
}
