/** The control groups that a stack's sandboxes have, in every hierarchy that the keeper uses: seen from the mounts, not from its words. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** What limits a sandbox; version 1 may have a hierarchy for each. */
const CONTROLLERS = ['memory', 'pids', 'cpu']

/** Groups of slots in which none of these processes is, by path. Throws where the stack has no group at all. */
export function emptyGroups(
  stackGroup: string,
  guests: ReadonlySet<number>,
  mounts = readFileSync('/proc/self/mounts', 'utf8'),
): string[] {
  const roots = hierarchies(mounts)
  const parents = roots.map((root) => join(root, stackGroup)).filter((path) => isThere(path))
  if (parents.length === 0) throw new Error('the stack has no control group')
  const groups = [
    ...parents.flatMap((parent) => foldersIn(parent).map((name) => join(parent, name))),
    // Slots stand beside services, not under one group, where the processor has a hierarchy of its own.
    ...roots.flatMap((root) =>
      foldersIn(root)
        .filter((name) => name.startsWith(`${stackGroup}.`))
        .map((name) => join(root, name)),
    ),
  ]
  return groups.filter((group) => !membersOf(group).some((pid) => guests.has(pid)))
}

/** Mount points: version 1 where each controller has one, version 2 otherwise, as for the keeper. */
function hierarchies(mounts: string): string[] {
  const rows = mounts.split('\n').map((line) => line.split(' '))
  const one = CONTROLLERS.flatMap(
    (name) =>
      rows.find(
        ([, , type, options]) => type === 'cgroup' && options?.split(',').includes(name),
      )?.[1] ?? [],
  )
  if (one.length === CONTROLLERS.length) return [...new Set(one)]
  return rows.flatMap(([, path = '', type]) => (type === 'cgroup2' ? [path] : [])).slice(0, 1)
}

function isThere(path: string): boolean {
  try {
    readdirSync(path)
    return true
  } catch {
    return false
  }
}

/** None where the folder went away meanwhile. */
function foldersIn(path: string): string[] {
  try {
    return readdirSync(path, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => name)
  } catch {
    return []
  }
}

function membersOf(group: string): number[] {
  try {
    return readFileSync(join(group, 'cgroup.procs'), 'utf8').split('\n').map(Number)
  } catch {
    return []
  }
}
