/** Kernel locks on files (flock): they end with their process, however it dies. */
import { dlopen } from 'bun:ffi'
import { closeSync, openSync } from 'node:fs'

const LOCK_EXCLUSIVE = 2
const LOCK_NON_BLOCKING = 4
const libc = dlopen('libc.so.6', { flock: { args: ['i32', 'i32'], returns: 'i32' } })

export type Lock = Disposable

/** The lock, or undefined while another process holds it. The file stays behind on purpose. */
export function tryLock(path: string): Lock | undefined {
  return lockWith(path, LOCK_EXCLUSIVE | LOCK_NON_BLOCKING)
}

/** Waits for the lock; for short critical sections only, since it blocks the whole process. */
export function waitForLock(path: string): Lock {
  const lock = lockWith(path, LOCK_EXCLUSIVE)
  if (lock === undefined) throw new Error(`cannot lock ${path}`)
  return lock
}

/** Whether a process holds the lock now. */
export function isLocked(path: string): boolean {
  const lock = tryLock(path)
  lock?.[Symbol.dispose]()
  return lock === undefined
}

function lockWith(path: string, operation: number): Lock | undefined {
  const descriptor = openSync(path, 'a', 0o600)
  if (libc.symbols.flock(descriptor, operation) !== 0) {
    closeSync(descriptor)
    return undefined
  }
  return {
    [Symbol.dispose]() {
      closeSync(descriptor)
    },
  }
}
