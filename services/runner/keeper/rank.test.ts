/** Ranks by readings alone, a period of 100 ms after the other. */
import { expect, test } from 'bun:test'
import { firstRank, nextRank } from './rank.ts'

const PERIOD_MS = 100
const [front, behind] = ['-', 'B']

/** The rank after each period in which this many cores were used; undefined: nothing tells. */
function ranks(used: readonly (number | undefined)[], longCores?: number): string {
  let usedMs = 0
  let rank = firstRank({ usedMs, atMs: 0 })
  return used
    .map((cores, at) => {
      usedMs += (cores ?? 0) * PERIOD_MS
      const reading = { usedMs: cores === undefined ? cores : usedMs, atMs: (at + 1) * PERIOD_MS }
      rank = nextRank(rank, reading, longCores)
      return rank.isBehind ? behind : front
    })
    .join('')
}

test.each([
  ['half a core is long after two periods', [0.5, 0.5, 0.5], '-BB'],
  ['a whole period of half a core is not', [0.5, 0, 0, 0.5], '----'],
  ['a quarter of a core by and by is', Array(30).fill(0.26), `${'-'.repeat(6)}${'B'.repeat(24)}`],
  ['less never is', Array(30).fill(0.24), '-'.repeat(30)],
  ['five quiet periods bring forward', [0.5, 0.5, 0, 0, 0, 0, 0, 0], '-BBBBB--'],
  ['a long one in between begins anew', [0.5, 0.5, 0, 0, 0, 0, 0.9, 0, 0, 0, 0, 0], '-BBBBBBBBBB-'],
  ['periods that tell nothing are quiet', [1, ...Array(6).fill(undefined)], 'BBBBB--'],
  ['who never tells stays in front', Array(6).fill(undefined), '-'.repeat(6)],
])('%s', (_, used, expected) => {
  expect(ranks(used)).toBe(expected)
})

test('where a limit leaves less than a quarter of a core, most of that is long', () => {
  expect(ranks([0.08, 0.08, 0.08, 0.08, 0.08], 0.06)).toBe('--BBB')
  expect(ranks([0.04, 0.04, 0.04, 0.04, 0.04], 0.06)).toBe('-----')
  expect(ranks([0.2, 0.2, 0.2, 0.2, 0.2], 0.4)).toBe('-----')
})

test('a count that falls is no use, and takes nothing from what came before', () => {
  const first = firstRank({ usedMs: 1_000, atMs: 0 })
  const long = nextRank(first, { usedMs: 1_100, atMs: 100 })
  const fallen = nextRank(long, { usedMs: 0, atMs: 200 })
  expect([long.cores, fallen.cores]).toEqual([0.4, 0.24])
})
