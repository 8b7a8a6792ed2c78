/** The audit of control groups, on folders that look like them: a group left in any one hierarchy is told. */
import { afterEach, expect, test } from 'bun:test'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { emptyGroups } from './control-groups.ts'

const roots: string[] = []
afterEach(() => {
  for (const root of roots.splice(0)) rmSync(root, { recursive: true })
})

function rootWith(groups: Record<string, string>): string {
  const root = mkdtempSync(join(tmpdir(), 'control-groups-'))
  roots.push(root)
  for (const [group, members] of Object.entries(groups)) {
    mkdirSync(join(root, group), { recursive: true })
    writeFileSync(join(root, group, 'cgroup.procs'), members)
  }
  return root
}

const guests = new Set([41, 42])

test.each(['memory', 'pids', 'cpu'])('version 1: one that is left for %s alone', (left) => {
  const root = rootWith({
    'memory/bmm-a/3': '41\n',
    'pids/bmm-a/3': '41\n',
    'cpu/bmm-a.3': '41\n42\n',
    'cpu/bmm-ab.9': '',
    'cpu/user.slice': '',
    'unified/bmm-a/9': '',
    [left === 'cpu' ? 'cpu/bmm-a.4' : `${left}/bmm-a/4`]: '',
  })
  const mounts = ['memory', 'pids', 'cpu']
    .map((name) => `none ${join(root, name)} cgroup rw,${name} 0 0`)
    .concat(`none ${join(root, 'unified')} cgroup2 rw 0 0`)
  const found = emptyGroups('bmm-a', guests, mounts.join('\n'))
  expect(found).toEqual([join(root, left, left === 'cpu' ? 'bmm-a.4' : 'bmm-a/4')])
})

test('version 1 with one hierarchy for several controllers tells each group once', () => {
  const root = rootWith({ 'bmm-a/3': '41\n', 'bmm-a/4': '7\n' })
  const mounts = `none ${root} cgroup rw,cpu,cpuacct,memory,pids 0 0\n`
  expect(emptyGroups('bmm-a', guests, mounts)).toEqual([join(root, 'bmm-a/4')])
})

test('version 2: one in which no guest is', () => {
  const root = rootWith({ 'bmm-a/3': '41\n', 'bmm-a/4': '', 'bmm-b/5': '' })
  const found = emptyGroups('bmm-a', guests, `none ${root} cgroup2 rw 0 0\n`)
  expect(found).toEqual([join(root, 'bmm-a/4')])
  expect(() => emptyGroups('bmm-c', guests, `none ${root} cgroup2 rw 0 0\n`)).toThrow(
    'no control group',
  )
})
