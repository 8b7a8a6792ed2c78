import { expect, test } from 'bun:test'
import { oneLine, table, visible } from './output.ts'

test('what a terminal would act on is spelled out; lines and tabs stay', () => {
  expect(visible('\u001b]52;c;ZXZpbA==\u0007\u009b2J')).toBe(
    '\\u001b]52;c;ZXZpbA==\\u0007\\u009b2J',
  )
  expect(visible('abc\u202ecba\r')).toBe('abc\\u202ecba\\u000d')
  expect(visible('Zwei Zeilen:\n\tÄ 中 🙂')).toBe('Zwei Zeilen:\n\tÄ 中 🙂')
})

test('a log message or a cell forges no second line', () => {
  expect(oneLine('done\n2026-11-22 platform  all is well')).not.toContain('\n')
  expect(table([['a\nb', 'c']]).split('\n')).toHaveLength(1)
})
