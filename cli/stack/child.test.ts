import { afterAll, beforeAll, expect, test } from 'bun:test'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { until } from '@bmm/lib/testing-until'
import { backoffMs, type ChildEvent, type ChildSpec, keepRunning, StartFault } from './child.ts'
import { confined } from './confine.ts'
import { openLog, rotate } from './log-file.ts'
import { testUserIds } from './user-ids.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'bmm-child-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

function spec(name: string, command: string[], extra: Partial<ChildSpec> = {}): ChildSpec {
  return {
    name,
    command,
    env: { PATH: '/usr/bin:/bin' },
    cwd: '/',
    files: [],
    fault: async () => undefined,
    readyTimeoutMs: 20_000,
    stopSignal: 'SIGTERM',
    stopTimeoutMs: 20_000,
    ...extra,
  }
}

test('a killed process comes back', async () => {
  const events: ChildEvent[] = []
  const child = keepRunning(spec('sleeper', ['sleep', '600']), folder, (event) =>
    events.push(event),
  )
  await child.firstReady
  const [first] = events
  if (first?.kind !== 'started') throw new Error('it did not start')
  process.kill(first.pid, 'SIGKILL')
  await until(() => events.length === 3)
  expect(events.map((event) => event.kind)).toEqual(['started', 'ended', 'started'])
  expect(events[1]).toMatchObject({ how: 'SIGKILL' })
  await child.stop()
  expect(events.length).toBe(3)
})

test('one that ignores the stop signal is killed after its time', async () => {
  const mark = join(folder, 'trapped')
  const stubborn = ['sh', '-c', `trap '' TERM; echo > ${mark}; while :; do sleep 0.05; done`]
  const child = keepRunning(spec('stubborn', stubborn, { stopTimeoutMs: 200 }), folder, () => {})
  await until(() => statSync(mark, { throwIfNoEntry: false }) !== undefined)
  await child.stop()
})

test('one that keeps ending before it is ready is a fault that shows the end of its log', async () => {
  const failing = spec('failing', ['sh', '-c', 'echo no configuration >&2; exit 3'], {
    fault: async () => 'it does not answer',
  })
  const child = keepRunning(failing, folder, () => {})
  const fault = await child.firstReady.catch((error: unknown) => error)
  expect(fault).toBeInstanceOf(StartFault)
  expect(String(fault)).toContain('no configuration')
  await child.stop()
})

test('one that does not take its settings is not started again, and only its faults are told', async () => {
  const script =
    'echo older line; echo "The configuration has 1 fault:" >&2; echo "BMM_X: no" >&2; exit 78'
  const misset = spec('misset', ['sh', '-c', script], { fault: async () => 'it does not answer' })
  const events: ChildEvent[] = []
  const child = keepRunning(misset, folder, (event) => events.push(event))
  const fault = await child.firstReady.catch((error: unknown) => error)
  expect(fault).toBeInstanceOf(StartFault)
  expect((fault as StartFault).message).toBe(
    'misset did not start. The configuration has 1 fault:\nBMM_X: no',
  )
  expect(events.map(({ kind }) => kind)).toEqual(['started'])
  await child.stop()
})

test('one that cannot be started is tried again, and says why', async () => {
  const impossible = spec('impossible', [join(folder, 'no-such-program')], {
    fault: async () => 'it does not answer',
  })
  const events: ChildEvent[] = []
  const child = keepRunning(impossible, folder, (event) => events.push(event))
  expect(await child.firstReady.catch((error: unknown) => error)).toBeInstanceOf(StartFault)
  expect(events.map(({ kind }) => kind)).toEqual(Array(5).fill('ended'))
  expect(events[0]).toMatchObject({ how: expect.stringContaining('no-such-program') })
  await child.stop()
})

test('one that never gets ready is a fault that says why', async () => {
  const silent = spec('silent', ['sleep', '600'], {
    fault: async () => 'no database',
    readyTimeoutMs: 100,
  })
  const child = keepRunning(silent, folder, () => {})
  expect(String(await child.firstReady.catch((error: unknown) => error))).toContain('no database')
  await child.stop()
})

test('secrets arrive by descriptor and nothing else of the parent does', async () => {
  const secret = join(folder, 'secret.pem')
  writeFileSync(secret, 'from a file', { mode: 0o600 })
  const shown = ['sh', '-c', 'cat <&3; echo; env; ls /proc/self/fd | wc -l; exec sleep 600']
  const child = keepRunning(spec('reader', shown, { files: [secret] }), folder, () => {})
  const log = join(folder, 'reader.log')
  await until(() => readFileSync(log, 'utf8').split('\n').length > 3)
  await child.stop()
  const text = readFileSync(log, 'utf8')
  expect(text).toStartWith('from a file\n')
  expect(text).not.toContain('HOME=')
})

test('a confined process is its own user, has no capability, and cannot write the program', async () => {
  const user = testUserIds.of('runner')
  // Below a folder that is closed to everyone else, as a clone in /root is.
  const program = join(folder, 'program')
  mkdirSync(program, { mode: 0o755 })
  writeFileSync(join(program, 'hello'), 'hello from the closed folder')
  const look =
    'id -u; grep -E "CapEff|CapBnd|NoNewPrivs" /proc/self/status; cat /mnt/hello; echo; touch /mnt/x || echo read-only'
  const { stdout, stderr } = Bun.spawnSync(
    confined(['sh', '-c', look], {
      user,
      group: testUserIds.group,
      binds: [{ from: program, to: '/mnt' }],
    }),
  )
  const said = stdout.toString()
  expect(said.split('\n')[0]).toBe(String(user))
  expect(said).toMatch(/CapEff:\s0+\nCapBnd:\s0+\nNoNewPrivs:\s1/)
  expect(said).toContain('hello from the closed folder')
  expect(said).toContain('read-only')
  expect(stderr.toString()).toMatch(/Read-only file system|Permission denied/)
})

test('the back-off doubles up to five seconds', () => {
  expect([1, 2, 3, 8, 60].map(backoffMs)).toEqual([100, 200, 400, 5_000, 5_000])
})

test('a log that grew too large moves aside while its writer goes on', () => {
  const descriptor = openLog(folder, 'large')
  const path = join(folder, 'large.log')
  writeFileSync(descriptor, 'x'.repeat(2_000))
  rotate(path, 1_000)
  writeFileSync(descriptor, 'after')
  expect(readFileSync(path, 'utf8')).toBe('after')
  expect(statSync(`${path}.1`).size).toBe(2_000)
  rotate(path, 1_000)
  expect(readFileSync(path, 'utf8')).toBe('after')
})
