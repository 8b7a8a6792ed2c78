/** Hostile tools in real sandboxes: each attempt fails or ends that sandbox, and the neighbour goes on. Needs root. */
import { afterAll, afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { existsSync, readFileSync } from 'node:fs'
import { hostileTools } from './hostile-testing.ts'
import { callTool, loadTools, startTestStack, type TestStack } from './keeper/testing.ts'
import { testDrivers } from './keeper/testing-process.ts'
import type { Sandbox } from './sandbox.ts'
import { currentArchitecture } from './seccomp.ts'
import { syscallNumber } from './syscalls.ts'

setDefaultTimeout(120_000)

for (const driver of testDrivers) {
  describe(`by ${driver}`, () => {
    const NEIGHBOUR_SLOT = 15
    let stack: TestStack
    let neighbour: Sandbox
    beforeAll(async () => {
      stack = await startTestStack('attempts', driver)
      neighbour = await stack.sandbox(NEIGHBOUR_SLOT)
      await loadTools(neighbour, { echo: 'async (input) => input.text' })
    })
    afterAll(async () => {
      neighbour.stop()
      await neighbour.gone
      await stack.stop()
    })
    afterEach(async () => {
      const answer = await callTool(
        neighbour,
        'echo',
        { text: 'still here' },
        { timeoutMs: 60_000 },
      )
      expect(answer.result.content[0]?.text).toBe('still here')
    })

    const architecture = currentArchitecture()
    function numberOf(name: string): number {
      const number = syscallNumber(name, architecture)
      if (number === undefined) throw new Error(`no ${name} here`)
      return number
    }

    const hostile = hostileTools(() => stack, NEIGHBOUR_SLOT)

    /** What the attempt answers. */
    async function outcomeOf<Value>(body: string): Promise<Value> {
      let outcome: unknown
      await hostile(body, async (_, run) => {
        outcome = await run()
      })
      return outcome as Value
    }

    describe('what a tool sees', () => {
      test('of files: the image and nothing of the host', async () => {
        const seen = await outcomeOf<Record<string, string[]>>(`
      const list = (path) => { try { return fs.readdirSync(path).sort() } catch { return ['refused'] } }
      return { root: list('/'), bin: list('/bin'), app: list('/app'), run: list('/run/bmm'), calls: list('/run/bmm/c'), dev: list('/dev') }`)
        // The engine makes three more: empty files, and what masks /sys.
        const added = driver === 'docker' ? ['.dockerenv', 'etc', 'sys'] : []
        const root = ['app', 'bin', 'dev', 'lib', 'lib64', 'proc', 'run', ...added]
        expect(seen.root).toEqual(root.toSorted())
        expect(seen.bin).toEqual(['bun'])
        expect(seen.app).toEqual(['guest.js'])
        expect(seen.run).toEqual(['c', 'e'])
        // Passing through is allowed, listing is not.
        expect(seen.calls).toEqual(['refused'])
        expect(seen.dev).not.toContain('sda')
      })

      test('of well-known host files: none, also not by /proc of the first process', async () => {
        const paths = [
          '/etc/passwd',
          '/etc/shadow',
          '/root/.ssh',
          '/var/lib/bmm',
          '/sys/kernel',
          '/proc/1/root/etc/passwd',
          '/proc/1/cwd/../etc/passwd',
          '/proc/self/root/../../etc/passwd',
          '/run/docker.sock',
          stack.slotsDir,
          '/proc/kcore',
          '/proc/1/mem',
        ]
        const seen = await outcomeOf<string[][]>(`
      return await Promise.all(${JSON.stringify(paths)}.map((path) => attempt(() => fs.readFileSync(path).length)))`)
        expect(seen.map(([result]) => result)).toEqual(paths.map(() => 'refused'))
      })

      test('of the environment: nothing of ours, in no process', async () => {
        const seen = await outcomeOf<{ env: string[]; environs: string[] }>(`
      const environs = fs.readdirSync('/proc').filter((name) => /^\\d+$/.test(name))
        .map((pid) => { try { return fs.readFileSync('/proc/' + pid + '/environ', 'latin1') } catch { return '' } })
      return { env: Object.keys(process.env), environs }`)
        // The runtimes set these two by themselves: the directory, and `/`.
        expect(seen.env.filter((name) => name !== 'PWD' && name !== 'HOME')).toEqual([])
        for (const environ of seen.environs) {
          expect(
            environ
              .split('\0')
              .filter((pair) => !['', 'PWD=/app', 'PWD=/', 'HOME=/'].includes(pair)),
          ).toEqual([])
        }
      })

      test('of processes: its own alone, so that there is none to take over that kept more rights', async () => {
        const seen = await outcomeOf<string[][]>(`
      const pids = fs.readdirSync('/proc').filter((name) => /^\\d+$/.test(name))
      return pids.map((pid) => [pid, fs.readFileSync('/proc/' + pid + '/status', 'utf8').match(/^Seccomp_filters:\\t(.*)$/m)[1]])`)
        expect(seen).toEqual([['1', '2']])
      })

      test('of the token files: they are gone', async () => {
        const seen = await outcomeOf<string[][]>(`
      return [await attempt(() => fs.readFileSync('/run/bmm/c/token', 'utf8')), await attempt(() => fs.readFileSync('/run/bmm/e/token', 'utf8'))]`)
        expect(seen.map(([, code]) => code)).toEqual(['ENOENT', 'ENOENT'])
      })
    })

    describe('what a tool cannot do', () => {
      test('open a socket of any family, a pair, a ring or a memory file', async () => {
        const calls: [string, number, number?, number?][] = [
          ...[1, 2, 3, 10, 16, 17, 38, 40, 44].map((family): [string, number, number] => [
            'socket',
            family,
            1,
          ]),
          ['socketpair', 1, 1],
          ['io_uring_setup', 8, 0],
          ['memfd_create', 0, 0],
          ['inotify_init1', 0],
          ['mq_open', 0, 0o102],
          ['shmget', 0, 4096, 0o1600],
        ]
        const numbers = calls.map(([name, ...args]) => [numberOf(name), ...args])
        const seen = await outcomeOf<(number | boolean)[]>(
          `return [call(${numberOf('getpid')}) > 0, ...${JSON.stringify(numbers)}.map(([number, ...args]) => call(number, ...args))]`,
        )
        // The first shows that calls are made at all.
        expect(seen).toEqual([true, ...calls.map(() => -1)])
      })

      test('reach anything by Bun and node', async () => {
        const seen = await outcomeOf<[string, unknown][]>(`
      const net = await import('node:net')
      const dgram = await import('node:dgram')
      const dns = await import('node:dns/promises')
      const byNode = (options) => new Promise((resolve, reject) => { net.connect(options).once('connect', () => resolve('connected')).once('error', reject) })
      return await Promise.all([
        attempt(() => Bun.fetch('http://127.0.0.1:1/')), attempt(() => Bun.fetch('http://169.254.169.254/')),
        attempt(() => Bun.connect({ hostname: '127.0.0.1', port: 22, socket: { data() {} } })),
        attempt(() => Bun.serve({ port: 0, fetch: () => new Response() }).port),
        attempt(() => byNode({ host: '127.0.0.1', port: 22 })),
        attempt(() => byNode({ path: '/run/bmm/c/call.sock' })),
        attempt(() => new Promise((resolve, reject) => { const s = dgram.createSocket('udp4'); s.once('error', reject); s.bind(0, () => resolve('bound')) })),
        attempt(() => dns.lookup('example.com')),
      ])`)
        expect(seen.map(([result]) => result)).toEqual(seen.map(() => 'refused'))
      })

      test('dial the runner or the broker a second time', async () => {
        await hostile(
          `return await Promise.all(['/run/bmm/c/call.sock', '/run/bmm/e/egress.sock'].map((unix) => attempt(() => Bun.connect({ unix, socket: { data() {} } }))))`,
          async (sandbox, run) => {
            const seen = (await run()) as [string, unknown][]
            expect(seen.map(([result]) => result)).toEqual(['refused', 'refused'])
            // The wall behind the wall: nobody listens any more.
            for (const side of ['c/call.sock', 'e/egress.sock']) {
              expect(existsSync(`${stack.slotsDir}/${sandbox.slot}/${side}`)).toBe(false)
            }
          },
        )
      })

      test('start a process or take rights', async () => {
        const calls: [string, ...number[]][] = [
          ['clone', 0x11],
          ['clone', 0x10000000 | 0x10000],
          ['unshare', 0x10000000],
          ['setns', 3, 0],
          ['mount', 0, 0, 0],
          ['pivot_root', 0, 0],
          ['chroot', 0],
          ['ptrace', 16, 1],
          ['bpf', 0],
          ['perf_event_open', 0],
          ['keyctl', 0],
          ['userfaultfd', 0],
          ['setuid', 0],
          ['pidfd_open', 1, 0],
          ['process_vm_readv', 1],
          ['prlimit64', 0, 7, 0, 0],
          ['sendmsg', 3, 0],
          ['execve', 0, 0, 0],
        ]
        const numbers = calls.map(([name, ...args]) => [numberOf(name), ...args])
        const seen = await outcomeOf<{ raw: number[]; spawn: string[] }>(`
      return { raw: ${JSON.stringify(numbers)}.map(([number, ...args]) => call(number, ...args)),
        spawn: [await attempt(() => Bun.spawnSync(['/bin/bun', '--version']).exitCode), await attempt(async () => (await import('node:child_process')).execSync('/bin/bun --version'))] }`)
        expect(seen.raw).toEqual(calls.map(() => -1))
        expect(seen.spawn.map(([result]) => result)).toEqual(['refused', 'refused'])
      })

      test('write anywhere', async () => {
        const directories = [
          '/',
          '/app',
          '/bin',
          '/lib',
          '/tmp',
          '/dev',
          '/dev/shm',
          '/dev/mqueue',
          '/run',
          '/run/bmm/c',
          '/run/bmm/e',
          '/proc',
          '/var/tmp',
        ]
        const seen = await outcomeOf<[string, string][]>(`
      return await Promise.all([
        ...${JSON.stringify(directories)}.map((path) => attempt(() => fs.writeFileSync(path + '/x', 'x'))),
        ...['/app/guest.js', '/bin/bun', '/proc/sys/kernel/core_pattern', '/proc/sysrq-trigger'].map((path) => attempt(() => fs.writeFileSync(path, 'x'))),
        attempt(() => fs.mkdirSync('/app/d')), attempt(() => fs.unlinkSync('/app/guest.js')), attempt(() => fs.symlinkSync('/etc', '/app/l')), attempt(() => fs.chmodSync('/bin/bun', 0o777)),
      ])`)
        expect(seen.filter(([result]) => result !== 'refused')).toEqual([])
      })

      test('open more than 64 files, or raise that', async () => {
        const seen = await outcomeOf<{ opened: number; code: string }>(`
      const open = []
      try { for (;;) open.push(fs.openSync('/app/guest.js')) } catch (error) { for (const fd of open) fs.closeSync(fd); return { opened: open.length, code: error.code } }`)
        expect(seen.code).toBe('EMFILE')
        expect(seen.opened).toBeLessThan(64)
      })

      test('signal, inspect or touch what belongs to another slot', async () => {
        const [victim] = stack.processesOf(NEIGHBOUR_SLOT)
        const seen = await outcomeOf<[string, string][]>(`
      return await Promise.all([
        attempt(() => process.kill(${victim}, 0)), attempt(() => fs.readFileSync('/proc/${victim}/status')),
        attempt(() => fs.readdirSync('${stack.slotsDir}/${NEIGHBOUR_SLOT}')), attempt(() => fs.readdirSync('/run/bmm/c/../../../../${NEIGHBOUR_SLOT}')),
      ])`)
        expect(seen.map(([result]) => result)).toEqual(seen.map(() => 'refused'))
      })
    })

    test('each sandbox has its own uid, no capability, no new privileges and two filters', async () => {
      await hostile('return null', async (sandbox) => {
        const uids = [sandbox.slot, NEIGHBOUR_SLOT].map((slot) => {
          const statuses = stack
            .processesOf(slot)
            .map((pid) => readFileSync(`/proc/${pid}/status`, 'utf8'))
          const guest = statuses.find((status) => /^Name:\tbun$/m.test(status)) ?? ''
          expect(guest).toMatch(/^CapEff:\t0+$/m)
          expect(guest).toMatch(/^CapPrm:\t0+$/m)
          expect(guest).toMatch(/^CapBnd:\t0+$/m)
          expect(guest).toMatch(/^NoNewPrivs:\t1$/m)
          expect(guest).toMatch(/^Seccomp:\t2$/m)
          expect(guest).toMatch(/^Seccomp_filters:\t2$/m)
          const uid = stack.slotUidBase + slot
          expect(guest).toMatch(new RegExp(`^Uid:\t${uid}\t${uid}\t${uid}\t${uid}$`, 'm'))
          expect(guest).toMatch(new RegExp(`^Gid:\t${uid}\t${uid}\t${uid}\t${uid}$`, 'm'))
          return uid
        })
        expect(new Set(uids).size).toBe(2)
      })
    })
  })
}
