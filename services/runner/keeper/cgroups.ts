/** Control groups of the slots, version 1 (also hybrid) and version 2: limits, what ran in them, who was killed for memory, removal. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { processUsedMs } from './used-time.ts'

export type CgroupLimits = {
  memoryBytes: number
  processes: number
  cpuQuotaUs: number
  cpuPeriodUs: number
}

/** The groups of one stack. A group is named by its slot. */
export type Cgroups = {
  version: 1 | 2
  /** Throws when the group is there already: something might live in it. */
  create(slot: number, limits: CgroupLimits): void
  /** The files into which a process writes its id to join before it becomes the sandbox. */
  joinFiles(slot: number): string[]
  oomKills(slot: number): number
  /** Processor time of all that lives in the group; undefined when nothing does. */
  usedMs(slot: number): number | undefined
  /** Throws where a group of a living sandbox does not take it. */
  limitCpu(slot: number, cpuQuotaUs: number): void
  /** Behind: it gets a processor only when nobody else wants it. Nothing happens where the kernel does not know that. */
  stand(slot: number, isBehind: boolean): void
  memoryPeakBytes(slot: number): number
  /** Kills everything inside and removes the group; false when something survived the time limit. */
  destroy(slot: number): Promise<boolean>
  /** Destroys every group that an earlier keeper left. */
  sweep(): Promise<number>
  /** Removes the stack's own group; for a stop that leaves nothing. */
  remove(): void
}

/** No sound control groups: the message says why, for people. */
export class NoCgroups extends Error {
  override name = 'NoCgroups'
}

const CONTROLLERS = ['memory', 'pids', 'cpu'] as const
/** What version 1 gives every group: a ninth of what a process at niceness -10 weighs. */
const USUAL_SHARES = 1_024
/** Of a sandbox in version 2, where the services are in a group that has 100: a ninth there, too. */
const USUAL_WEIGHT = 11
/** What to do where groups cannot be made. In version 2 a group that has processes shares out nothing, except a machine's topmost. */
const hints: Readonly<Record<string, string>> = {
  EBUSY:
    'processes live in the topmost group that this container sees; move them into one below it first: mkdir /sys/fs/cgroup/init, then write each line of /sys/fs/cgroup/cgroup.procs into /sys/fs/cgroup/init/cgroup.procs.',
  EROFS:
    'their folder is read-only, as in a container without privileges or a systemd service with ProtectControlGroups=yes.',
}
const DESTROY_TRIES = 200
const DESTROY_PAUSE_MS = 10

/** Finds the hierarchies and checks by doing that groups can be made. Throws NoCgroups. */
export function openCgroups(name: string, mounts = readFileSync('/proc/mounts', 'utf8')): Cgroups {
  if (!/^[a-z0-9-]{1,40}$/.test(name)) throw new Error('a group name has a-z, 0-9 and - only')
  const rows = mounts.split('\n').map((line) => line.split(' '))
  const v1 = CONTROLLERS.map(
    (controller) =>
      rows.find(
        ([, , type, options]) => type === 'cgroup' && options?.split(',').includes(controller),
      )?.[1],
  )
  const v2 = rows.find(([, , type]) => type === 'cgroup2')?.[1]
  const [memory, pids, cpu] = v1
  if (memory && pids && cpu) return versionOne(name, { memory, pids, cpu })
  if (v2) return versionTwo(name, v2)
  throw new NoCgroups(
    'This machine has no control groups for memory, pids and cpu, so sandboxes would have no hard limits.',
  )
}

/**
 * In the hierarchy of the processor a slot's group stands beside the groups and sessions of services, not under one for all
 * sandboxes, which would be compared with services in its place: who stands behind then stands behind everybody.
 */
function versionOne(name: string, mounts: { memory: string; pids: string; cpu: string }): Cgroups {
  const shared = [...new Set([mounts.memory, mounts.pids])]
  const parents = shared.map((mount) => join(mount, name))
  const inside = (mount: string, slot: number | string) => join(mount, name, String(slot))
  const isCpuShared = shared.includes(mounts.cpu)
  const cpuOf = (slot: number | string) =>
    isCpuShared ? inside(mounts.cpu, slot) : join(mounts.cpu, `${name}.${slot}`)
  const groupsOf = (slot: number | string) => [
    ...new Set([...shared.map((mount) => inside(mount, slot)), cpuOf(slot)]),
  ]
  attempt(() => {
    for (const parent of parents) mkdirSync(parent, { recursive: true })
    const trial = join(mounts.cpu, `${name}.trial`)
    mkdirSync(trial, { recursive: true })
    rmdirSync(trial)
  })
  return {
    version: 1,
    create(slot, limits) {
      for (const group of groupsOf(slot)) mkdirSync(group)
      const memory = inside(mounts.memory, slot)
      write(memory, 'memory.limit_in_bytes', limits.memoryBytes)
      // Absent where the kernel does not account swap.
      writeIfPresent(memory, 'memory.memsw.limit_in_bytes', limits.memoryBytes)
      write(inside(mounts.pids, slot), 'pids.max', limits.processes)
      write(cpuOf(slot), 'cpu.cfs_period_us', limits.cpuPeriodUs)
      write(cpuOf(slot), 'cpu.cfs_quota_us', limits.cpuQuotaUs)
    },
    joinFiles: (slot) => groupsOf(slot).map((group) => join(group, 'cgroup.procs')),
    oomKills: (slot) =>
      counter(join(inside(mounts.memory, slot), 'memory.oom_control'), 'oom_kill'),
    usedMs: (slot) => usedByMembers(cpuOf(slot)),
    limitCpu: (slot, quotaUs) => writeUnlessGone(cpuOf(slot), 'cpu.cfs_quota_us', String(quotaUs)),
    stand(slot, isBehind) {
      writeIfPresent(cpuOf(slot), 'cpu.idle', Number(isBehind))
      // The kernel has forgotten its weight meanwhile, and takes none for one that stands behind.
      if (!isBehind) writeIfPresent(cpuOf(slot), 'cpu.shares', USUAL_SHARES)
    },
    memoryPeakBytes: (slot) =>
      number(join(inside(mounts.memory, slot), 'memory.max_usage_in_bytes')),
    destroy: (slot) => destroy(groupsOf(slot)),
    sweep: () => sweep([...slotsUnder(parents), ...slotsBeside(mounts.cpu, name)], groupsOf),
    remove: () => removeAll(parents),
  }
}

/**
 * A slot's group stands at the top, as in version 1. The stack's own group stays empty: what it enables below itself nobody
 * can switch off at the top, as systemd does with a controller that no unit needs, and every limit of it with it.
 */
function versionTwo(name: string, mount: string): Cgroups {
  const parent = join(mount, name)
  const enable = CONTROLLERS.map((controller) => `+${controller}`).join(' ')
  const available = readText(join(mount, 'cgroup.controllers')).trim().split(' ')
  const missing = CONTROLLERS.filter((controller) => !available.includes(controller))
  if (missing.length > 0) {
    throw new NoCgroups(
      `The control groups of this machine lack ${missing.join(', ')}, so sandboxes would have no hard limits.`,
    )
  }
  attempt(() => {
    writeFileSync(join(mount, 'cgroup.subtree_control'), enable)
    mkdirSync(parent, { recursive: true })
    writeFileSync(join(parent, 'cgroup.subtree_control'), enable)
  })
  const groupOf = (slot: number | string) => join(mount, `${name}.${slot}`)
  return {
    version: 2,
    create(slot, limits) {
      const group = groupOf(slot)
      mkdirSync(group)
      write(group, 'memory.max', limits.memoryBytes)
      writeIfPresent(group, 'memory.swap.max', 0)
      writeIfPresent(group, 'memory.oom.group', 1)
      write(group, 'pids.max', limits.processes)
      writeFileSync(join(group, 'cpu.max'), `${limits.cpuQuotaUs} ${limits.cpuPeriodUs}`)
      write(group, 'cpu.weight', USUAL_WEIGHT)
    },
    joinFiles: (slot) => [join(groupOf(slot), 'cgroup.procs')],
    oomKills: (slot) => counter(join(groupOf(slot), 'memory.events'), 'oom_kill'),
    usedMs: (slot) =>
      existsSync(groupOf(slot))
        ? counter(join(groupOf(slot), 'cpu.stat'), 'usage_usec') / 1_000
        : undefined,
    limitCpu(slot, quotaUs) {
      // The period stays as it is.
      writeUnlessGone(groupOf(slot), 'cpu.max', String(quotaUs))
    },
    stand(slot, isBehind) {
      writeIfPresent(groupOf(slot), 'cpu.idle', Number(isBehind))
      if (!isBehind) writeIfPresent(groupOf(slot), 'cpu.weight', USUAL_WEIGHT)
    },
    memoryPeakBytes: (slot) => number(join(groupOf(slot), 'memory.peak')),
    destroy: (slot) => destroy([groupOf(slot)]),
    sweep: () => sweep(slotsBeside(mount, name), (slot) => [groupOf(slot)]),
    remove: () => removeAll([parent]),
  }
}

function attempt(make: () => void): void {
  try {
    make()
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : String(error)
    const hint = hints[code] ?? 'is this a container without the right to make groups?'
    throw new NoCgroups(`Control groups cannot be made here (${code}): ${hint}`)
  }
}

function write(group: string, file: string, value: number): void {
  writeFileSync(join(group, file), String(value))
}

function writeIfPresent(group: string, file: string, value: number): void {
  if (existsSync(join(group, file))) write(group, file, value)
}

function writeUnlessGone(group: string, file: string, value: string): void {
  if (existsSync(group)) writeFileSync(join(group, file), value)
}

/** Version 1 counts in a hierarchy of its own, which need not be there. */
function usedByMembers(group: string): number | undefined {
  const pids = readText(join(group, 'cgroup.procs')).split('\n').filter(Boolean)
  const used = pids.flatMap((pid) => processUsedMs(pid) ?? [])
  return used.length > 0 ? used.reduce((sum, ms) => sum + ms, 0) : undefined
}

async function destroy(groups: string[]): Promise<boolean> {
  for (let tries = 0; tries < DESTROY_TRIES; tries++) {
    const left = groups.filter((group) => existsSync(group))
    if (left.length === 0) return true
    for (const group of left) {
      killAll(group)
      try {
        rmdirSync(group)
      } catch {
        // Busy until the last killed process is reaped: tried again below.
      }
    }
    if (left.every((group) => !existsSync(group))) return true
    await Bun.sleep(DESTROY_PAUSE_MS)
  }
  return false
}

function killAll(group: string): void {
  if (existsSync(join(group, 'cgroup.kill'))) {
    try {
      writeFileSync(join(group, 'cgroup.kill'), '1')
      return
    } catch {
      // The group has just gone, or the kernel wants it process by process.
    }
  }
  for (const line of readText(join(group, 'cgroup.procs')).split('\n')) {
    if (/^[1-9]\d*$/.test(line)) {
      try {
        process.kill(Number(line), 'SIGKILL')
      } catch {
        // It ended between the read and the kill.
      }
    }
  }
}

function slotsUnder(parents: string[]): string[] {
  const entries = parents.flatMap((parent) => (existsSync(parent) ? readdirSync(parent) : []))
  return entries.filter(isSlot)
}

function slotsBeside(mount: string, name: string): string[] {
  const entries = readdirSync(mount).filter((entry) => entry.startsWith(`${name}.`))
  return entries.map((entry) => entry.slice(name.length + 1)).filter(isSlot)
}

/** What else is there is not ours to end. */
function isSlot(entry: string): boolean {
  return /^\d+$/.test(entry)
}

async function sweep(
  found: readonly string[],
  groupsOf: (slot: string) => string[],
): Promise<number> {
  const slots = new Set(found)
  for (const slot of slots) {
    const gone = await destroy(groupsOf(slot))
    if (!gone) throw new Error(`the control group of slot ${slot} cannot be emptied`)
  }
  return slots.size
}

function removeAll(parents: string[]): void {
  for (const parent of parents) {
    if (existsSync(parent)) rmdirSync(parent)
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

/** The value after `name ` in a file of such lines; 0 when the kernel does not count it. */
function counter(path: string, name: string): number {
  const line = readText(path)
    .split('\n')
    .find((text) => text.startsWith(`${name} `))
  return Number(line?.split(' ')[1] ?? 0)
}

function number(path: string): number {
  return Number(readText(path).trim() || 0)
}
