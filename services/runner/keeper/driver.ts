/** What a keeper needs of whatever makes its sandboxes. Each driver translates the one list of limits (`../sandbox-limits.ts`). */
import type { Log } from '@bmm/lib/log'
import type { SandboxClass } from '../sandbox/sandbox-limits.ts'
import type { KeeperConfig } from './config.ts'
import type { Rootfs } from './rootfs.ts'

export const driverNames = ['bwrap', 'docker'] as const
export type DriverName = (typeof driverNames)[number]

export type Driver = {
  readonly name: DriverName
  /** A slot in which nothing runs. Rejects with a sentence for people; nothing of a failed start stays then. */
  start(slot: number, sandboxClass: SandboxClass): Promise<StartedSandbox>
  /** Removes what the driver itself keeps on the machine; after the last sandbox is gone. */
  close(): Promise<void>
}

export type StartedSandbox = {
  /** Of its outermost process; tells two sandboxes of one slot apart. */
  pid: number
  kill(): void
  /** Processor time since its start; undefined where it cannot be told. */
  usedMs(): number | undefined
  /** Processor time from now on, for each period of the list of limits. Throws when it cannot be set. */
  limit(cpuQuotaUs: number): void | Promise<void>
  /** Behind: it gets a processor only when nobody else wants it. */
  stand(isBehind: boolean): void | Promise<void>
  /** Resolves when nothing of it is left. */
  gone: Promise<SandboxEnding>
}

export type SandboxEnding = {
  /** By whom: the kernel for memory, a signal, or itself. */
  reason: 'oom' | 'killed' | 'exited'
  /** For the operator's log; may hold tenant's text. */
  detail: string
  memoryPeakBytes?: number
}

export type DriverOptions = {
  config: KeeperConfig
  /** Only called when no sandbox runs. */
  makeRootfs: () => Promise<Rootfs>
  log: Log
}
