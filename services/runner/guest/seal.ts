/** The guest gives up its own rights: stage two of seccomp, set on all threads through libc, then proved. */
import { dlopen, ptr } from 'bun:ffi'
import { closeSync, fstatSync, openSync } from 'node:fs'
import { currentArchitecture, sealNumbers, stageTwo } from '../sandbox/seccomp.ts'

const SECCOMP_SET_MODE_FILTER = 1n
const SECCOMP_FILTER_FLAG_TSYNC = 1n
const AF_UNIX = 1n
const SOCK_STREAM = 1n

const OUTPUTS = [1, 2]

/**
 * A container's output is a pipe that the engine empties outside of the sandbox's limits: a tool that writes all the
 * time would have a core of the host at work. Throws when such a pipe stays.
 */
export function muteOutputs(): void {
  const isPipe = (descriptor: number) => fstatSync(descriptor).isFIFO()
  const pipes = OUTPUTS.filter(isPipe)
  if (pipes.length === 0) return
  const { dup2 } = dlopen('libc.so.6', { dup2: { args: ['i32', 'i32'], returns: 'i32' } }).symbols
  const nothing = openSync('/dev/null', 'r+')
  for (const pipe of pipes) dup2(nothing, pipe)
  closeSync(nothing)
  if (pipes.some(isPipe)) throw new Error('the outputs cannot be closed')
}

/** Throws when the filter cannot be set or does not hold; the guest must not go on then. */
export function seal(): void {
  const architecture = currentArchitecture()
  const numbers = sealNumbers(architecture)
  const { syscall } = dlopen('libc.so.6', {
    syscall: { args: ['i64', 'i64', 'i64', 'ptr'], returns: 'i64' },
  }).symbols
  const filter = stageTwo(architecture)
  // struct sock_fprog: u16 length in instructions, padding, pointer.
  const program = new Uint8Array(16)
  const view = new DataView(program.buffer)
  view.setUint16(0, filter.length / 8, true)
  view.setBigUint64(8, BigInt(ptr(filter)), true)
  const set = syscall(
    BigInt(numbers.seccomp),
    SECCOMP_SET_MODE_FILTER,
    SECCOMP_FILTER_FLAG_TSYNC,
    ptr(program),
  )
  if (Number(set) !== 0) throw new Error('the second filter was not accepted for all threads')
  const socket = syscall(BigInt(numbers.socket), AF_UNIX, SOCK_STREAM, null)
  if (Number(socket) !== -1) throw new Error('the second filter does not hold')
}
