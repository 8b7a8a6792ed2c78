/** The two seccomp filters of a sandbox: what a driver sets before the guest starts (as BPF for bwrap, as docker's profile), and what the guest gives up itself. */
import { type Architecture, syscallNumber } from './syscalls.ts'

/** seccomp(2) actions. */
export const ALLOW = 0x7fff0000
export const KILL_PROCESS = 0x80000000
export const EPERM = 0x00050001
export const ENOSYS = 0x00050026
export const EAFNOSUPPORT = 0x00050061

const AF_UNIX = 1
const CLONE_THREAD = 0x10000
/** CLONE_NEW*: every namespace that clone could make. */
const CLONE_NAMESPACES = 0x7e020000
const X32_BIT = 0x40000000
const auditArchitectures = { x64: 0xc000003e, arm64: 0xc00000b7 } as const
const dockerArchitectures = { x64: 'SCMP_ARCH_X86_64', arm64: 'SCMP_ARCH_AARCH64' } as const

/** errno of the refusals that are not EPERM: the low half of the seccomp(2) action. */
const ERRNO_BITS = 0xffff

/** Offsets in struct seccomp_data: number, architecture, low half of the first argument (little endian). */
const NUMBER = 0
const ARCHITECTURE = 4
const ARGUMENT_0 = 16

/** BPF operation codes (linux/bpf_common.h). */
const LOAD = 0x20
const RETURN = 0x06
const JUMP_EQUAL = 0x15
const JUMP_AT_LEAST = 0x35
const JUMP_ANY_BIT = 0x45

/** [code, offset if true, offset if false, constant] */
type Instruction = readonly [number, number, number, number]

/**
 * What the guest may call in stage one: from docker's default list, without everything that a process with no writable
 * directory, no network and threads only does not need. The most frequent ones stand first.
 */
const stageOneNames = `
  read write futex epoll_wait epoll_pwait epoll_pwait2 sendto recvfrom clock_gettime madvise mmap munmap mprotect mremap
  readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 brk msync mincore membarrier
  epoll_create epoll_create1 epoll_ctl eventfd eventfd2 poll ppoll select pselect6 pipe pipe2
  timerfd_create timerfd_settime timerfd_gettime
  open openat openat2 close close_range stat fstat lstat newfstatat statx statfs fstatfs lseek
  access faccessat faccessat2 readlink readlinkat getdents getdents64 getcwd chdir fchdir
  dup dup2 dup3 fcntl ioctl flock fsync fdatasync ftruncate fadvise64 readahead sendfile splice umask
  connect sendmsg recvmsg shutdown getsockname getpeername getsockopt setsockopt
  set_robust_list get_robust_list rseq set_tid_address futex_waitv gettid getpid getppid tgkill tkill kill
  rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_tgsigqueueinfo rt_sigreturn rt_sigsuspend
  rt_sigtimedwait sigaltstack restart_syscall pause signalfd4
  exit exit_group execve wait4 waitid sched_yield sched_getaffinity sched_setaffinity sched_getparam sched_setparam
  sched_getscheduler sched_setscheduler sched_get_priority_max sched_get_priority_min getpriority setpriority
  prctl arch_prctl seccomp getrlimit prlimit64 getrusage times sysinfo uname getcpu getrandom capget
  getuid geteuid getgid getegid getresuid getresgid getgroups getpgid getpgrp getsid setsid setpgid
  clock_getres clock_nanosleep nanosleep gettimeofday time alarm getitimer setitimer
  timer_create timer_settime timer_gettime timer_getoverrun timer_delete`

/** What the guest gives up once both sockets are dialled: nothing new can be opened outwards or started. */
const stageTwoNames = `
  socket socketpair connect bind listen accept accept4 execve execveat fork vfork memfd_create memfd_secret ptrace
  process_vm_readv process_vm_writev pidfd_open pidfd_getfd io_uring_setup unshare setns sendmsg sendmmsg recvmmsg
  prlimit64 setsid setpgid sysinfo`

/** Stage one, for `bwrap --seccomp`: an allow list; sockets of AF_UNIX only, clone for threads only. */
export function stageOne(architecture: Architecture): Uint8Array {
  const program = preamble(architecture)
  program.push(...threadsOnly(architecture))
  program.push(
    [JUMP_EQUAL, 0, 4, numberOf('socket', architecture)],
    [LOAD, 0, 0, ARGUMENT_0],
    [JUMP_EQUAL, 1, 0, AF_UNIX],
    [RETURN, 0, 0, EAFNOSUPPORT],
    [RETURN, 0, 0, ALLOW],
  )
  const allowed = numbersOf(stageOneNames, architecture)
  // Each test jumps to the last instruction; the one before it refuses.
  allowed.forEach((number, index) => {
    program.push([JUMP_EQUAL, allowed.length - index, 0, number])
  })
  program.push([RETURN, 0, 0, EPERM], [RETURN, 0, 0, ALLOW])
  return assemble(program)
}

export type SeccompProfile = {
  defaultAction: 'SCMP_ACT_ERRNO'
  architectures: string[]
  syscalls: {
    names: string[]
    action: 'SCMP_ACT_ALLOW' | 'SCMP_ACT_ERRNO'
    errnoRet?: number
    args?: { index: number; value: number; valueTwo?: number; op: string }[]
  }[]
}

/** Stage one as a profile for docker's `seccomp=`; what no rule names is refused with EPERM. */
export function stageOneProfile(architecture: Architecture): SeccompProfile {
  const allowed = stageOneNames
    .trim()
    .split(/\s+/)
    .filter((name) => syscallNumber(name, architecture) !== undefined)
  // One comparison for both: docker reads two about the same argument as alternatives.
  const threadsOnly = {
    index: 0,
    value: CLONE_NAMESPACES + CLONE_THREAD,
    valueTwo: CLONE_THREAD,
    op: 'SCMP_CMP_MASKED_EQ',
  }
  const unix = { index: 0, value: AF_UNIX }
  return {
    defaultAction: 'SCMP_ACT_ERRNO',
    architectures: [dockerArchitectures[architecture]],
    syscalls: [
      { names: allowed, action: 'SCMP_ACT_ALLOW' },
      { names: ['clone'], action: 'SCMP_ACT_ALLOW', args: [threadsOnly] },
      { names: ['socket'], action: 'SCMP_ACT_ALLOW', args: [{ ...unix, op: 'SCMP_CMP_EQ' }] },
      {
        names: ['socket'],
        action: 'SCMP_ACT_ERRNO',
        errnoRet: EAFNOSUPPORT & ERRNO_BITS,
        args: [{ ...unix, op: 'SCMP_CMP_NE' }],
      },
      { names: ['clone3'], action: 'SCMP_ACT_ERRNO', errnoRet: ENOSYS & ERRNO_BITS },
    ],
  }
}

/** Stage two, set by the guest itself with TSYNC: a deny list on top of stage one. */
export function stageTwo(architecture: Architecture): Uint8Array {
  const program = preamble(architecture)
  program.push(...threadsOnly(architecture))
  const denied = numbersOf(stageTwoNames, architecture)
  denied.forEach((number, index) => {
    program.push([JUMP_EQUAL, denied.length - index, 0, number])
  })
  program.push([RETURN, 0, 0, ALLOW], [RETURN, 0, 0, EPERM])
  return assemble(program)
}

/** The numbers that a probe of stage two calls: seccomp and socket. */
export function sealNumbers(architecture: Architecture): { seccomp: number; socket: number } {
  return {
    seccomp: numberOf('seccomp', architecture),
    socket: numberOf('socket', architecture),
  }
}

/** The architecture of this process; throws a sentence on one without a table. */
export function currentArchitecture(arch: string = process.arch): Architecture {
  if (arch === 'x64' || arch === 'arm64') return arch
  throw new Error(`Sandboxes run on x64 and arm64 only; this machine is ${arch}.`)
}

/**
 * A foreign architecture's numbers mean other calls, so they end the process; so do those of x32, for which docker's own filter
 * would end one thread only. Leaves the number loaded.
 */
function preamble(architecture: Architecture): Instruction[] {
  const program: Instruction[] = [
    [LOAD, 0, 0, ARCHITECTURE],
    [JUMP_EQUAL, 1, 0, auditArchitectures[architecture]],
    [RETURN, 0, 0, KILL_PROCESS],
    [LOAD, 0, 0, NUMBER],
  ]
  if (architecture === 'x64') {
    program.push([JUMP_AT_LEAST, 0, 1, X32_BIT], [RETURN, 0, 0, KILL_PROCESS])
  }
  return program
}

/** BPF cannot follow clone3's pointer: ENOSYS makes libc fall back to clone, whose flags are visible. */
function threadsOnly(architecture: Architecture): Instruction[] {
  return [
    [JUMP_EQUAL, 0, 1, numberOf('clone3', architecture)],
    [RETURN, 0, 0, ENOSYS],
    [JUMP_EQUAL, 0, 5, numberOf('clone', architecture)],
    [LOAD, 0, 0, ARGUMENT_0],
    [JUMP_ANY_BIT, 2, 0, CLONE_NAMESPACES],
    [JUMP_ANY_BIT, 0, 1, CLONE_THREAD],
    [RETURN, 0, 0, ALLOW],
    [RETURN, 0, 0, EPERM],
  ]
}

function numberOf(name: string, architecture: Architecture): number {
  const number = syscallNumber(name, architecture)
  if (number === undefined) throw new Error(`${architecture} has no system call ${name}`)
  return number
}

function numbersOf(names: string, architecture: Architecture): number[] {
  return names
    .trim()
    .split(/\s+/)
    .map((name) => syscallNumber(name, architecture))
    .filter((number) => number !== undefined)
}

/** struct sock_filter: u16 code, u8 jt, u8 jf, u32 k, little endian on both architectures. */
function assemble(program: readonly Instruction[]): Uint8Array {
  const bytes = new Uint8Array(program.length * 8)
  const view = new DataView(bytes.buffer)
  program.forEach(([code, ifTrue, ifFalse, constant], index) => {
    if (ifTrue > 255 || ifFalse > 255) throw new Error('a BPF jump is longer than 255 instructions')
    view.setUint16(index * 8, code, true)
    view.setUint8(index * 8 + 2, ifTrue)
    view.setUint8(index * 8 + 3, ifFalse)
    view.setUint32(index * 8 + 4, constant, true)
  })
  return bytes
}
