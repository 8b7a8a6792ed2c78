/** Attempts by raw system calls, as native code has them: `bun:ffi` works in every sandbox. */
import { currentArchitecture } from '@bmm/runner/sandbox/seccomp.ts'
import { syscallNumber } from '@bmm/runner/sandbox/syscalls.ts'
import type { Attempt, Group } from './attempt.ts'

const EPERM = -1
const ENOSYS = -38
const NEW_USER = 0x10000000
const THREAD = 0x10000
const SIGCHLD = 0x11

/** [what its author wants, name, arguments] */
const refused: readonly [string, string, ...number[]][] = [
  ['open a socket of this machine', 'socket', 1, 1],
  ['open a socket to the internet', 'socket', 2, 1],
  ['open a socket to the internet by IPv6', 'socket', 10, 1],
  ['talk to the kernel by netlink', 'socket', 16, 3, 0],
  ['read raw packets', 'socket', 17, 3],
  ['use the crypto of the kernel', 'socket', 38, 5],
  ['talk to the hypervisor', 'socket', 40, 1],
  ['open an XDP socket', 'socket', 44, 3],
  ['make a pair of sockets', 'socketpair', 1, 1],
  ['listen', 'listen', 3, 1],
  ['bind a name', 'bind', 3, 0, 0],
  ['accept a connection', 'accept4', 3, 0, 0, 0],
  ['connect again', 'connect', 3, 0, 0],
  ['hand over a descriptor after the seal', 'sendmsg', 3, 0, 0],
  ['hand over many descriptors', 'sendmmsg', 3, 0, 1, 0],
  ['receive many messages', 'recvmmsg', 3, 0, 1, 0, 0],
  ['submit operations that no filter sees', 'io_uring_setup', 8, 0],
  ['enter a ring', 'io_uring_enter', 3, 1, 0, 0],
  ['submit operations by the older way', 'io_setup', 8, 0],
  ['stop the kernel inside a copy', 'userfaultfd', 0],
  ['load a program into the kernel', 'bpf', 0, 0, 0],
  ['count what others do', 'perf_event_open', 0, 0, -1, -1, 0],
  ['read the keyring', 'keyctl', 0, -3, 0],
  ['put a key into the keyring', 'add_key', 0, 0, 0, 0, -3],
  ['ask for a key', 'request_key', 0, 0, 0, 0],
  ['have a user namespace in which it is root', 'unshare', NEW_USER],
  ['enter the namespace of another', 'setns', 3, 0],
  ['mount', 'mount', 0, 0, 0, 0, 0],
  ['unmount what hides something', 'umount2', 0, 2],
  ['mount by the newer way', 'fsopen', 0, 0],
  ['move a mount', 'move_mount', -1, 0, -1, 0, 0],
  ['copy a mount', 'open_tree', -1, 0, 1],
  ['have another root', 'pivot_root', 0, 0],
  ['have another root by the older way', 'chroot', 0],
  ['trace a process', 'ptrace', 16, 1, 0, 0],
  ['read the memory of a process', 'process_vm_readv', 1, 0, 0, 0, 0, 0],
  ['write the memory of a process', 'process_vm_writev', 1, 0, 0, 0, 0, 0],
  ['advise the memory of a process', 'process_madvise', 3, 0, 0, 0, 0],
  ['hold a process', 'pidfd_open', 1, 0],
  ['take a descriptor of a process', 'pidfd_getfd', 3, 0, 0],
  ['boot another kernel', 'kexec_load', 0, 0, 0, 0],
  ['boot another kernel by a file', 'kexec_file_load', 0, 0, 0, 0, 0],
  ['load a module', 'init_module', 0, 0, 0],
  ['load a module by a file', 'finit_module', 0, 0, 0],
  ['unload a module', 'delete_module', 0, 0],
  ['reboot the machine', 'reboot', 0xfee1dead, 672274793, 0x1234567, 0],
  ['swap to a file', 'swapon', 0, 0],
  ['have all processes recorded', 'acct', 0],
  ['set the clock', 'clock_settime', 0, 0],
  ['set the time of day', 'settimeofday', 0, 0],
  ['rename the machine', 'sethostname', 0, 0],
  ['reach the ports of the hardware', 'iopl', 3],
  ['read the log of the kernel', 'syslog', 3, 0, 0],
  ['start a process', 'clone', SIGCHLD, 0, 0, 0, 0],
  ['start a thread in a namespace of its own', 'clone', NEW_USER | THREAD, 0, 0, 0, 0],
  ['fork', 'fork'],
  ['fork by the older way', 'vfork'],
  ['run a program', 'execve', 0, 0, 0],
  ['run a program by its descriptor', 'execveat', 3, 0, 0, 0, 0x1000],
  ['make a file of memory that could be run', 'memfd_create', 0, 0],
  ['make memory that nobody can look at', 'memfd_secret', 0],
  ['be another kind of Linux', 'personality', 0x0040000],
  ['change its segment table', 'modify_ldt', 1, 0, 0],
  ['raise its limits', 'prlimit64', 0, 7, 0, 0],
  ['be root', 'setuid', 0],
  ['be root in all ways', 'setresuid', 0, 0, 0],
  ['be in the group of root', 'setresgid', 0, 0, 0],
  ['be in more groups', 'setgroups', 0, 0],
  ['have capabilities', 'capset', 0, 0],
  ['leave its session', 'setsid'],
  ['leave its process group', 'setpgid', 0, 0],
  ['open a file of the host by its handle', 'open_by_handle_at', 3, 0, 0],
  ['learn the handle of a file', 'name_to_handle_at', -100, 0, 0, 0, 0],
  ['make a device', 'mknodat', -100, 0, 0o20666, 0x0101],
  ['change a quota', 'quotactl', 0, 0, 0, 0],
  ['share memory', 'shmget', 0, 4096, 0o1600],
  ['share semaphores', 'semget', 0, 1, 0o1600],
  ['share a queue', 'msgget', 0, 0o1600],
  ['make a message queue', 'mq_open', 0, 0o102, 0o600, 0],
  ['take all watches of the user', 'inotify_init1', 0],
  ['watch a whole file system', 'fanotify_init', 0, 0],
  ['lock memory', 'mlockall', 3],
  ['give pages of its own to a pipe', 'vmsplice', 3, 0, 0, 0],
]

const architecture = currentArchitecture()

/** Calls that this architecture lacks need no refusal. */
const byTable = refused.flatMap(([intent, name, ...args]): Attempt[] => {
  const number = syscallNumber(name, architecture)
  if (number === undefined) return []
  const code = `return call(${[number, ...args].join(', ')})`
  return [{ intent: `${intent} (${name})`, code, seen: { answer: EPERM } }]
})

const clone3 = syscallNumber('clone3', architecture)
const getpid = syscallNumber('getpid', architecture)
const kill = syscallNumber('kill', architecture)
const tgkill = syscallNumber('tgkill', architecture)
const schedule = syscallNumber('sched_setscheduler', architecture)

const byHand: readonly Attempt[] = [
  {
    intent: 'do what is allowed, which shows that calls are made at all (getpid)',
    code: `return call(${getpid}) > 0`,
    seen: { answer: true },
  },
  {
    intent: 'start a process by the call whose flags no filter can read (clone3)',
    code: `return call(${clone3}, 0, 0)`,
    seen: { answer: ENOSYS },
  },
  {
    intent: 'signal every process there is',
    code: `return [...[4242, 31337].map((pid) => call(${kill}, pid, 9)), call(${kill}, -2, 9), call(${tgkill}, 4242, 4242, 9)].map((value) => [value < 0 ? 'refused' : 'done', value])`,
    seen: { refused: true },
  },
  {
    intent: 'run before everybody else',
    code: `const priority = new Int32Array([99])
      return [call(${schedule}, 0, 1, ptr(priority)) < 0, (await attempt(() => (require('node:os')).setPriority(-20)))[0]]`,
    seen: { answer: [true, 'refused'] },
  },
  {
    intent: 'start programs by the ways that Bun and Node have',
    code: `const child = await import('node:child_process')
      const { Worker: NodeWorker } = await import('node:worker_threads')
      return tried(() => Bun.spawnSync(['/bin/bun', '--version']).exitCode, () => child.execSync('/bin/bun --version'), () => child.spawnSync('/bin/bun').pid || Promise.reject(new Error('no process')),
        () => Bun.$\`/bin/bun --version\`.quiet(), () => process.dlopen({ exports: {} }, '/bin/bun'), () => process.setuid(0), () => process.chdir('/root'))`,
    seen: { refused: true },
  },
]

const foreign: readonly Attempt[] = [
  {
    intent: 'make calls of another architecture by machine code of its own',
    code: `const page = call(${syscallNumber('mmap', architecture)}, 0, 4096, 7, 0x22, -1, 0)
      // mov eax, 20 (getpid of i386); int 0x80; ret
      new Uint8Array(toArrayBuffer(page, 0, 16)).set([0xb8, 20, 0, 0, 0, 0xcd, 0x80, 0xc3])
      return new CFunction({ ptr: page, args: [], returns: 'i32' })()`,
    seen: { ends: ['exited', 'protocol'] },
    alone: true,
  },
  {
    intent: 'make calls of x32, which share an architecture with the others',
    code: `const seen = [39, 41, 59].map((number) => call(0x40000000 + number, 0, 0, 0))
      return seen`,
    seen: { ends: ['exited', 'protocol'] },
    alone: true,
  },
]

export const systemCalls: Group = {
  name: 'system calls',
  attempts: [...byHand, ...byTable, ...(architecture === 'x64' ? foreign : [])],
}
