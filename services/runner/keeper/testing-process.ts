/** A keeper process for tests, with uids, names and folders of its own, and what it has on the machine. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { testDockerSocket } from '@bmm/lib/env'
import type { Subprocess } from 'bun'
import { STACK_LABEL } from './docker.ts'
import { sweepContainers } from './docker-driver.ts'
import { dockerEngine } from './docker-engine.ts'
import { type DriverName, driverNames } from './driver.ts'

export type TestKeeperProcess = {
  readonly process: Subprocess
  driver: DriverName
  runDirectory: string
  slotsDir: string
  slotUidBase: number
  socket: string
  slots: number
  /** Starts a new process after the old one has ended. */
  start(): void
  /** Processes of a slot's user, which nobody else is. */
  processesOf(slot: number): number[]
  /** Slots that have processes. */
  occupied(): number[]
  /** What the driver has for a slot on this machine: control groups or a container. */
  leftOf(slot: number): Promise<string[]>
  /** A file of the control group in which a slot's processes are; version 1 by its controller. */
  groupFile(slot: number, controller: string, file: string): string
  stop(): Promise<void>
}

/** All drivers, as `./bmm test` runs them; without an engine the one that needs none. */
export const testDrivers: readonly DriverName[] =
  testDockerSocket() === undefined ? ['bwrap'] : driverNames

const CONTROLLERS = ['memory', 'pids', 'cpu', 'unified', '.']
const EMPTY_TIMEOUT_MS = 10_000
const LOOK_AGAIN_MS = 10
const RUNTIMES_OF_TESTS = 2_048
const UIDS = 1_024
let started = 0

/** Starts it and does not wait. */
export function startKeeperProcess(options: {
  name: string
  driver: DriverName
  slots: number
  env?: Record<string, string>
}): TestKeeperProcess {
  const { driver, slots } = options
  const id = `${options.name}-${process.pid}-${Math.random().toString(36).slice(2, 8)}`
  const runDirectory = `/run/bmm-test-${id}`
  const stateDirectory = `/var/lib/bmm/test-${id}`
  const stack = `bmm-test-${id}`
  const slotsDir = join(runDirectory, 'slots')
  const socket = join(runDirectory, 'keeper.sock')
  // Far above the blocks that stacks take, and another one for each test process.
  const uidBase = 0x7e00_0000 + (process.pid % RUNTIMES_OF_TESTS) * UIDS + (started++ % 8) * 128
  const slotUidBase = uidBase + 64
  mkdirSync(runDirectory, { recursive: true, mode: 0o755 })
  const main = join(import.meta.dirname, 'main.ts')
  const spawn = () =>
    Bun.spawn(['setpriv', '--pdeathsig', 'SIGKILL', process.execPath, main], {
      env: {
        PATH: '/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin',
        BMM_LOG_LEVEL: 'error',
        BMM_DRIVER: driver,
        BMM_DOCKER_SOCKET: testDockerSocket() ?? '/var/run/docker.sock',
        BMM_KEEPER_SOCKET: socket,
        BMM_SLOTS_DIR: slotsDir,
        BMM_SLOTS: String(slots),
        BMM_SLOT_UID_BASE: String(slotUidBase),
        BMM_RUNNER_UID: String(uidBase + 4),
        BMM_BROKER_UID: String(uidBase + 5),
        BMM_ROOTFS: join(stateDirectory, 'rootfs'),
        BMM_CGROUP: stack,
        ...options.env,
      },
      stdio: ['ignore', 'inherit', 'inherit'],
    })
  let child = spawn()
  const users = () => slotUsers(slotUidBase, slots)
  return {
    ...{ driver, runDirectory, slotsDir, slotUidBase, socket, slots },
    get process() {
      return child
    },
    start() {
      rmSync(socket, { force: true })
      child = spawn()
    },
    processesOf: (slot) => users().flatMap((user) => (user.slot === slot ? [user.pid] : [])),
    occupied: () => [...new Set(users().map(({ slot }) => slot))].sort((a, b) => a - b),
    leftOf: (slot) => (driver === 'bwrap' ? groupsOf(stack, slot) : containersOf(stack, slot)),
    groupFile(slot, controller, file) {
      const [pid] = users().flatMap((user) => (user.slot === slot ? [user.pid] : []))
      return join(groupOf(pid ?? 0, controller), file)
    },
    async stop() {
      child.kill('SIGTERM')
      await child.exited
      rmSync(runDirectory, { recursive: true, force: true })
      rmSync(stateDirectory, { recursive: true, force: true })
      await (driver === 'bwrap' ? removeGroups(stack) : removeContainers(stack))
    },
  }
}

/** The processes of the slots' users; one whose first thread has exited lives on in the others. */
function slotUsers(base: number, slots: number): { slot: number; pid: number }[] {
  return readdirSync('/proc').flatMap((name) => {
    if (!/^\d+$/.test(name)) return []
    try {
      const status = readFileSync(`/proc/${name}/status`, 'utf8')
      const slot = Number(/^Uid:\s+(\d+)/m.exec(status)?.[1]) - base
      const dead = /^State:\s+Z/m.test(status) && !/^Threads:\s+([2-9]|\d\d)/m.test(status)
      return slot >= 0 && slot < slots && !dead ? [{ slot, pid: Number(name) }] : []
    } catch {
      return []
    }
  })
}

async function groupsOf(stack: string, slot: number): Promise<string[]> {
  return CONTROLLERS.flatMap((controller) => [
    `/sys/fs/cgroup/${controller}/${stack}/${slot}`,
    `/sys/fs/cgroup/${controller}/${stack}.${slot}`,
  ]).filter((path) => existsSync(path))
}

/** `controller` is a name of version 1, or `.` where there is version 2 only. */
function groupOf(pid: number, controller: string): string {
  const lines = readFileSync(`/proc/${pid}/cgroup`, 'utf8').trim().split('\n')
  const rows = lines.map((line) => /^\d+:([^:]*):(.*)$/.exec(line) ?? [])
  const v1 = rows.find(([, names = '']) => names.split(',').includes(controller))
  const v2 = rows.find(([, names]) => names === '')
  return v1 ? `/sys/fs/cgroup/${controller}${v1[2]}` : `/sys/fs/cgroup${v2?.[2]}`
}

async function containersOf(stack: string, slot: number): Promise<string[]> {
  const found = await dockerEngine(testDockerSocket() ?? '').list([`${STACK_LABEL}=${stack}`])
  return found.map(({ name }) => name).filter((name) => name === `${stack}-${slot}`)
}

/** Of a keeper that was killed, too. */
async function removeContainers(stack: string): Promise<void> {
  const engine = dockerEngine(testDockerSocket() ?? '')
  await sweepContainers(engine, [`${STACK_LABEL}=${stack}`])
  for (const image of await engine.listImages(stack)) await engine.removeImage(image)
}

/** A group goes when its last process does, which a killed keeper does not wait for. */
async function removeGroups(stack: string): Promise<void> {
  const deadline = performance.now() + EMPTY_TIMEOUT_MS
  const groups = CONTROLLERS.flatMap((controller) => {
    const mount = `/sys/fs/cgroup/${controller}`
    const entries = existsSync(mount) ? readdirSync(mount) : []
    const own = entries.filter((name) => name === stack || name.startsWith(`${stack}.`))
    return own.map((name) => join(mount, name))
  })
  while (!groups.every(isRemoved)) {
    if (performance.now() > deadline) throw new Error(`control groups of ${stack} are in use`)
    await Bun.sleep(LOOK_AGAIN_MS)
  }
}

function isRemoved(group: string): boolean {
  try {
    for (const name of readdirSync(group)) {
      if (/^\d+$/.test(name)) rmdirSync(join(group, name))
    }
    rmdirSync(group)
    return true
  } catch {
    return !existsSync(group)
  }
}
