/** Control groups on folders that look like them; what the kernel makes of them is tried in keeper.test.ts. */
import { expect, test } from 'bun:test'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openCgroups } from './cgroups.ts'

test('limits are not done without: no control groups, no sandboxes', () => {
  expect(() => openCgroups('bmm-none', 'proc /proc proc rw 0 0\n')).toThrow(
    'no control groups for memory, pids and cpu',
  )
  const v2WithoutControllers = mkdtempSync(join(tmpdir(), 'cgroup-'))
  expect(() => openCgroups('bmm-none', `none ${v2WithoutControllers} cgroup2 rw 0 0\n`)).toThrow(
    'lack memory, pids, cpu',
  )
  rmSync(v2WithoutControllers, { recursive: true })
})

test('a read-only folder of control groups is told as what it is', async () => {
  const root = mkdtempSync(join(tmpdir(), 'cgroup2-'))
  await Bun.write(join(root, 'cgroup.controllers'), 'cpu memory pids\n')
  const source = join(import.meta.dirname, 'cgroups.ts')
  const open = `const { openCgroups } = await import('${source}')
    try { openCgroups('bmm-none', 'none ${root} cgroup2 rw 0 0\\n') } catch (error) { process.stdout.write(error.message) }`
  const readOnly = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && exec "$2" -e "$3"'
  const child = Bun.spawnSync([
    ...['unshare', '--mount', '--propagation', 'private'],
    ...['sh', '-c', readOnly, 'sh', root, process.execPath, open],
  ])
  expect(child.stdout.toString()).toBe(
    'Control groups cannot be made here (EROFS): their folder is read-only, as in a container without privileges or a systemd service with ProtectControlGroups=yes.',
  )
  rmSync(root, { recursive: true })
})

test('control groups of version 2 get the same limits (on a folder that looks like one)', async () => {
  const root = mkdtempSync(join(tmpdir(), 'cgroup2-'))
  await Bun.write(join(root, 'cgroup.controllers'), 'cpuset cpu io memory pids\n')
  const groups = openCgroups('bmm-v2', `none ${root} cgroup2 rw,nosuid 0 0\n`)
  expect(groups.version).toBe(2)
  const limits = {
    memoryBytes: 134_217_728,
    processes: 100,
    cpuQuotaUs: 50_000,
    cpuPeriodUs: 100_000,
  }
  groups.create(7, limits)
  const read = (file: string) => readFileSync(join(root, 'bmm-v2.7', file), 'utf8')
  expect(read('memory.max')).toBe('134217728')
  expect(read('pids.max')).toBe('100')
  expect(read('cpu.max')).toBe('50000 100000')
  expect(read('cpu.weight')).toBe('11')
  expect(readFileSync(join(root, 'cgroup.subtree_control'), 'utf8')).toBe('+memory +pids +cpu')
  // So nobody can disable them above.
  expect(readFileSync(join(root, 'bmm-v2/cgroup.subtree_control'), 'utf8')).toBe(
    '+memory +pids +cpu',
  )
  expect(groups.joinFiles(7)).toEqual([join(root, 'bmm-v2.7/cgroup.procs')])
  groups.limitCpu(7, 20_000)
  expect(read('cpu.max')).toBe('20000')
  // A kernel that does not know it has no such file, and gets none.
  groups.stand(7, true)
  expect(existsSync(join(root, 'bmm-v2.7/cpu.idle'))).toBe(false)
  await Bun.write(join(root, 'bmm-v2.7/cpu.idle'), '0')
  groups.stand(7, true)
  expect(read('cpu.idle')).toBe('1')
  // The kernel gives it the default afterwards.
  await Bun.write(join(root, 'bmm-v2.7/cpu.weight'), '100')
  groups.stand(7, false)
  expect([read('cpu.idle'), read('cpu.weight')]).toEqual(['0', '11'])
  await Bun.write(join(root, 'bmm-v2.7/cpu.stat'), 'usage_usec 1500000\nuser_usec 1\n')
  expect([groups.usedMs(7), groups.usedMs(8)]).toEqual([1_500, undefined])
  await Bun.write(join(root, 'bmm-v2.7/memory.events'), 'low 0\noom 2\noom_kill 1\n')
  expect(groups.oomKills(7)).toBe(1)
  rmSync(root, { recursive: true })
})

test('only the groups of slots of this stack are swept (version 1, on folders that look like it)', async () => {
  const root = mkdtempSync(join(tmpdir(), 'cgroup1-'))
  const mounts = ['memory', 'pids', 'cpu'].map((name) => {
    mkdirSync(join(root, name))
    return `none ${join(root, name)} cgroup rw,${name} 0 0\n`
  })
  const groups = openCgroups('bmm-a', mounts.join(''))
  const others = ['bmm-a-1.3', 'bmm-a.3.scope', 'bmm-a.service', 'bmm-ab.3']
  for (const name of ['bmm-a.3', ...others]) mkdirSync(join(root, 'cpu', name))
  for (const name of ['bmm-a/3', 'bmm-a/4', 'bmm-a/other']) mkdirSync(join(root, 'memory', name))
  expect(await groups.sweep()).toBe(2)
  expect(readdirSync(join(root, 'cpu')).toSorted()).toEqual(others)
  expect(readdirSync(join(root, 'memory/bmm-a'))).toEqual(['other'])
  rmSync(root, { recursive: true })
})
