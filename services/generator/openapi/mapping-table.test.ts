/** The table in the README is the one that the code prints. */
import { expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { mappingTable, mappingTableMarkdown } from './mapping-table.ts'

test('the README holds the table that the code prints', () => {
  const readme = readFileSync(new URL('README.md', import.meta.url), 'utf8')
  const block = /<!-- mapping table -->\n([\s\S]*?)\n?<!-- end of mapping table -->/.exec(
    readme,
  )?.[1]
  expect(block).toBe(mappingTableMarkdown())
})

test('every row has an example', () => {
  for (const { part, example } of mappingTable()) {
    expect([part, example]).not.toEqual([part, ''])
    expect([part, example]).not.toEqual([part, '{}'])
  }
})
