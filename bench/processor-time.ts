/** Processor time of a stack's processes, read from /proc. */
import { readdirSync, readFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import type { Stack } from '@bmm/tests/stack'

/** Linux shows times in hundredths of a second, whatever the kernel's own clock is. */
const TICK_MS = 10
/** Of /proc/PID/stat after the name in brackets, which is the second field (proc(5)). */
const PARENT_FIELD = 1
const USER_TIME_FIELD = 11
const SYSTEM_TIME_FIELD = 12

export type Part = 'gateway' | 'runner' | 'broker' | 'sandboxes' | 'rest'

type Entry = { pid: number; parent: number; usedMs: number }

/** Milliseconds of processor time that a process and all that descend from it have used so far. */
export function usedBelow(pid: number): number {
  return tree(pid).reduce((sum, entry) => sum + entry.usedMs, 0)
}

/** The same for everything below a stack's supervisor, databases included, by part. */
export function usedByStack(stack: Stack): Map<number, { part: Part; usedMs: number }> {
  const group = `/${basename(dirname(stack.mailbox))}/`
  const used = new Map<number, { part: Part; usedMs: number }>()
  for (const { pid, usedMs } of tree(supervisorOf(stack))) {
    used.set(pid, { part: partOf(pid, group), usedMs })
  }
  return used
}

/** What was used between two readings, milliseconds. */
export function usedBetween(
  before: ReturnType<typeof usedByStack>,
  after: ReturnType<typeof usedByStack>,
): Record<Part, number> & { total: number } {
  const sum = { gateway: 0, runner: 0, broker: 0, sandboxes: 0, rest: 0, total: 0 }
  for (const [pid, { part, usedMs }] of after) {
    const spent = usedMs - (before.get(pid)?.usedMs ?? 0)
    sum[part] += spent
    sum.total += spent
  }
  return sum
}

/** The process of a service of the stack; throws when it does not run. */
export function pidOfService(stack: Stack, main: string): number {
  const service = tree(supervisorOf(stack)).find(({ pid }) => textOf(pid, 'cmdline').includes(main))
  if (service === undefined) throw new Error(`${main} does not run`)
  return service.pid
}

/** Memory of each of our services that is its own, bytes: the pages of programs and libraries are everybody's. */
export function memoryByService(stack: Stack): Map<string, number> {
  return new Map(
    tree(supervisorOf(stack)).flatMap(({ pid }) => {
      const name = /services\/(?:runner\/)?(\w+)\/main\.ts/.exec(textOf(pid, 'cmdline'))?.[1]
      return name === undefined ? [] : [[name, anonymousBytes(pid)] as const]
    }),
  )
}

/** How many sandboxes there are, the pool's included. */
export function sandboxesOf(stack: Stack): number {
  return [...usedByStack(stack).values()].filter(({ part }) => part === 'sandboxes').length
}

function anonymousBytes(pid: number): number {
  const kilobytes = /^Anonymous:\s+(\d+) kB/m.exec(textOf(pid, 'smaps_rollup'))?.[1]
  return Number(kilobytes ?? '0') * 1024
}

function supervisorOf(stack: Stack): number {
  return Number(readFileSync(join(stack.data, 'lock.pid'), 'utf8'))
}

/** The process and all that descend from it. */
function tree(root: number): Entry[] {
  const entries = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => entryOf(Number(name)) ?? [])
  const below = new Set([root])
  for (let size = 0; size !== below.size; ) {
    size = below.size
    for (const { pid, parent } of entries) if (below.has(parent)) below.add(pid)
  }
  return entries.filter(({ pid }) => below.has(pid))
}

function entryOf(pid: number): Entry | undefined {
  const stat = textOf(pid, 'stat')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  if (fields.length <= SYSTEM_TIME_FIELD) return undefined
  const ticks = Number(fields[USER_TIME_FIELD]) + Number(fields[SYSTEM_TIME_FIELD])
  return { pid, parent: Number(fields[PARENT_FIELD]), usedMs: ticks * TICK_MS }
}

function partOf(pid: number, group: string): Part {
  if (textOf(pid, 'cgroup').includes(group)) return 'sandboxes'
  const command = textOf(pid, 'cmdline')
  if (command.includes('services/gateway/main.ts')) return 'gateway'
  if (command.includes('services/runner/main.ts')) return 'runner'
  return command.includes('services/runner/broker/main.ts') ? 'broker' : 'rest'
}

function textOf(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'latin1')
  } catch {
    return ''
  }
}
