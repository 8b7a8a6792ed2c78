/** The bubblewrap driver: a child process of the keeper in control groups of its own. */
import { closeSync, constants, openSync, readSync, statSync } from 'node:fs'
import type { Log } from '@bmm/lib/log'
import type { Subprocess } from 'bun'
import {
  type SandboxClass,
  sandboxClasses,
  sandboxLimits,
  slotDirectory,
} from '../sandbox/sandbox-limits.ts'
import { launchCommand, type Programs } from './bwrap.ts'
import { type Cgroups, openCgroups } from './cgroups.ts'
import type { Driver, DriverOptions, SandboxEnding } from './driver.ts'
import { probeBwrap } from './probe.ts'
import type { Rootfs } from './rootfs.ts'
import type { SlotOwners } from './slots.ts'

type Parts = {
  owners: SlotOwners
  cgroups: Cgroups
  rootfs: Rootfs
  programs: Programs
  log: Log
}

const DETAIL_BYTES = 2_048

/** Throws a sentence where it does not work on this machine. What an earlier keeper left is gone when it resolves. */
export async function openBwrapDriver({ config, makeRootfs, log }: DriverOptions): Promise<Driver> {
  const probe = await probeBwrap()
  if (!probe.ok) throw new Error(probe.reason)
  const cgroups = openCgroups(config.cgroup)
  const swept = await cgroups.sweep()
  if (swept > 0) log.warn({ swept }, 'an earlier keeper left sandboxes: they are gone now')
  const { owners } = config
  const parts: Parts = {
    owners,
    cgroups,
    rootfs: await makeRootfs(),
    programs: probe.programs,
    log,
  }
  return {
    name: 'bwrap',
    async start(slot, sandboxClass) {
      const { process, errorFile } = spawn(parts, slot, sandboxClass)
      return {
        pid: process.pid,
        kill: () => process.kill('SIGKILL'),
        usedMs: () => cgroups.usedMs(slot),
        limit: (cpuQuotaUs) => cgroups.limitCpu(slot, cpuQuotaUs),
        stand: (isBehind) => cgroups.stand(slot, isBehind),
        gone: settle(parts, slot, process, errorFile),
      }
    },
    async close() {
      cgroups.remove()
    },
  }
}

/** Nothing of it stays when it throws. */
function spawn(
  options: Parts,
  slot: number,
  sandboxClass: SandboxClass,
): { process: Subprocess; errorFile: string } {
  const { processes, cpuPeriodUs, cpuQuotaUs } = sandboxLimits
  const { memoryBytes } = sandboxClasses[sandboxClass]
  try {
    options.cgroups.create(slot, { memoryBytes, processes, cpuPeriodUs, cpuQuotaUs })
    return spawnInGroup(options, slot)
  } catch (error) {
    options.cgroups
      .destroy(slot)
      .catch((left) => options.log.error({ err: left, slot }, 'left over'))
    throw error
  }
}

function spawnInGroup(options: Parts, slot: number): { process: Subprocess; errorFile: string } {
  const { owners, programs, rootfs } = options
  // In the slot's parent, which only root changes: no link can be put in its way.
  const errorFile = `${owners.slotsDir}/${slot}/stderr`
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_APPEND
  const stderr = openSync(errorFile, flags | constants.O_NOFOLLOW, 0o600)
  try {
    const process = Bun.spawn({
      cmd: launchCommand({
        programs,
        rootfs: rootfs.path,
        seccompFile: rootfs.seccompFile,
        uid: owners.slotUidBase + slot,
        cgroupJoinFiles: options.cgroups.joinFiles(slot),
        callsDirectory: slotDirectory(owners.slotsDir, slot, 'c'),
        egressDirectory: slotDirectory(owners.slotsDir, slot, 'e'),
      }),
      cwd: '/',
      env: {},
      stdin: 'ignore',
      stdout: 'ignore',
      stderr,
    })
    return { process, errorFile }
  } finally {
    closeSync(stderr)
  }
}

/** Waits for the end of a sandbox, reads why, and removes what is left of it. */
async function settle(
  options: Parts,
  slot: number,
  process: Subprocess,
  errorFile: string,
): Promise<SandboxEnding> {
  const { cgroups, log } = options
  await process.exited
  const oom = cgroups.oomKills(slot) > 0
  const memoryPeakBytes = cgroups.memoryPeakBytes(slot)
  if (!(await cgroups.destroy(slot))) log.error({ slot }, 'a control group could not be emptied')
  const reason = oom ? 'oom' : process.signalCode !== null ? 'killed' : 'exited'
  const status = process.signalCode ?? `exit code ${process.exitCode}`
  return { reason, detail: `${status} ${tail(errorFile)}`.trim(), memoryPeakBytes }
}

function tail(path: string): string {
  const { size } = statSync(path)
  const bytes = new Uint8Array(Math.min(size, DETAIL_BYTES))
  const file = openSync(path, 'r')
  try {
    readSync(file, bytes, 0, bytes.length, size - bytes.length)
  } finally {
    closeSync(file)
  }
  return new TextDecoder().decode(bytes).trim()
}
