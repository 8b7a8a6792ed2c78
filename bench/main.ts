/** `./bmm bench [name…] [--json]`: starts a stack of its own, measures, prints a table, and leaves nothing behind. */

import { openPlatform } from '@bmm/tests/platform'
import { startStack } from '@bmm/tests/stack'
import { type Figure, figureTable, machineLoad } from './figure.ts'
import { measures } from './measures.ts'

/**
 * Each person comes from an address of their own, as behind a proxy: sign-ins are counted by address. The limits of
 * sandboxes are the stack's own, but for memory: 32 users at a time must fit on a small machine, too.
 */
const stackEnv = { BMM_TRUSTED_PROXIES: '127.0.0.1,::1', BMM_SANDBOX_MEMORY_MB: '32768' }

const words = process.argv.slice(2)
const wanted = words.filter((word) => word !== '--json')
const unknown = wanted.filter((name) => !Object.hasOwn(measures, name))
if (unknown.length > 0) {
  process.stderr.write(
    `bmm: no such bench: ${unknown.join(', ')}. There are: ${Object.keys(measures).join(', ')}.\n`,
  )
  process.exit(2)
}
const failed = await bench()
process.exit(failed ? 1 : 0)

/** Whether something could not be measured. */
async function bench(): Promise<boolean> {
  const begun = performance.now()
  const loadBefore = machineLoad()
  await using stack = await startStack('bwrap', stackEnv)
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => void stack[Symbol.asyncDispose]().then(() => process.exit(1)))
  }
  const platform = await openPlatform(stack, 'bench@example.com')
  const figures: Figure[] = []
  let failed = false
  for (const [name, measure] of Object.entries(measures)) {
    if (wanted.length > 0 && !wanted.includes(name)) continue
    process.stderr.write(`measuring ${name}\n`)
    try {
      figures.push(...(await measure(platform)))
    } catch (error) {
      failed = true
      process.stderr.write(`${name} could not be measured: ${error}\n`)
      figures.push({ what: name, value: 'not measured' })
    }
  }
  const command = ['./bmm bench', ...wanted].join(' ')
  const run = { at: new Date(), command, tookMs: performance.now() - begun, loadBefore }
  const asJson = words.includes('--json')
  const text = asJson ? JSON.stringify({ ...run, figures }) : figureTable(figures, run)
  process.stdout.write(`${text}\n`)
  return failed
}
