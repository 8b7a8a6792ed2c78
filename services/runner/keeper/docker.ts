/** A sandbox as a Docker container: the list of limits in the engine's words. */
import {
  bunFlags,
  coveredProcFiles,
  SANDBOX_HOSTNAME,
  type SandboxClass,
  sandboxClasses,
  sandboxLimits,
  sandboxPaths,
} from '../sandbox/sandbox-limits.ts'
import { currentArchitecture, stageOneProfile } from '../sandbox/seccomp.ts'
import type { ContainerSpec } from './docker-engine.ts'

/** What everyone has. In version 2 an engine makes another weight of it than of none, so it is told from the start. */
export const USUAL_SHARES = 1_024

export type ContainerLaunch = {
  image: string
  sandboxClass: SandboxClass
  /** uid and gid of the slot. */
  uid: number
  callsDirectory: string
  egressDirectory: string
  labels: Readonly<Record<string, string>>
  /** Another OCI runtime than the engine's own, such as gVisor's `runsc`. */
  runtime?: string
}

/** The stack whose sandbox it is: nobody else's are ever swept. */
export const STACK_LABEL = 'bmm.stack'
/** The start of the keeper that made it. */
export const KEEPER_LABEL = 'bmm.keeper'

/** What docker hides by itself, and all that bubblewrap does not mount in the first place. */
const maskedPaths = [
  ...['/sys', '/dev/mqueue', '/dev/shm', '/proc/asound', '/proc/acpi', '/proc/interrupts'],
  ...['/proc/kcore', '/proc/keys', '/proc/latency_stats', '/proc/timer_list', '/proc/timer_stats'],
  ...['/proc/sched_debug', '/proc/scsi'],
]
const readOnlyPaths = [
  ...['/dev', '/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'],
]
/** A name without a value takes the variable away that docker would set. */
const noEnvironment = ['PATH', 'HOSTNAME', 'HOME']

/** The body of POST /containers/create. */
export function containerSpec(launch: ContainerLaunch): ContainerSpec {
  const { image, uid, labels, runtime } = launch
  return {
    Image: image,
    Cmd: [sandboxPaths.bun, ...bunFlags, sandboxPaths.guest],
    Env: noEnvironment,
    User: `${uid}:${uid}`,
    WorkingDir: sandboxPaths.workDir,
    Hostname: SANDBOX_HOSTNAME,
    Labels: labels,
    NetworkDisabled: true,
    ...{ AttachStdin: false, AttachStdout: false, AttachStderr: false, Tty: false },
    HostConfig: {
      ...isolation,
      ...limitsOf(launch.sandboxClass),
      Mounts: [
        readOnlyMount(launch.callsDirectory, sandboxPaths.calls),
        readOnlyMount(launch.egressDirectory, sandboxPaths.egress),
      ],
      ...(runtime === undefined ? {} : { Runtime: runtime }),
    },
  }
}

const isolation = {
  NetworkMode: 'none',
  IpcMode: 'none',
  CgroupnsMode: 'private',
  // An engine that maps users would map the slot's away from its own sockets.
  UsernsMode: 'host',
  ReadonlyRootfs: true,
  ...{ Privileged: false, CapDrop: ['ALL'], CapAdd: [] },
  SecurityOpt: [
    'no-new-privileges',
    `seccomp=${JSON.stringify(stageOneProfile(currentArchitecture()))}`,
  ],
  MaskedPaths: [...maskedPaths, ...coveredProcFiles],
  ReadonlyPaths: readOnlyPaths,
  // What a tenant writes must not fill the engine's disk.
  LogConfig: { Type: 'none' },
  RestartPolicy: { Name: 'no' },
  ...{ Init: false, AutoRemove: false },
}

function limitsOf(sandboxClass: SandboxClass) {
  const { memoryBytes } = sandboxClasses[sandboxClass]
  const { processes, cpuPeriodUs, cpuQuotaUs } = sandboxLimits
  return {
    Memory: memoryBytes,
    // Memory and swap together: so no swap.
    MemorySwap: memoryBytes,
    PidsLimit: processes,
    ...{ CpuPeriod: cpuPeriodUs, CpuQuota: cpuQuotaUs, CpuShares: USUAL_SHARES },
    Ulimits: [
      ulimit('nofile', sandboxLimits.openFiles),
      ulimit('core', sandboxLimits.coreBytes),
      ulimit('fsize', sandboxLimits.fileBytes),
      ulimit('msgqueue', sandboxLimits.messageQueueBytes),
    ],
  }
}

function ulimit(name: string, value: number) {
  return { Name: name, Soft: value, Hard: value }
}

function readOnlyMount(from: string, to: string) {
  const BindOptions = { Propagation: 'rprivate' }
  return { Type: 'bind', Source: from, Target: to, ReadOnly: true, BindOptions }
}
