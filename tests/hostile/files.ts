/** Attempts on files: of the host, of other sandboxes, of the image, and what devices and /proc give away. */
import { existsSync } from 'node:fs'
import type { Attempt, Group } from './attempt.ts'

const hostFiles = [
  ...['/etc/passwd', '/etc/shadow', '/root/.ssh', '/var/lib/bmm', '/home', '/boot', '/etc/bmm'],
  ...['/run/docker.sock', '/var/run/docker.sock', '/run/containerd/containerd.sock'],
]
const writable = [
  ...['/', '/app', '/bin', '/lib', '/tmp', '/dev', '/dev/shm', '/dev/mqueue', '/dev/pts', '/run'],
  ...['/run/bmm/c', '/run/bmm/e', '/proc', '/proc/self', '/sys', '/var/tmp', '/etc'],
]
const kernelFiles = [
  ...['/proc/sys/kernel/core_pattern', '/proc/sys/kernel/hostname', '/proc/sys/vm/drop_caches'],
  ...['/proc/sysrq-trigger', '/proc/sys/kernel/modprobe', '/sys/kernel/uevent_helper'],
]
const devices = [
  '/dev/mem',
  '/dev/kmem',
  '/dev/port',
  '/dev/kmsg',
  '/dev/vda',
  '/dev/sda',
  '/dev/fuse',
]

const seeing: readonly Attempt[] = [
  {
    intent: 'see more than the image',
    code: `return { root: list('/'), bin: list('/bin'), app: list('/app'), run: list('/run/bmm'),
      calls: list('/run/bmm/c'), sys: [list('/sys')].flat().filter((name) => name !== 'refused') }`,
    seen: {
      answerBy: (driver) => ({
        // The engine makes three more: empty files, and what masks /sys.
        root: [
          ...['app', 'bin', 'dev', 'lib', 'lib64', 'proc', 'run'],
          ...(driver === 'docker' ? ['.dockerenv', 'etc', 'sys'] : []),
        ].toSorted(),
        ...{
          bin: ['bun'],
          app: ['guest.js', 'rehearsal.js'],
          run: ['c', 'e'],
          calls: 'refused',
          sys: [],
        },
      }),
    },
  },
  {
    intent: 'read files of the host',
    code: `return tried(...${JSON.stringify(hostFiles)}.map((path) => () => fs.statSync(path)))`,
    seen: { refused: true },
  },
  {
    intent: 'reach the host through the root or the directory of a process',
    code: `return tried(...['/proc/1/root/etc/passwd', '/proc/1/cwd/../etc/passwd', '/proc/self/root/../../etc/shadow',
      '/proc/self/cwd/../../../etc/shadow', '/proc/thread-self/root/root'].map((path) => () => fs.statSync(path)))`,
    seen: { refused: true },
  },
  {
    intent: 'find a descriptor of the host that was left open',
    code: `return list('/proc/self/fd').map((fd) => { try { return fs.readlinkSync('/proc/self/fd/' + fd) } catch { return '' } })
      .filter((link) => link !== '' && !/^(socket|pipe|anon_inode):|^\\/dev\\/|^\\/proc\\/|^\\/app|^\\/$|stderr$/.test(link))`,
    seen: { answer: [] },
  },
  {
    intent: 'climb out of a directory descriptor',
    code: `const fd = fs.openSync('/run/bmm', 'r')
      const same = (path) => JSON.stringify(list(path)) === JSON.stringify(list('/'))
      return ['/../..', '/../../..', '/../../../../../..'].map((up) => same('/proc/self/fd/' + fd + up))`,
    seen: { answer: [true, true, true] },
  },
  {
    intent: 'list the slots of others',
    code: `return tried(...['/run/bmm/c/..//../../..', '/run/bmm/c/../../0', '/run/bmm/c', '/run/bmm/e', '/run/bmm-test', '/run/user']
      .map((path) => () => { const names = fs.readdirSync(path); if (names.includes('guest.js') || names.includes('bin')) throw new Error('own root'); return names }))`,
    seen: { refused: true },
  },
  {
    intent: 'see other processes',
    code: `return list('/proc').filter((name) => /^\\d+$/.test(name))`,
    seen: { answer: ['1'] },
  },
  {
    intent: 'find a process that kept more rights',
    code: `const status = fs.readFileSync('/proc/1/status', 'utf8')
      return ['CapEff', 'CapPrm', 'CapBnd', 'CapAmb', 'NoNewPrivs', 'Seccomp', 'Seccomp_filters'].map((name) => parseInt(status.match(new RegExp('^' + name + ':\\\\s+(\\\\w+)', 'm'))[1], 16))`,
    seen: { answer: [0, 0, 0, 0, 1, 2, 2] },
  },
  {
    intent: 'read secrets from the environment of any process',
    code: `return list('/proc').filter((name) => /^\\d+$/.test(name)).flatMap((pid) => fs.readFileSync('/proc/' + pid + '/environ', 'latin1').split('\\0'))
      .concat(Object.keys(process.env).map((name) => name + '=')).filter((pair) => pair !== '' && !/^(PWD|HOME)=/.test(pair))`,
    seen: { answer: [] },
  },
  {
    intent: 'read the one-time tokens again',
    code: `return (await tried(() => fs.readFileSync('/run/bmm/c/token'), () => fs.readFileSync('/run/bmm/e/token'))).map(([, code]) => code)`,
    seen: { answer: ['ENOENT', 'ENOENT'] },
  },
  {
    intent: 'read the memory of the machine or of the kernel',
    code: `return tried(...['/proc/kcore', '/proc/kmsg', '/proc/1/mem', '/proc/vmcore', ...${JSON.stringify(devices)}].map((path) => () => fs.readFileSync(path).length))`,
    seen: { refused: true },
  },
  {
    intent: 'learn how busy the machine is',
    code: `return ['loadavg', 'stat', 'meminfo', 'uptime'].map((name) => { try { return fs.readFileSync('/proc/' + name, 'utf8') } catch { return '' } })
      .concat((await import('node:os')).loadavg())`,
    seen: { answer: ['', '', '', '', 0, 0, 0] },
  },
  {
    intent: 'learn about the network of the host',
    code: `const names = fs.readFileSync('/proc/net/dev', 'utf8').split('\\n').slice(2).map((line) => line.split(':')[0].trim()).filter(Boolean)
      return { names, routes: fs.readFileSync('/proc/net/route', 'utf8').trim().split('\\n').length - 1,
        addresses: (fs.readFileSync('/proc/net/fib_trie', 'utf8').match(/\\d+\\.\\d+\\.\\d+\\.\\d+/g) ?? []).filter((each) => !each.startsWith('127.')),
        // Its own two are all that has a name in there.
        sockets: (fs.readFileSync('/proc/net/unix', 'utf8').match(/[/@].*/g) ?? []).map((path) => path.split('/').at(-1)).sort() }`,
    seen: {
      answer: { names: ['lo'], routes: 0, addresses: [], sockets: ['call.sock', 'egress.sock'] },
    },
  },
]

const changing: readonly Attempt[] = [
  {
    intent: 'write a file anywhere',
    code: `return tried(...${JSON.stringify(writable)}.map((path) => () => fs.writeFileSync(path + '/x', 'x')))`,
    seen: { refused: true },
  },
  {
    intent: 'make, link, rename or remove anything',
    code: `return tried(() => fs.mkdirSync('/app/d'), () => fs.mkdirSync('/dev/shm/d'), () => fs.symlinkSync('/etc', '/app/l'), () => fs.linkSync('/bin/bun', '/app/b'),
      () => fs.renameSync('/app/guest.js', '/app/g'), () => fs.unlinkSync('/app/guest.js'), () => fs.rmdirSync('/run/bmm/c'), () => fs.truncateSync('/app/guest.js'),
      () => fs.chmodSync('/bin/bun', 0o777), () => fs.chownSync('/bin/bun', 0, 0), () => fs.utimesSync('/bin/bun', 1, 1))`,
    seen: { refused: true },
  },
  {
    intent: 'put a link to another socket where its own was',
    code: `return tried(() => fs.unlinkSync('/run/bmm/c/call.sock'), () => fs.unlinkSync('/run/bmm/e/egress.sock'),
      () => fs.symlinkSync('/var/run/docker.sock', '/run/bmm/c/call.sock'), () => fs.renameSync('/run/bmm/e', '/run/bmm/f'))`,
    seen: { refused: true },
  },
  {
    intent: 'dial the runner or the broker a second time',
    code: `return tried(...['/run/bmm/c/call.sock', '/run/bmm/e/egress.sock'].map((unix) => () => Bun.connect({ unix, socket: { data() {} } })))`,
    seen: { refused: true },
    // The wall behind the wall: nobody listens there any more.
    watch: async ({ stack, sandbox }) => {
      const left = ['c/call.sock', 'e/egress.sock'].filter((name) =>
        existsSync(`${stack.slotsDir}/${sandbox.slot}/${name}`),
      )
      if (left.length > 0) throw new Error(`still listening: ${left.join(', ')}`)
    },
  },
  {
    intent: 'overwrite the program that all sandboxes share',
    code: `return tried(...['/proc/self/exe', '/bin/bun', '/app/guest.js', '/proc/1/exe', '/lib64/ld-linux-x86-64.so.2'].map((path) => () => fs.openSync(path, 'r+')))`,
    seen: { refused: true },
  },
  {
    intent: 'patch the shared program through its own memory',
    code: `const row = fs.readFileSync('/proc/self/maps', 'utf8').split('\\n').find((line) => line.includes('r-xp') && line.includes('/bin/bun'))
      const [, from, offset] = /^([0-9a-f]+)-\\S+ \\S+ ([0-9a-f]+)/.exec(row).map((part) => parseInt(part, 16))
      const [memory, file] = [await attempt(() => fs.openSync('/proc/self/mem', 'r+')), fs.openSync('/bin/bun', 'r')]
      const bytes = (fd, at) => { const part = Buffer.alloc(16); fs.readSync(fd, part, 0, 16, at); return part.toString('hex') }
      const before = bytes(file, offset)
      // The first bytes of the text belong to nobody who runs now; its own copy is all that may change.
      if (memory[0] === 'done') await attempt(() => fs.writeSync(memory[1], Buffer.alloc(1, 0xcc), 0, 1, from))
      return bytes(file, offset) === before`,
    seen: { answer: true },
    alone: true,
  },
  {
    intent: 'change settings of the kernel',
    code: `return tried(...${JSON.stringify(kernelFiles)}.map((path) => () => fs.writeFileSync(path, '1')))`,
    seen: { refused: true },
  },
  {
    intent: 'be killed last when memory is short',
    code: `return tried(() => fs.writeFileSync('/proc/self/oom_score_adj', '-1000'), () => fs.writeFileSync('/proc/self/oom_adj', '-17'))`,
    seen: { refused: true },
  },
  {
    intent: 'leave its control group',
    code: `return tried(...['/sys/fs/cgroup/cgroup.procs', '/sys/fs/cgroup/memory/cgroup.procs', '/sys/fs/cgroup/memory/memory.limit_in_bytes', '/sys/fs/cgroup/release_agent']
      .map((path) => () => fs.writeFileSync(path, '1')))`,
    seen: { refused: true },
  },
  {
    intent: 'type into a terminal of the host',
    code: `return tried(() => fs.openSync('/dev/tty', 'r+'), () => fs.openSync('/dev/console', 'r+'), () => fs.openSync('/dev/tty1', 'r+'))`,
    seen: { refused: true },
  },
  {
    intent: 'write by the ways that only Bun has',
    code: `const { Database } = await import('bun:sqlite')
      return tried(() => Bun.write('/app/x', 'x'), () => Bun.write('/run/bmm/c/x', 'x'), () => new Database('/app/x.db', { create: true }).run('create table t (a)'),
        () => new Database(':memory:').loadExtension('/bin/bun'), () => Bun.file('/app/guest.js').unlink(), async () => (await import('node:v8')).writeHeapSnapshot('/app/heap'),
        async () => { const { success } = await Bun.build({ entrypoints: ['/app/guest.js'], outdir: '/app/out' }); if (!success) throw new Error('not built') })`,
    seen: { refused: true },
  },
]

export const files: Group = { name: 'files', attempts: [...seeing, ...changing] }
