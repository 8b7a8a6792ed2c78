/** What an attempt of a hostile tool is: its intent, its code, and what must be seen. */
import type { DriverName } from '@bmm/runner/keeper/driver.ts'
import type { TestSandboxOptions, TestStack } from '@bmm/runner/keeper/testing.ts'
import type { Sandbox, SandboxEndCode } from '@bmm/runner/sandbox/sandbox.ts'

export type Attempt = {
  /** What its author wants. */
  intent: string
  /** Body of an async function with `input`, `ctx` and all that `prelude` defines. */
  code: string
  seen: Seen
  /** Needs a sandbox of its own, because it changes or ends the one it runs in. */
  alone?: true
  timeoutMs?: number
  /** The call is cancelled after so long. */
  cancelAfterMs?: number
  options?: TestSandboxOptions
  /** Looks from outside while the attempt runs; throws when something is wrong. */
  watch?: (scene: Scene) => Promise<void>
}

/** What must be seen. */
export type Seen =
  /** `tried` answered, and each thing that was tried failed. */
  | { refused: true }
  | { answer: unknown }
  | { answerBy: (driver: DriverName) => unknown }
  /** The tool's own error, which its caller reads. */
  | { error: RegExp }
  /** The call fails and the sandbox goes on: its next call is answered. */
  | { fails: string }
  /** The sandbox is ended, for one of these reasons. */
  | { ends: readonly SandboxEndCode[]; detail?: RegExp; message?: string }

/** What stands around an attempt. */
export type Scene = { driver: DriverName; stack: TestStack; sandbox: Sandbox }

export type Group = { name: string; attempts: readonly Attempt[] }

/** What every attempt has at hand: raw system calls, its descriptors, frames. */
export const prelude = `
const { dlopen, ptr, read, CFunction, toArrayBuffer } = await import('bun:ffi')
const fs = await import('node:fs')
const words = ['i64', 'i64', 'i64', 'i64', 'i64', 'i64', 'i64']
const libc = dlopen('libc.so.6', {
  syscall: { args: words, returns: 'i64' }, __errno_location: { args: [], returns: 'ptr' },
}).symbols
// As the kernel answers: a value, or the error's number below zero.
const call = (...given) => {
  const value = Number(libc.syscall(...words.map((_, at) => BigInt(given[at] ?? 0))))
  return value === -1 ? -read.i32(libc.__errno_location(), 0) : value
}
const attempt = async (what) => {
  try { return ['done', await what()] } catch (error) { return ['refused', String(error?.code ?? error?.message ?? error)] }
}
const tried = (...all) => Promise.all(all.map(attempt))
const list = (path) => { try { return fs.readdirSync(path).sort() } catch { return 'refused' } }
const sockets = () => list('/proc/self/fd').map(Number).sort((a, b) => a - b).filter((fd) => {
  try { return fs.readlinkSync('/proc/self/fd/' + fd).startsWith('socket:') } catch { return false }
})
// The guest dials the broker first and the runner last.
const runnerSocket = () => sockets().at(-1)
const frame = (type, id, payload = '') => {
  const bytes = Buffer.from(payload)
  const head = Buffer.alloc(9)
  head.writeUInt32BE(bytes.length + 5)
  head.writeUInt8(type, 4)
  head.writeUInt32BE(id, 5)
  return Buffer.concat([head, bytes])
}
const toRunner = (...parts) => { for (const part of parts) fs.writeSync(runnerSocket(), part) }
const forever = () => new Promise(() => {})
`
