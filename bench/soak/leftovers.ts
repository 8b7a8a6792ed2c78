/** What a stack holds at a moment, counted from outside: processes, descriptors, control groups, sockets, mounts, rows, keys. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { supervisorPid } from '@bmm/tests/children'
import { descendants, guestProcesses, stackGroup } from '@bmm/tests/processes'
import type { Stack } from '@bmm/tests/stack'
import { openStackSql } from '@bmm/tests/traces'

export type Counts = ReadonlyMap<string, number>

/** Rows that a deleted server leaves on purpose, and what belongs to those who called: the history of a stack. */
const kept = [
  ...['generator.servers', 'generator.stops', 'generator.servings', 'generator.drafts'],
  ...['secrets.servers', 'secrets.confirmations', 'runner.deployments', 'broker.epochs'],
  ...['auth.grants', 'auth.authorization_codes', 'auth.consent_requests', 'auth.revocations'],
  ...['auth.refresh_tokens', 'auth.rate_counts', 'runner.run_lines', 'broker.refusals'],
  // Hours of counts: a soak may begin in one and end in the next.
  'runner.call_rollups',
]

/** By name; the sandboxes must sleep by now, or they count. */
export async function countAll(stack: Stack): Promise<Counts> {
  const counts = new Map<string, number>()
  const all = descendants(supervisorPid(stack))
  const guests = new Set(await guestProcesses(stack))
  counts.set(
    'processes of the platform',
    all.filter((pid) => !guests.has(pid) && !isBackend(pid)).length,
  )
  counts.set('processes in sandboxes', guests.size)
  counts.set('control groups', groupsOfSlots(stackGroup(stack)))
  counts.set('sockets of slots', socketsOfSlots(stack))
  counts.set('mounts', textOf('/proc/self/mounts').split(dirname(stack.mailbox)).length - 1)
  for (const [name, pid] of servicesOf(stack))
    counts.set(`descriptors of ${name}`, listed(`/proc/${pid}/fd`))
  const sql = openStackSql(stack)
  try {
    const tables = await sql<{ name: string }[]>`
      select schemaname || '.' || tablename as name from pg_tables
      where schemaname not in ('pg_catalog', 'information_schema') order by 1`
    for (const { name } of tables) {
      const [schema = '', table = ''] = name.split('.')
      const [row] = await sql<{ n: number }[]>`
        select count(*)::int as n from ${sql(`${schema}.${table}`)}`
      counts.set(`rows of ${name}`, row?.n ?? 0)
    }
  } finally {
    await sql.end({ timeout: 5 })
  }
  return counts
}

/** What is more than before although everything was deleted; descriptors of pools may differ a little. */
export function leftBehind(before: Counts, after: Counts, slack: number): string[] {
  return [...after].flatMap(([what, count]) => {
    const table = /^rows of (.+)$/.exec(what)?.[1]
    if (table !== undefined && kept.includes(table)) return []
    const was = before.get(what) ?? 0
    const may = what.startsWith('descriptors') ? slack : 0
    return count > was + may ? [`${what}: ${was} before, ${count} after`] : []
  })
}

/** Pids of the processes that the supervisor keeps, by name. */
export function servicesOf(stack: Stack): Map<string, number> {
  const supervisor = supervisorPid(stack)
  const found = new Map([['supervisor', supervisor]])
  for (const pid of descendants(supervisor)) {
    const command = textOf(`/proc/${pid}/cmdline`).replaceAll('\0', ' ')
    const service = /services\/(?:runner\/)?(\w+)\/main\.ts/.exec(command)?.[1]
    if (service !== undefined) found.set(service, pid)
    else if (/redis-server/.test(command)) found.set('redis', pid)
    else if (/bin\/postgres -D/.test(command)) found.set('postgres', pid)
  }
  return found
}

/** Resident memory that is the process's own, bytes: what it shares with others is nobody's leak. */
export function ownBytes(pid: number): number {
  const status = textOf(`/proc/${pid}/status`)
  const kilobytes = (name: string) =>
    Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? 0)
  return kilobytes('RssAnon') * 1024
}

function isBackend(pid: number): boolean {
  return textOf(`/proc/${pid}/cmdline`).startsWith('postgres: ')
}

function socketsOfSlots(stack: Stack): number {
  const slots = join(dirname(stack.mailbox), 'slots')
  let count = 0
  for (const slot of readdirSync(slots)) {
    for (const side of ['c', 'e']) count += listed(join(slots, slot, side), () => true)
  }
  return count
}

/** In version 1 below the stack's own, in version 2 beside it. */
function groupsOfSlots(group: string): number {
  const beside = (path: string) => basename(path).startsWith(`${group}.`)
  return listed(join('/sys/fs/cgroup/pids', group)) + listed('/sys/fs/cgroup', beside)
}

/** Entries of a folder: those of /proc/PID/fd, and folders elsewhere. */
function listed(folder: string, counts = (path: string) => isOpenOrFolder(path)): number {
  try {
    return readdirSync(folder).filter((name) => counts(join(folder, name))).length
  } catch {
    return 0
  }
}

function isOpenOrFolder(path: string): boolean {
  if (!path.startsWith('/proc/')) return /\/\d+$/.test(path)
  try {
    return readlinkSync(path) !== ''
  } catch {
    return false
  }
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'latin1')
  } catch {
    return ''
  }
}
