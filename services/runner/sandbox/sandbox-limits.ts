/** The one list of limits and flags of a sandbox; each driver translates it, nobody else repeats a number of it. */

/** What a caller may choose: a name. Everything else about a sandbox is fixed here. */
export const sandboxClasses = {
  hobby: { memoryBytes: 128 * 1024 * 1024 },
  standard: { memoryBytes: 512 * 1024 * 1024 },
} as const
export type SandboxClass = keyof typeof sandboxClasses

export const sandboxLimits = {
  /** Threads count too; Bun needs about ten of them. */
  processes: 100,
  /** CPU time per period: half a core. */
  cpuQuotaUs: 50_000,
  cpuPeriodUs: 100_000,
  /** Of the machine, for all sandboxes of an organisation together, unless the operator says how many cores. */
  organisationCpuShare: 0.5,
  /** Inherited by everything inside, and the guest may not raise it after stage two. */
  openFiles: 64,
  coreBytes: 0,
  /** Nothing inside is writable; the limit bounds what descriptor 2 leaves behind. */
  fileBytes: 64 * 1024,
  /** POSIX message queues are a file system of their own; there is no room in it. */
  messageQueueBytes: 0,
} as const

/** Processor time of a sandbox by itself, in cores. */
export const sandboxCores = sandboxLimits.cpuQuotaUs / sandboxLimits.cpuPeriodUs

/** The same in every sandbox: nothing of this machine's name. */
export const SANDBOX_HOSTNAME = 'mcp'

/** Slots at most: what a stack's block of users has room for (cli/stack/user-ids.ts). */
export const MAX_SLOTS = 960

/** Where things are inside the sandbox. */
export const sandboxPaths = {
  bun: '/bin/bun',
  guest: '/app/guest.js',
  rehearsal: '/app/rehearsal.js',
  workDir: '/app',
  calls: '/run/bmm/c',
  egress: '/run/bmm/e',
} as const

/** File names in a slot's two directories. */
export const slotFiles = {
  calls: 'call.sock',
  egress: 'egress.sock',
  token: 'token',
  code: 'code',
} as const

/** Directory of a slot's call side (`c`, the runner's) or egress side (`e`, the broker's). */
export function slotDirectory(slotsDir: string, slot: number, side: 'c' | 'e'): string {
  return `${slotsDir}/${slot}/${side}`
}

/** Slot directories: their owner writes, the slot's gid may pass through to a name it knows, and new files get that gid. */
export const SLOT_DIRECTORY_MODE = 0o2710
/** The folder of a server's module: Bun lists a folder before it imports from it. */
export const SLOT_CODE_MODE = 0o750
export const MODULE_FILE = 'module.js'
/** Sockets and files in them: connectable and readable for the slot's gid only. */
export const SLOT_SOCKET_MODE = 0o660
export const SLOT_FILE_MODE = 0o640

/**
 * How Bun is started in a sandbox. `strict`: no text in memory becomes code, by whatever road (eval, the four function
 * constructors, `vm`, `Module._compile`, ShadowRealm, workers and imports of blob: and data: URLs).
 */
export const bunFlags = [
  '--no-install',
  '--no-env-file',
  '--no-macros',
  '--no-addons',
  '--no-ffi-cc',
  '--disallow-code-generation-from-strings=strict',
] as const

export function isSandboxClass(name: unknown): name is SandboxClass {
  return typeof name === 'string' && Object.hasOwn(sandboxClasses, name)
}

/** What shows how busy the machine is. Each costs a start about a millisecond, so the rest of /proc stays. */
export const coveredProcFiles = ['/proc/loadavg', '/proc/stat', '/proc/meminfo', '/proc/uptime']
