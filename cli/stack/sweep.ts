/** Removing what a stack that is no longer there left behind: processes, mounts, cgroups and its run directory. */
import { existsSync, readdirSync, readFileSync, rmdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { tryLock } from './lock.ts'
import { pidNamespace, type StackPaths } from './paths.ts'
import { claimUserIds, type UserIds } from './user-ids.ts'

const KILL_WAIT_MS = 5_000
const KILL_STEP_MS = 20

/** Only for the holder of the stack's lock: nothing that runs under its users may be wanted. */
export async function sweep(paths: StackPaths, users: UserIds): Promise<void> {
  await killAll(users)
  unmountUnder(paths.run)
  await removeCgroups(paths.cgroup)
  rmSync(paths.run, { recursive: true, force: true })
}

/** Removes the rest of a killed stack, unless another one has taken its place meanwhile. */
export async function sweepUnused(paths: StackPaths): Promise<void> {
  using lock = tryLock(paths.lock)
  if (lock !== undefined) await sweep(paths, claimUserIds(paths.data))
}

/** SIGKILL for every process of this pid namespace that runs as one of the users, until none is left. */
async function killAll(users: UserIds): Promise<void> {
  const own = pidNamespace()
  const deadline = Date.now() + KILL_WAIT_MS
  for (;;) {
    const found = readdirSync('/proc').filter(
      (name) => /^\d+$/.test(name) && isOurs(name, users, own),
    )
    if (found.length === 0) return
    if (Date.now() > deadline) throw new Error(`processes ${found.join(', ')} do not end`)
    for (const pid of found) killQuietly(Number(pid))
    await Bun.sleep(KILL_STEP_MS)
  }
}

function isOurs(pid: string, users: UserIds, namespace: string): boolean {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8')
    const user = Number(/^Uid:\s+(\d+)/m.exec(status)?.[1] ?? '0')
    const zombie = /^State:\s+Z/m.test(status)
    return users.includes(user) && !zombie && pidNamespace(pid) === namespace
  } catch {
    return false
  }
}

function killQuietly(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It ended by itself in between.
  }
}

/** Mounts live in their processes' own namespaces and end with them; this is for those that did not. */
function unmountUnder(folder: string): void {
  const mounts = readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '')
    .filter((target) => target.startsWith(`${folder}/`))
  for (const target of mounts.reverse()) Bun.spawnSync(['umount', '--lazy', target])
}

/** A cgroup is removed like a folder, from its leaves, once no process is in it: those that were killed take a moment to die. */
async function removeCgroups(name: string): Promise<void> {
  const folders = readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .flatMap((line) => {
      const [, target = '', type = ''] = line.split(' ')
      // A mount that another one covers is listed, and not there.
      if (!/^cgroup2?$/.test(type) || !existsSync(target)) return []
      const isOurs = (entry: string) => entry === name || entry.startsWith(`${name}.`)
      return readdirSync(target)
        .filter(isOurs)
        .map((entry) => join(target, entry))
    })
  const deadline = Date.now() + KILL_WAIT_MS
  for (;;) {
    for (const folder of folders) removeTree(folder)
    if (!folders.some((folder) => existsSync(folder)) || Date.now() > deadline) return
    await Bun.sleep(KILL_STEP_MS)
  }
}

function removeTree(folder: string): void {
  if (!existsSync(folder)) return
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (entry.isDirectory()) removeTree(join(folder, entry.name))
  }
  try {
    rmdirSync(folder)
  } catch {
    // A process in it is still dying.
  }
}
