import { expect, test } from 'bun:test'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isLocked, tryLock } from './lock.ts'
import { pathsOf } from './paths.ts'
import { claimUserIds, testUserIds, userIds } from './user-ids.ts'

test('two data directories never share a user, and one keeps its own', () => {
  const a = mkdtempSync(join(tmpdir(), 'bmm-claim-'))
  const b = mkdtempSync(join(tmpdir(), 'bmm-claim-'))
  try {
    const first = claimUserIds(a)
    const second = claimUserIds(b)
    expect(second.first).not.toBe(first.first)
    expect(first.includes(second.of('runner'))).toBe(false)
    expect(claimUserIds(a).first).toBe(first.first)
  } finally {
    rmSync(a, { recursive: true })
    rmSync(b, { recursive: true })
  }
})

test('the claim of a data directory that is gone is dropped with its state', () => {
  const gone = mkdtempSync(join(tmpdir(), 'bmm-claim-'))
  const { first } = claimUserIds(gone)
  const { state } = pathsOf(gone)
  mkdirSync(state, { recursive: true })
  rmSync(gone, { recursive: true })
  const other = mkdtempSync(join(tmpdir(), 'bmm-claim-'))
  try {
    expect(claimUserIds(other).first).toBeLessThanOrEqual(first)
    expect(() => rmSync(state)).toThrow('ENOENT')
  } finally {
    rmSync(other, { recursive: true })
  }
})

test('every process has a user of its own below the slots', () => {
  const users = userIds(2_000_000)
  const all = (
    ['auth', 'secrets', 'generator', 'runner', 'broker', 'gateway', 'redis', 'postgres'] as const
  ).map(users.of)
  expect(new Set([...all, users.group]).size).toBe(9)
  expect(Math.max(...all)).toBeLessThan(users.slots)
  expect(users.includes(testUserIds.first)).toBe(false)
})

test('a lock is held by one at a time and ends with its holder', () => {
  const folder = mkdtempSync(join(tmpdir(), 'bmm-lock-'))
  const path = join(folder, 'lock')
  const lock = tryLock(path)
  expect(lock).toBeDefined()
  expect([tryLock(path), isLocked(path)]).toEqual([undefined, true])
  lock?.[Symbol.dispose]()
  expect(isLocked(path)).toBe(false)
  rmSync(folder, { recursive: true })
})
