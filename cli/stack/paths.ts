/** Where a stack keeps what: all names follow from its data directory, so that two of them never meet. */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readlinkSync, realpathSync } from 'node:fs'
import { join, resolve } from 'node:path'

const HASH_CHARACTERS = 10
/** Socket paths are limited to 107 bytes by the kernel; these folders are short for that. */
const runRoot = '/run'
export const stateRoot = '/var/lib/bmm'

/** PROC_PID_INIT_INO of the kernel. */
const INITIAL_PID_NAMESPACE = '4026531836'

export type StackPaths = {
  /** Data directory, absolute and without links. */
  data: string
  hash: string
  /** Sockets and mount points; gone when the stack is down. */
  run: string
  /** What sandboxes see as their root; outside the checkout. */
  state: string
  /** Held by the supervisor as long as it lives. */
  lock: string
  logs: string
  keys: string
  rpc: string
  mailbox: string
  slots: string
  /** Bundled programs; root's. */
  programs: string
  keeperSocket: string
  publicKeys: string
  /** What `up` prints; there while the stack is healthy. */
  report: string
  /** Containers on one machine share the tree of cgroups, and may hold data directories of one name. */
  cgroup: string
}

/** The paths of a data directory, which is made when it is not there. */
export function openStackPaths(dataDirectory: string): StackPaths {
  const wanted = resolve(dataDirectory)
  mkdirSync(wanted, { recursive: true, mode: 0o700 })
  return pathsOf(realpathSync(wanted))
}

/** The paths of a data directory, or undefined when there is no such directory. */
export function findStackPaths(dataDirectory: string): StackPaths | undefined {
  const wanted = resolve(dataDirectory)
  return existsSync(wanted) ? pathsOf(realpathSync(wanted)) : undefined
}

/** What belongs to a data directory that is already absolute and without links. */
export function pathsOf(data: string): StackPaths {
  const hash = createHash('sha256').update(data).digest('hex').slice(0, HASH_CHARACTERS)
  const run = join(runRoot, `bmm-${hash}`)
  const namespace = pidNamespace()
  return {
    data,
    hash,
    run,
    state: join(stateRoot, hash),
    lock: join(data, 'lock'),
    logs: join(data, 'logs'),
    keys: join(data, 'keys'),
    rpc: join(run, 'rpc'),
    mailbox: join(run, 'mailbox'),
    slots: join(run, 'slots'),
    programs: join(run, 'programs'),
    keeperSocket: join(run, 'keeper', 'keeper.sock'),
    publicKeys: join(run, 'public-keys.json'),
    report: join(run, 'stack.json'),
    cgroup: namespace === INITIAL_PID_NAMESPACE ? `bmm-${hash}` : `bmm-${hash}-${namespace}`,
  }
}

/** The number of this process's pid namespace: all that it can see and may end. */
export function pidNamespace(process = 'self'): string {
  return readlinkSync(`/proc/${process}/ns/pid`).replace(/\D/g, '')
}
