/** Who gets a processor, and how much of it, by what the kernel and the engine were told. Needs root. */
import { describe, expect, setDefaultTimeout, test } from 'bun:test'
import { existsSync, readFileSync } from 'node:fs'
import { until } from '@bmm/lib/testing-until'
import { callTool, loadTools, startTestStack } from './testing.ts'
import { testDrivers } from './testing-process.ts'
import { processUsedMs } from './used-time.ts'

setDefaultTimeout(120_000)

for (const driver of testDrivers) {
  describe(`by ${driver}`, () => {
    test('sandboxes of an organisation share its budget of processor time; others have theirs', async () => {
      const budgetCores = 0.1
      const stack = await startTestStack('budget', driver, {
        env: { BMM_ORG_CORES: String(budgetCores) },
      })
      try {
        const slots = [0, 1, 2, 3]
        const sandboxes = await Promise.all(slots.map((slot) => stack.sandbox(slot)))
        for (const [slot, sandbox] of sandboxes.entries()) {
          await loadTools(sandbox, { spin: 'async () => { for (;;) {} }' })
          callTool(sandbox, 'spin', {}, { timeoutMs: 100_000 }).catch(() => {})
          stack.link.charge(slot, slot < 3 ? 'org_hogs' : 'org_other')
        }
        const quotaUs = (slot: number) => {
          const v1 = stack.groupFile(slot, 'cpu', 'cpu.cfs_quota_us')
          const file = existsSync(v1) ? v1 : stack.groupFile(slot, '.', 'cpu.max')
          return Number.parseInt(readFileSync(file, 'utf8'), 10)
        }
        const hogs = [0, 1, 2]
        const evenShareUs = 3_333
        await until(() => hogs.every((slot) => quotaUs(slot) === evenShareUs))
        expect(quotaUs(3)).toBeGreaterThanOrEqual(budgetCores * 100_000)
        const usedMs = () =>
          hogs
            .flatMap((slot) => stack.processesOf(slot))
            .reduce((sum, pid) => sum + (processUsedMs(pid) ?? 0), 0)
        const [begun, before] = [performance.now(), usedMs()]
        await Bun.sleep(2_000)
        const cores = (usedMs() - before) / (performance.now() - begun)
        expect(cores).toBeGreaterThan(0)
        expect(cores).toBeLessThan(budgetCores * 1.4)
        sandboxes[0]?.stop()
        sandboxes[1]?.stop()
        await until(() => quotaUs(2) > 2 * evenShareUs)
      } finally {
        await stack.stop()
      }
    })

    test('a sandbox that computes for long stands behind everybody, and comes forward afterwards', async () => {
      // Most of a small limit is soon used, also where the machine has much else to do.
      const env = { BMM_ORG_CORES: '0.1' }
      const stack = await startTestStack('rank', driver, { env })
      try {
        const sandbox = await stack.sandbox(0, { times: { graceMs: 30_000 } })
        // Until it is cancelled, which it can see.
        const busy = `async (_, ctx) => {
          while (!ctx.signal.aborted) {
            const end = Date.now() + 50
            while (Date.now() < end);
            await new Promise((resolve) => setTimeout(resolve, 0))
          }
        }`
        await loadTools(sandbox, { busy })
        stack.link.charge(0, 'org_busy')
        const read = (file: string) => {
          const v1 = stack.groupFile(0, 'cpu', file)
          return readFileSync(existsSync(v1) ? v1 : stack.groupFile(0, '.', file), 'utf8').trim()
        }
        const isV1 = existsSync(stack.groupFile(0, 'cpu', 'cpu.shares'))
        const weight = () => read(isV1 ? 'cpu.shares' : 'cpu.weight')
        const usual = weight()
        // The engine knows weights only.
        const isBehind = () => (driver === 'docker' ? weight() : read('cpu.idle'))
        let call = 0
        const onStart = (id: number) => {
          call = id
        }
        const done = callTool(sandbox, 'busy', {}, { timeoutMs: 100_000, onStart })
        await until(() => isBehind() === (driver === 'docker' && isV1 ? '2' : '1'))
        sandbox.cancel(call)
        await done
        await until(() => weight() === usual)
        if (driver === 'bwrap') expect(read('cpu.idle')).toBe('0')
        sandbox.stop()
        await sandbox.gone
      } finally {
        await stack.stop()
      }
    })
  })
}
