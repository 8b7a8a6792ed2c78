/** The filters, decoded and run by a small BPF interpreter: the verdict on each system call, without a kernel. */
import { describe, expect, test } from 'bun:test'
import {
  ALLOW,
  EAFNOSUPPORT,
  ENOSYS,
  EPERM,
  KILL_PROCESS,
  type SeccompProfile,
  stageOne,
  stageOneProfile,
  stageTwo,
} from './seccomp.ts'
import { type Architecture, syscallNames, syscallNumber } from './syscalls.ts'

const audit = { x64: 0xc000003e, arm64: 0xc00000b7 } as const

/** Classic BPF as the kernel runs it on struct seccomp_data; throws on a program that the kernel would refuse. */
function verdict(program: Uint8Array, call: { arch: number; number: number; arg0?: number }) {
  const view = new DataView(program.buffer, program.byteOffset, program.length)
  const data: Record<number, number> = { 0: call.number, 4: call.arch, 16: call.arg0 ?? 0 }
  let accumulator = 0
  for (let at = 0; at * 8 < program.length; at++) {
    const code = view.getUint16(at * 8, true)
    const constant = view.getUint32(at * 8 + 4, true)
    const jump = (taken: boolean) => {
      at += view.getUint8(at * 8 + (taken ? 2 : 3))
    }
    if (code === 0x20) accumulator = data[constant] ?? Number.NaN
    else if (code === 0x06) return constant
    else if (code === 0x15) jump(accumulator === constant)
    else if (code === 0x35) jump(accumulator >= constant)
    else if (code === 0x45) jump((accumulator & constant) >>> 0 !== 0)
    else throw new Error(`operation ${code} is not known`)
  }
  throw new Error('the program ran off its end')
}

/** The same verdicts by docker's profile: the first rule that fits, as libseccomp has it. */
function profileVerdict(profile: SeccompProfile, name: string, arg0: number): number {
  const fits = ({ value, valueTwo = 0, op }: { value: number; valueTwo?: number; op: string }) =>
    op === 'SCMP_CMP_EQ'
      ? arg0 === value
      : op === 'SCMP_CMP_NE'
        ? arg0 !== value
        : (arg0 & value) >>> 0 === valueTwo
  const rule = profile.syscalls.find(
    ({ names, args = [] }) => names.includes(name) && args.every(fits),
  )
  if (rule === undefined) return EPERM
  return rule.action === 'SCMP_ACT_ALLOW' ? ALLOW : (EPERM & 0xffff0000) | (rule.errnoRet ?? 1)
}

describe.each(['x64', 'arm64'] as const)('on %s', (architecture: Architecture) => {
  const one = (name: string, arg0 = 0) => {
    const number = syscallNumber(name, architecture)
    if (number === undefined) return EPERM
    return verdict(stageOne(architecture), { arch: audit[architecture], number, arg0 })
  }
  /** Both filters apply: the stricter verdict wins. */
  const two = (name: string, arg0 = 0) => {
    const number = syscallNumber(name, architecture)
    if (number === undefined || one(name, arg0) !== ALLOW) return EPERM
    return verdict(stageTwo(architecture), { arch: audit[architecture], number, arg0 })
  }

  test.each([
    'read',
    'write',
    'futex',
    'mmap',
    'openat',
    'sendto',
    'recvfrom',
    'exit_group',
    'ppoll',
  ])('both stages allow %s', (name) => {
    expect(one(name)).toBe(ALLOW)
    expect(two(name)).toBe(ALLOW)
  })

  test.each([
    'ptrace',
    'process_vm_readv',
    'pidfd_getfd',
    'io_uring_setup',
    'io_uring_enter',
    'bpf',
    'userfaultfd',
    'perf_event_open',
    'keyctl',
    'add_key',
    'mount',
    'pivot_root',
    'chroot',
    'unshare',
    'setns',
    'fsopen',
    'init_module',
    'kexec_load',
    'open_by_handle_at',
    'personality',
    'shmget',
    'semget',
    'msgget',
    'mq_open',
    'io_setup',
    'inotify_init1',
    'bind',
    'listen',
    'accept4',
    'memfd_create',
    'mkdirat',
    'unlinkat',
    'mknodat',
    'setuid',
    'setresuid',
    'capset',
    'fork',
    'vfork',
    'execveat',
    'socketpair',
    'sendmmsg',
    'vmsplice',
  ])('stage one already refuses %s', (name) => {
    expect(one(name)).toBe(EPERM)
  })

  test.each(['connect', 'execve', 'sendmsg', 'prlimit64'])('stage two takes %s away', (name) => {
    expect(one(name)).toBe(ALLOW)
    expect(two(name)).toBe(EPERM)
  })

  test('sockets are AF_UNIX only in stage one, and none in stage two', () => {
    expect(one('socket', 1)).toBe(ALLOW)
    for (const family of [0, 2, 10, 16, 17, 38, 40])
      expect(one('socket', family)).toBe(EAFNOSUPPORT)
    expect(two('socket', 1)).toBe(EPERM)
  })

  test('clone makes threads only, and clone3 does not exist', () => {
    const thread = 0x3d0f00
    expect(one('clone', thread)).toBe(ALLOW)
    expect(two('clone', thread)).toBe(ALLOW)
    expect(one('clone', 0x11)).toBe(EPERM)
    for (const namespace of [
      0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000,
    ]) {
      expect(one('clone', thread | namespace)).toBe(EPERM)
    }
    expect(one('clone3')).toBe(ENOSYS)
  })

  test('a call of another architecture ends the process', () => {
    for (const program of [stageOne(architecture), stageTwo(architecture)]) {
      expect(verdict(program, { arch: 0x40000003, number: 0 })).toBe(KILL_PROCESS)
    }
  })

  test('docker gets the same verdict on every call', () => {
    const profile = stageOneProfile(architecture)
    expect(profile.defaultAction).toBe('SCMP_ACT_ERRNO')
    const args = [0, 1, 2, 10, 16, 0x11, 0x10000, 0x3d0f00, 0x10010000, 0x3d0f00 | 0x20000]
    for (const name of syscallNames()) {
      for (const arg0 of args) {
        expect([name, arg0, profileVerdict(profile, name, arg0)]).toEqual([
          ...[name, arg0],
          one(name, arg0),
        ])
      }
    }
  })

  test('an unknown number is refused', () => {
    expect(verdict(stageOne(architecture), { arch: audit[architecture], number: 9_999 })).toBe(
      EPERM,
    )
  })
})

test('x32 calls, which share the architecture of x86_64, end the process', () => {
  for (const program of [stageOne('x64'), stageTwo('x64')]) {
    expect(verdict(program, { arch: audit.x64, number: 0x40000000 })).toBe(KILL_PROCESS)
  }
})

test('the programs fit the kernel (4096 instructions)', () => {
  for (const architecture of ['x64', 'arm64'] as const) {
    expect(stageOne(architecture).length / 8).toBeLessThan(4096)
    expect(stageOne(architecture).length % 8).toBe(0)
  }
})
