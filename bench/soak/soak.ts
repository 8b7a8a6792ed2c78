/** One soak: a stack is made, used, counted, worked on, and counted again. */
import { signUp } from '@bmm/tests/account'
import { type Stack, startStack } from '@bmm/tests/stack'
import { openStackSql } from '@bmm/tests/traces'
import { countAll, leftBehind } from './leftovers.ts'
import { IDLE_MS, makeSleepers, work } from './load.ts'
import { growing, watchMemory } from './memory.ts'
import { type SoakResult, tooFew } from './report.ts'

const MINUTE_MS = 60_000
const DESCRIPTOR_SLACK = 12
/** Until sandboxes sleep, pools are full and pooled connections are closed. */
const REST_MS = 75_000

/** Works for so many minutes on a stack of its own. */
export async function soak(minutes: number): Promise<SoakResult> {
  await using stack = await startStack('bwrap', { BMM_SANDBOX_IDLE_MS: String(IDLE_MS) })
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => void stack[Symbol.asyncDispose]().then(() => process.exit(1)))
  }
  const account = await signUp(stack, 'soak@example.com')
  const other = await signUp(stack, 'soak-too@example.com')
  process.stderr.write('making the servers\n')
  const sleepers = await makeSleepers(stack, [account, other])
  // Everything has been used once before it is counted: caches are full, pools are open.
  await work(stack, account, sleepers, { name: 'warm', durationMs: MINUTE_MS / 6 })
  await Bun.sleep(REST_MS)
  const before = await countAll(stack)
  const wokenBefore = await countWakes(stack)
  process.stderr.write(`working for ${minutes} minutes\n`)
  const stopWatching = watchMemory(stack)
  const totals = await work(stack, account, sleepers, {
    name: 'passing',
    durationMs: minutes * MINUTE_MS,
  })
  const memory = stopWatching()
  const wakes = (await countWakes(stack)) - wokenBefore
  process.stderr.write('resting, then counting again\n')
  await Bun.sleep(REST_MS)
  const after = await countAll(stack)
  return judged(
    { minutes, totals, wakes, memory, before: [...before], after: [...after] },
    leftBehind(before, after, DESCRIPTOR_SLACK),
  )
}

function judged(found: Omit<SoakResult, 'violations'>, left: string[]): SoakResult {
  const { totals, memory } = found
  const errors =
    totals.errors === 0 ? [] : [`${totals.errors} errors: ${totals.examples.join('; ')}`]
  return { ...found, violations: [...errors, ...tooFew(found), ...growing(memory), ...left] }
}

async function countWakes(stack: Stack): Promise<number> {
  const sql = openStackSql(stack)
  const [row] = await sql<{ n: number }[]>`
    select count(*)::int as n from runner.run_lines
    where level = 'platform' and message like '%woken%'`
  await sql.end({ timeout: 5 })
  return row?.n ?? 0
}
