/** The keeper as a process: what it refuses, what it leaves behind, and what happens when somebody dies. Needs root. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { chmodSync, existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { FrameConnection } from '@bmm/lib/frame-connection'
import { connectFrames, type FrameListener, listenFrames } from '@bmm/lib/frame-socket'
import { FRAME, type Frame, type FrameType, parseControl } from '@bmm/lib/frames'
import { outcomeOf } from '@bmm/lib/testing-outcome'
import { until } from '@bmm/lib/testing-until'
import {
  SLOT_FILE_MODE,
  SLOT_SOCKET_MODE,
  slotDirectory,
  slotFiles,
} from '../sandbox/sandbox-limits.ts'
import { configFrom } from './config.ts'
import { probeBwrap } from './probe.ts'
import { callTool, loadTools, startTestStack, type TestStack } from './testing.ts'
import { testDrivers } from './testing-process.ts'

setDefaultTimeout(120_000)

async function leftOf(stack: TestStack): Promise<string[]> {
  return [...(await stack.leftOf(0)), ...(await stack.leftOf(1))]
}

function isAlive(pid: number): boolean {
  return existsSync(`/proc/${pid}`)
}

for (const driver of testDrivers) {
  describe(`by ${driver}`, () => {
    describe('the keeper refuses', () => {
      let stack: TestStack
      let runner: FrameConnection
      let nextCall = 1
      const doors: FrameListener[] = []
      const answers = new Map<number, (frame: { type: FrameType; value: unknown }) => void>()

      async function dial(): Promise<FrameConnection> {
        const onFrame = (frame: Frame) =>
          answers.get(frame.call)?.({ type: frame.type, value: parseControl(frame.payload) })
        const unix = join(stack.runDirectory, 'keeper.sock')
        return await connectFrames({ unix, accept: Object.values(FRAME), onFrame })
      }
      /** The keeper takes a new runner once it has noticed that the last one is gone: that is the one which it answers. */
      async function redial(): Promise<FrameConnection> {
        let taken: FrameConnection | undefined
        await until(async () => {
          const connection = await dial()
          const isAnswered = ask(FRAME.KEEPER_LIST, {}, connection).then(() => true)
          const isRefused = connection.closed.then(() => false)
          if (await Promise.race([isAnswered, isRefused])) taken = connection
          return taken !== undefined
        }, 'the keeper to take a runner')
        if (taken === undefined) throw new Error('the keeper takes no runner')
        return taken
      }
      function ask(
        type: FrameType,
        value: unknown,
        of = runner,
      ): Promise<{ type: FrameType; value: unknown }> {
        const call = nextCall++
        return new Promise((resolve) => {
          answers.set(call, resolve)
          of.sendControl(type, call, value)
        })
      }
      /** Both doors of a slot, behind which nobody says a word: a guest without them would end by itself at once. */
      function openDoors(slot: number): void {
        const legs = [
          ['c', slotFiles.calls],
          ['e', slotFiles.egress],
        ] as const
        for (const [leg, file] of legs) {
          const directory = slotDirectory(stack.slotsDir, slot, leg)
          writeFileSync(join(directory, slotFiles.token), 'token', { mode: SLOT_FILE_MODE })
          chmodSync(join(directory, slotFiles.token), SLOT_FILE_MODE)
          const unix = join(directory, file)
          const onConnection = () => ({ accept: Object.values(FRAME), onFrame() {} })
          doors.push(listenFrames({ unix, mode: SLOT_SOCKET_MODE, onConnection }))
        }
      }

      beforeAll(async () => {
        stack = await startTestStack('refuses', driver)
      })
      afterAll(async () => {
        await stack.stop()
        for (const door of doors) door.stop()
      })

      test('anybody but the runner: socket of its uid only, and one connection at a time', async () => {
        const socket = statSync(join(stack.runDirectory, 'keeper.sock'))
        expect(socket.mode & 0o777).toBe(0o600)
        expect(socket.uid).toBe(stack.slotUidBase - 64 + 4)
        expect(await (await dial()).closed).toBe('the peer ended the connection')
        stack.link.close()
        runner = await redial()
      })

      test('slots and classes that do not exist, and a slot that is taken', async () => {
        const start = (slot: number, sandboxClass = 'hobby') =>
          ask(FRAME.KEEPER_START, { class: sandboxClass, slot })
        expect(await start(16)).toEqual({
          type: FRAME.KEEPER_FAILED,
          value: { message: 'there is no slot 16' },
        })
        openDoors(3)
        expect(await start(3)).toMatchObject({ type: FRAME.KEEPER_STARTED, value: { slot: 3 } })
        expect(await start(3, 'standard')).toMatchObject({
          type: FRAME.KEEPER_FAILED,
          value: { message: 'slot 3 is taken' },
        })
        expect(await ask(FRAME.KEEPER_STOP, { slot: 3 })).toMatchObject({
          type: FRAME.KEEPER_STOPPED,
        })
        expect(await ask(FRAME.KEEPER_STOP, { slot: 3 })).toMatchObject({
          type: FRAME.KEEPER_STOPPED,
        })
        expect(await ask(FRAME.KEEPER_LIST, {})).toEqual({
          type: FRAME.KEEPER_SLOTS,
          value: { slots: [] },
        })
      })

      test('to stop and start a slot at once: the start waits until nothing is left', async () => {
        openDoors(4)
        await ask(FRAME.KEEPER_START, { class: 'hobby', slot: 4 })
        const [stopped, started] = await Promise.all([
          ask(FRAME.KEEPER_STOP, { slot: 4 }),
          ask(FRAME.KEEPER_START, { class: 'hobby', slot: 4 }),
        ])
        expect(stopped.type).toBe(FRAME.KEEPER_STOPPED)
        expect(started.type).toBe(FRAME.KEEPER_STARTED)
        expect(await ask(FRAME.KEEPER_LIST, {})).toMatchObject({ value: { slots: [{ slot: 4 }] } })
        await ask(FRAME.KEEPER_STOP, { slot: 4 })
      })

      test('to charge one organisation for what another has used, by ending all', async () => {
        openDoors(6)
        await ask(FRAME.KEEPER_START, { class: 'hobby', slot: 6 })
        const charge = (organisation: string) =>
          runner.sendControl(FRAME.KEEPER_CHARGE, 0, { slot: 6, organisation })
        charge('org_a')
        expect(await ask(FRAME.KEEPER_LIST, {})).toMatchObject({ value: { slots: [{ slot: 6 }] } })
        charge('org_b')
        expect(await runner.closed).toBe('the peer ended the connection')
        await until(async () => (await stack.leftOf(6)).length === 0)
        runner = await redial()
      })

      test.each([
        ['an image of the caller', FRAME.KEEPER_START, { class: 'hobby', slot: 5, image: '/root' }],
        [
          'a class that is a property of every object',
          FRAME.KEEPER_START,
          { class: 'toString', slot: 5 },
        ],
        ['an unknown class', FRAME.KEEPER_START, { class: 'huge', slot: 5 }],
        ['a slot that is a path', FRAME.KEEPER_START, { class: 'hobby', slot: '../5' }],
        ['a negative slot', FRAME.KEEPER_STOP, { slot: -1 }],
        ['a frame of another leg', FRAME.CALL, {}],
        ['a charge to nobody', FRAME.KEEPER_CHARGE, { slot: 5, organisation: '' }],
        ['a charge with a limit', FRAME.KEEPER_CHARGE, { slot: 5, organisation: 'a', cores: 9 }],
      ])('%s, by ending the connection', async (_, type, value) => {
        runner.end('the next one')
        runner = await redial()
        runner.sendControl(type, nextCall++, value)
        expect(await runner.closed).toBe('the peer ended the connection')
        expect(await stack.leftOf(5)).toEqual([])
      })
    })

    describe('when somebody dies', () => {
      async function withTwoSandboxes(
        use: (stack: TestStack, guests: number[]) => Promise<void>,
      ): Promise<void> {
        const stack = await startTestStack('dies', driver)
        try {
          const sandboxes = await Promise.all([stack.sandbox(0), stack.sandbox(1)])
          for (const sandbox of sandboxes) {
            await loadTools(sandbox, { spin: 'async () => { for (;;) {} }', a: 'async () => 1' })
            expect((await callTool(sandbox, 'a')).outcome.code).toBe('ok')
          }
          callTool(sandboxes[0], 'spin', {}, { timeoutMs: 100_000 }).catch(() => {})
          const guests = [...stack.processesOf(0), ...stack.processesOf(1)]
          expect(guests.length).toBeGreaterThanOrEqual(2)
          await use(stack, guests)
        } finally {
          await stack.stop()
        }
      }

      test('kill -9 of the keeper: all guests are gone, its next start finds nothing of theirs', async () => {
        await withTwoSandboxes(async (stack, guests) => {
          stack.process.kill('SIGKILL')
          await until(() => !guests.some(isAlive), 'the guests end')
          await stack.restartKeeper()
          expect(await leftOf(stack)).toEqual([])
          const sandbox = await stack.sandbox(0)
          await loadTools(sandbox, { a: 'async () => 1' })
          expect((await callTool(sandbox, 'a')).outcome.code).toBe('ok')
          sandbox.stop()
          await sandbox.gone
        })
      })

      test('the runner: nothing of any sandbox is left', async () => {
        await withTwoSandboxes(async (stack, guests) => {
          stack.link.close()
          await until(() => !guests.some(isAlive))
          await until(async () => (await leftOf(stack)).length === 0)
        })
      })

      test('a sandbox from outside: its calls fail, its slot is empty', async () => {
        const stack = await startTestStack('outside', driver)
        try {
          const sandbox = await stack.sandbox(2)
          await loadTools(sandbox, { wait: 'async () => await Bun.sleep(60_000)' })
          const waiting = callTool(sandbox, 'wait', {}, { timeoutMs: 60_000 })
          const [outer] = stack.processesOf(2).toSorted((a, b) => a - b)
          process.kill(outer ?? 0, 'SIGKILL')
          expect((await waiting).outcome.code).toBe('sandbox_failed')
          expect((await sandbox.gone).detail).toContain('SIGKILL')
          expect(await stack.leftOf(2)).toEqual([])
        } finally {
          await stack.stop()
        }
      })

      test.each([
        ['before the keeper is asked', false],
        ['while the keeper starts it', true],
      ])('a start that is given up %s leaves nothing, and the slot serves', async (_, isAsked) => {
        const stack = await startTestStack('givenup', driver)
        try {
          const giveUp = new AbortController()
          const options = isAsked ? { onAsked: () => giveUp.abort() } : {}
          const starting = outcomeOf(stack.sandbox(2, { signal: giveUp.signal, ...options }))
          if (!isAsked) giveUp.abort()
          expect(await starting).toThrow('stopped')
          expect(await stack.link.list()).toEqual([])
          expect(await stack.leftOf(2)).toEqual([])
          const sandbox = await stack.sandbox(2)
          sandbox.stop()
          await sandbox.gone
        } finally {
          await stack.stop()
        }
      })

      test('a keeper that is told to stop leaves no process, group or socket', async () => {
        const stack = await startTestStack('stop', driver)
        try {
          const sandbox = await stack.sandbox(0)
          const guests = stack.processesOf(0)
          stack.process.kill('SIGTERM')
          expect(await stack.process.exited).toBe(0)
          expect(await stack.leftOf(0)).toEqual([])
          await until(() => !guests.some(isAlive))
          expect(existsSync(join(stack.runDirectory, 'keeper.sock'))).toBe(false)
          await sandbox.gone
        } finally {
          await stack.stop()
        }
      })
    })

    describe('limits', () => {
      test('each sandbox has its own uid, no capability, no new privileges and two filters', async () => {
        const stack = await startTestStack('uids', driver)
        try {
          const sandboxes = await Promise.all([stack.sandbox(0), stack.sandbox(1)])
          for (const slot of [0, 1]) {
            const statuses = stack
              .processesOf(slot)
              .map((pid) => readFileSync(`/proc/${pid}/status`, 'utf8'))
            const guest = statuses.find((status) => /^Name:\tbun$/m.test(status)) ?? ''
            for (const set of ['CapEff', 'CapPrm', 'CapBnd', 'CapInh', 'CapAmb']) {
              expect(guest).toMatch(new RegExp(`^${set}:\t0+$`, 'm'))
            }
            expect(guest).toMatch(/^NoNewPrivs:\t1$/m)
            expect(guest).toMatch(/^Seccomp:\t2$/m)
            expect(guest).toMatch(/^Seccomp_filters:\t2$/m)
            const uid = stack.slotUidBase + slot
            expect(guest).toMatch(new RegExp(`^Uid:\t${uid}\t${uid}\t${uid}\t${uid}$`, 'm'))
            expect(guest).toMatch(new RegExp(`^Gid:\t${uid}\t${uid}\t${uid}\t${uid}$`, 'm'))
            // Docker names the group of the user once more.
            expect(guest).toMatch(new RegExp(`^Groups:\\s*(${uid})?\\s*$`, 'm'))
          }
          for (const sandbox of sandboxes) {
            sandbox.stop()
            await sandbox.gone
          }
        } finally {
          await stack.stop()
        }
      })

      test('stand in the control groups, by class', async () => {
        const stack = await startTestStack('limits', driver)
        try {
          const hobby = await stack.sandbox(0)
          const standard = await stack.sandbox(1, { class: 'standard' })
          const read = (slot: number, controller: string, file: string) =>
            readFileSync(stack.groupFile(slot, controller, file), 'utf8').trim()
          const isV1 = existsSync(stack.groupFile(0, 'memory', 'memory.limit_in_bytes'))
          const memory = (slot: number) =>
            isV1 ? read(slot, 'memory', 'memory.limit_in_bytes') : read(slot, '.', 'memory.max')
          expect([memory(0), memory(1)]).toEqual([String(128 * 1024 ** 2), String(512 * 1024 ** 2)])
          const files = isV1
            ? [
                read(0, 'pids', 'pids.max'),
                read(0, 'cpu', 'cpu.cfs_quota_us'),
                read(0, 'cpu', 'cpu.cfs_period_us'),
              ]
            : [read(0, '.', 'pids.max'), ...read(0, '.', 'cpu.max').split(' ')]
          expect(files).toEqual(['100', '50000', '100000'])
          for (const sandbox of [hobby, standard]) {
            sandbox.stop()
            await sandbox.gone
          }
        } finally {
          await stack.stop()
        }
      })
    })
  })
}

test('the probe says that sandboxes work here', async () => {
  expect(await probeBwrap()).toMatchObject({ ok: true })
})

test('the configuration names every fault and no value', () => {
  const fault = (() => {
    try {
      configFrom({ BMM_KEEPER_SOCKET: 'relative-canary', BMM_SLOTS: '0', BMM_RUNNER_UID: '0' })
    } catch (error) {
      return String(error)
    }
  })()
  for (const name of [
    'BMM_KEEPER_SOCKET',
    'BMM_DRIVER',
    'BMM_SLOTS',
    'BMM_RUNNER_UID',
    'BMM_ROOTFS',
    'BMM_CGROUP',
  ]) {
    expect(fault).toContain(name)
  }
  expect(fault).not.toContain('canary')
})
