/** What a soak found, as the table that it prints. */
import { machineLoad } from '../figure.ts'
import type { Totals } from './load.ts'
import { type Memory, megabytes } from './memory.ts'

/** What ten minutes must hold. */
const wanted = { wakes: 5_000, cancelled: 5_000, deployed: 500, deleted: 500 }
const WANTED_MINUTES = 10

export type SoakResult = {
  minutes: number
  totals: Totals
  wakes: number
  memory: Memory[]
  before: [string, number][]
  after: [string, number][]
  /** Empty when all is as it must be. */
  violations: string[]
}

/** A machine that is too slow for the work shows nothing. */
export function tooFew({
  minutes,
  totals,
  wakes,
}: Pick<SoakResult, 'minutes' | 'totals' | 'wakes'>): string[] {
  const had = { ...totals, wakes }
  return Object.entries(wanted).flatMap(([what, count]) => {
    const least = Math.floor((count * minutes) / WANTED_MINUTES)
    const found = had[what as keyof typeof wanted]
    return found < least ? [`only ${found} ${what}, at least ${least} were meant`] : []
  })
}

export function soakReport({
  minutes,
  totals,
  wakes,
  memory,
  before,
  after,
  violations,
}: SoakResult): string {
  const was = new Map(before)
  const changed = after.filter(([what, count]) => (was.get(what) ?? 0) !== count)
  return [
    `${new Date().toISOString().slice(0, 10)}, ${minutes} minutes, 50 servers, half of them asleep; load average ${machineLoad().toFixed(1)}`,
    '',
    '| done | |',
    '|---|---|',
    ...Object.entries({ ...totals, wakes, examples: undefined })
      .filter(([, count]) => count !== undefined)
      .map(([what, count]) => `| ${what} | ${count} |`),
    '',
    '| own memory of | start | middle | end | a minute, second half |',
    '|---|---|---|---|---|',
    ...memory.map(
      ({ name, start, middle, end, perMinute }) =>
        `| ${name} | ${megabytes(start)} | ${megabytes(middle)} | ${megabytes(end)} | ${megabytes(perMinute)} |`,
    ),
    '',
    '| counted | before | after |',
    '|---|---|---|',
    ...changed.map(([what, count]) => `| ${what} | ${was.get(what) ?? 0} | ${count} |`),
    '',
    violations.length === 0
      ? 'Nothing is left behind, nothing grew, nothing failed.'
      : violations.map((each) => `✗ ${each}`).join('\n'),
  ].join('\n')
}
