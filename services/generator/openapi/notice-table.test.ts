/** The table of notices in the README is the one that the code prints, and it knows every notice that drafts carry. */
import { expect, test } from 'bun:test'
import { readdirSync, readFileSync } from 'node:fs'
import { draftFromOpenApi } from './draft.ts'
import { noticeTable, noticeTableMarkdown } from './notice-table.ts'
import { documentUrl, fixture } from './testing.ts'

const fixtures = new URL('fixtures/', import.meta.url)

test('finds the printed table in the README', () => {
  const readme = readFileSync(new URL('README.md', import.meta.url), 'utf8')
  const block = /<!-- notice table -->\n([\s\S]*?)\n?<!-- end of notice table -->/.exec(readme)?.[1]
  expect(block).toBe(noticeTableMarkdown())
})

test('reads the words of every place that speaks', () => {
  expect(noticeTable().unread).toEqual([])
})

test('finds every notice of drafted documents in the table', () => {
  const said = new Set<string>()
  for (const name of readdirSync(fixtures)) {
    const { warnings, refusals } = draftFromOpenApi(fixture(name), { documentUrl })
    for (const { message } of [...warnings, ...refusals]) said.add(message)
  }
  const known = noticeTable().rows.map(({ words }) => patternOf(words))
  const unknown = [...said].filter((message) => !known.some((pattern) => pattern.test(message)))
  expect(said.size).toBeGreaterThan(5)
  expect(unknown).toEqual([])
})

/** The sentence with anything where it has `…`, and the count of places that a group of warnings ends in. */
function patternOf(words: string): RegExp {
  const parts = words.split('…').map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&'))
  return new RegExp(`^${parts.join('.*')}(?: \\(And in \\d+ more places\\.\\))?$`, 's')
}
