/** What runs on this machine for a stack: seen from /proc, not from the stack's own words. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { basename, dirname } from 'node:path'
import type { Stack } from './stack.ts'

export type Process = { pid: number; user: number; command: string; cgroups: string }

/** Every process that can be read, as it is now. */
export function processes(): Process[] {
  const found: Process[] = []
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue
    try {
      const command = readFileSync(`/proc/${entry}/cmdline`, 'utf8').replaceAll('\0', ' ').trim()
      const status = readFileSync(`/proc/${entry}/status`, 'utf8')
      // A zombie does nothing any more: it waits for its parent to ask how it ended.
      if (/^State:\s+Z/m.test(status)) continue
      const user = Number(/^Uid:\s+(\d+)/m.exec(status)?.[1])
      const cgroups = readFileSync(`/proc/${entry}/cgroup`, 'utf8')
      found.push({ pid: Number(entry), user, command, cgroups })
    } catch {
      // It ended between the listing and the reading.
    }
  }
  return found
}

/** What a stack has (cli/stack/services.ts). */
const SLOTS = 64
/** PROC_PID_INIT_INO of the kernel. */
const INITIAL_PID_NAMESPACE = '4026531836'

/** The name of the stack's control groups: in a container it carries the number of the pid namespace. */
export function stackGroup(stack: Pick<Stack, 'mailbox'>): string {
  const namespace = readlinkSync('/proc/self/ns/pid').replace(/\D/g, '')
  const name = basename(dirname(stack.mailbox))
  return namespace === INITIAL_PID_NAMESPACE ? name : `${name}-${namespace}`
}

/** Pids of everything inside this stack's sandboxes, whoever makes them. */
export async function guestProcesses({ firstSlotUser }: Stack): Promise<number[]> {
  return processes()
    .filter(({ user }) => user >= firstSlotUser && user < firstSlotUser + SLOTS)
    .map(({ pid }) => pid)
}

/** A process and everything that it started, as it is now. */
export function descendants(pid: number): number[] {
  const parents = new Map(processes().map((each) => [each.pid, parentOf(each.pid)] as const))
  const found = [pid]
  for (const each of found) {
    for (const [child, parent] of parents) if (parent === each) found.push(child)
  }
  return found
}

/** NaN or undefined when it is gone. */
export function parentOf(pid: number): number | undefined {
  try {
    return Number(/^PPid:\s+(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])
  } catch {
    return undefined
  }
}
