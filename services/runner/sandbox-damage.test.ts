/** Hostile tools in real sandboxes: what they break is their own sandbox, and the neighbour goes on. Needs root. */
import { afterAll, afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { hostileTools } from './hostile-testing.ts'
import { callTool, loadTools, startTestStack, type TestStack } from './keeper/testing.ts'
import { testDrivers } from './keeper/testing-process.ts'
import type { Sandbox } from './sandbox.ts'

setDefaultTimeout(120_000)

for (const driver of testDrivers) {
  describe(`by ${driver}`, () => {
    const NEIGHBOUR_SLOT = 15
    let stack: TestStack
    let neighbour: Sandbox
    beforeAll(async () => {
      stack = await startTestStack('damage', driver)
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

    const hostile = hostileTools(() => stack, NEIGHBOUR_SLOT)

    describe('what a tool can only break for itself', () => {
      test('by threads: at most 100, and the neighbour goes on', async () => {
        await hostile(
          `const url = URL.createObjectURL(new Blob(['setInterval(() => {}, 1000)']))
       const workers = []
       for (let n = 0; n < 400; n++) { try { workers.push(new Worker(url)) } catch {} }
       await Bun.sleep(60_000)`,
          async (sandbox) => {
            let most = 0
            const bomb = callTool(sandbox, 'run', {}, { timeoutMs: 3_000 })
            const looking = setInterval(() => {
              most = Math.max(most, ...stack.processesOf(sandbox.slot).map(threadsOf))
            }, 10)
            await Bun.sleep(2_000)
            clearInterval(looking)
            expect(most).toBeGreaterThan(20)
            expect(most).toBeLessThanOrEqual(100)
            const answer = await callTool(
              neighbour,
              'echo',
              { text: 'meanwhile' },
              { timeoutMs: 60_000 },
            )
            expect(answer.result.content[0]?.text).toBe('meanwhile')
            expect((await bomb).outcome.code).not.toBe('ok')
          },
        )
      })

      test('by memory: ended for it, and told so', async () => {
        await hostile(
          `const hog = []; for (;;) { hog.push(new Uint8Array(8 * 1024 * 1024).fill(1)); await Bun.sleep(0) }`,
          async (sandbox) => {
            const answer = await callTool(sandbox, 'run', {}, { timeoutMs: 60_000 })
            expect(answer.outcome).toEqual({
              code: 'sandbox_failed',
              message: 'The sandbox needed more than its 128 MB of memory and was ended.',
            })
            expect(await sandbox.gone).toMatchObject({ code: 'oom' })
          },
        )
      })

      test('by processor time: held to half a core', async () => {
        await hostile('for (;;) {}', async (sandbox) => {
          const spin = callTool(sandbox, 'run', {}, { timeoutMs: 4_000 })
          await Bun.sleep(500)
          const cpuMs = () => {
            const [pid] = stack
              .processesOf(sandbox.slot)
              .filter((id) => readFileSync(`/proc/${id}/comm`, 'utf8').trim() === 'bun')
            const fields =
              readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
            return (Number(fields[11]) + Number(fields[12])) * 10
          }
          const before = { cpu: cpuMs(), at: performance.now() }
          await Bun.sleep(2_000)
          const share = (cpuMs() - before.cpu) / (performance.now() - before.at)
          expect(share).toBeLessThan(0.7)
          expect((await spin).outcome.code).toBe('deadline')
          expect(await sandbox.gone).toMatchObject({ code: 'deadline' })
        })
      })

      test('by writing to its error stream: 64 KB stay behind at most, by docker nothing', async () => {
        await hostile(
          `for (let n = 0; n < 1000; n++) fs.writeSync(2, 'x'.repeat(10_000))`,
          async (sandbox) => {
            await callTool(sandbox, 'run')
            const file = `${stack.slotsDir}/${sandbox.slot}/stderr`
            const left = driver === 'bwrap' ? statSync(file).size : Number(existsSync(file))
            expect(left).toBeLessThanOrEqual(driver === 'bwrap' ? 65_536 : 0)
          },
        )
      })

      test('by a schema whose pattern never ends: its own time is over', async () => {
        const names = Array.from({ length: 200 }, (_, index) => `p${index}`)
        const property = { type: 'string', pattern: '^(a+)+$' }
        const properties = Object.fromEntries(names.map((name) => [name, property]))
        const inputSchema = { type: 'object', properties }
        const more = [{ name: 'match', inputSchema, body: 'async () => 1' }]
        await hostile(
          'return 1',
          async (sandbox) => {
            const args = Object.fromEntries(names.map((name) => [name, `${'a'.repeat(40)}!`]))
            const match = callTool(sandbox, 'match', args, { timeoutMs: 1_000 })
            const meanwhile = await callTool(
              neighbour,
              'echo',
              { text: 'b' },
              { timeoutMs: 60_000 },
            )
            expect(meanwhile.outcome.code).toBe('ok')
            expect((await match).outcome.code).toBe('deadline')
            expect(await sandbox.gone).toMatchObject({ code: 'deadline' })
          },
          { more },
        )
      })

      test('by crashing its process', async () => {
        await hostile(`process.abort()`, async (sandbox) => {
          expect((await callTool(sandbox, 'run')).outcome.code).toBe('sandbox_failed')
        })
      })

      test('by ending its process', async () => {
        await hostile('process.exit(1)', async (sandbox) => {
          expect((await callTool(sandbox, 'run')).outcome.code).toBe('sandbox_failed')
        })
      })
    })

    describe('forged frames', () => {
      /** Writes bytes to every descriptor; the socket of the runner is one of them. */
      const forge = (bytes: Uint8Array) => `
    const bytes = new Uint8Array(${JSON.stringify([...bytes])})
    for (let fd = 3; fd < 64; fd++) { try { fs.writeSync(fd, bytes) } catch {} }
    await Bun.sleep(30_000)`
      /** The guest opened this one last; the broker's socket has limits of its own, which would race with the runner's. */
      const runnerSocket = `
    const sockets = fs.readdirSync('/proc/self/fd').map(Number)
      .filter((fd) => { try { return fs.readlinkSync('/proc/self/fd/' + fd).startsWith('socket:') } catch { return false } })
    const runner = Math.max(...sockets)`
      const frame = (type: number, call: number, payload = '') => {
        const bytes = Buffer.from(payload)
        const head = Buffer.alloc(9)
        head.writeUInt32BE(bytes.length + 5)
        head.writeUInt8(type, 4)
        head.writeUInt32BE(call, 5)
        return Buffer.concat([head, bytes])
      }
      const cases: [string, Uint8Array][] = [
        ['an answer of a call that is not its own', frame(21, 4_000)],
        ['another hello', frame(1, 0, '{"token":"x","protocol":1}')],
        ['another sealed', frame(2, 0)],
        ['another loaded', frame(4, 0, '{"tools":[]}')],
        ['a verb of the keeper', frame(80, 1, '{"class":"standard","slot":9}')],
        ['an assignment', frame(70, 1, '{}')],
        ['a pong that nobody asked for', frame(51, 77)],
        ['a log line that is not JSON', frame(31, 1, '{')],
        ['a log line for no call', frame(31, 99, '{"line":"x"}')],
        [
          'a failure with a code of its own',
          frame(22, 1, '{"code":"unknown_server","message":""}'),
        ],
        ['garbage', crypto.getRandomValues(new Uint8Array(500)).fill(0xee, 0, 4)],
      ]

      test.each(cases)('%s: ends that sandbox with a clear error', async (_, bytes) => {
        await hostile(forge(bytes), async (sandbox) => {
          const answer = await callTool(sandbox, 'run', {}, { timeoutMs: 20_000 })
          expect(answer.outcome).toEqual({
            code: 'sandbox_failed',
            message: 'The sandbox ended in the middle of its work.',
          })
          expect(await sandbox.gone).toMatchObject({ code: 'protocol' })
        })
      })

      test('half a frame: ends the sandbox within its deadline', async () => {
        const half = [...frame(31, 1, 'x'.repeat(100)).subarray(0, 50)]
        const body = `${runnerSocket}
      fs.writeSync(runner, new Uint8Array(${JSON.stringify(half)}))
      await Bun.sleep(30_000)`
        await hostile(body, async (sandbox) => {
          const answer = await callTool(sandbox, 'run', {}, { timeoutMs: 20_000 })
          expect(answer.outcome).toMatchObject({ code: 'sandbox_failed' })
          expect((await sandbox.gone).detail).toContain('did not arrive whole within 5000 ms')
        })
      })

      test('a flood of log lines: ends the sandbox', async () => {
        const bytes = Buffer.concat(Array.from({ length: 50 }, () => frame(31, 1, '{"line":"x"}')))
        const body = `
      const bytes = new Uint8Array(${JSON.stringify([...bytes])})
      ${runnerSocket}
      for (let n = 0; n < 1000; n++) { try { fs.writeSync(runner, bytes) } catch {} await Bun.sleep(0) }
      await Bun.sleep(30_000)`
        await hostile(body, async (sandbox) => {
          const answer = await callTool(sandbox, 'run', {}, { timeoutMs: 20_000 })
          expect(answer.outcome.code).toBe('sandbox_failed')
          expect((await sandbox.gone).detail).toContain('too much progress or log')
        })
      })

      test('a result larger than eight megabytes in small pieces: ends the sandbox', async () => {
        const bytes = Buffer.concat(Array.from({ length: 40 }, () => frame(20, 1, 'x')))
        await hostile(forge(bytes), async (sandbox) => {
          const answer = await callTool(sandbox, 'run', {}, { timeoutMs: 20_000 })
          expect(answer.outcome.code).toBe('sandbox_failed')
          expect((await sandbox.gone).detail).toContain('too large')
        })
      })
    })

    test('a sandbox that never says hello is ended, and its slot is usable again', async () => {
      // The token is missing, so the guest exits before it dials.
      const starting = stack.sandbox(13, { times: { startMs: 60_000 } })
      writeFileSync(`${stack.slotsDir}/13/c/token`, '')
      await expect(starting).rejects.toThrow('ended')
      const sandbox = await stack.sandbox(13)
      sandbox.stop()
      await sandbox.gone
    })
  })
}

/** 0 when it has just gone. */
function threadsOf(pid: number): number {
  try {
    return Number(/^Threads:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])
  } catch {
    return 0
  }
}
