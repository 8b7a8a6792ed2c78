import { expect, test } from 'bun:test'
import { compilablePattern } from './schema-pattern.ts'

test('keeps a pattern that compiles with the u flag', () => {
  for (const pattern of ['^[a-z]+$', String.raw`^\p{L}{2,}\.\d$`, String.raw`[\-\]]{3}`]) {
    expect(compilablePattern(pattern)).toBe(pattern)
  }
})

test('rewrites loose syntax so that the same texts fit', () => {
  const cases: [pattern: string, fits: string[], refused: string[]][] = [
    [String.raw`^[a-zA-Z0-9\-\_]{2,5}$`, ['a-_', 'ab'], ['a', 'a\\b', 'a b']],
    [String.raw`^arn\:aws\/[\w-.]{1,3}$`, ['arn:aws/a-.'], ['arn\\:aws/a', 'arn:aws/']],
    ['^{[0-9a-f]{4}}$', ['{00ff}'], ['00ff', '{00f}']],
    [String.raw`^(a|\{b\}|{c-d}){1,2}$`, ['a{b}', '{c-d}'], ['c', '{b']],
    [String.raw`^[\w\s-]+\@x$`, ['a -b@x'], ['a+@x']],
  ]
  for (const [pattern, fits, refused] of cases) {
    expect(() => new RegExp(pattern, 'u')).toThrow()
    const made = new RegExp(compilablePattern(pattern) ?? '(?!)', 'u')
    for (const text of fits) expect([text, made.test(text)]).toEqual([text, true])
    for (const text of refused) expect([text, made.test(text)]).toEqual([text, false])
    for (const text of [...fits, ...refused]) {
      expect(made.test(text)).toBe(new RegExp(pattern).test(text))
    }
  }
})

test('leaves out a pattern of another dialect, and one that is too long', () => {
  for (const pattern of ['(', String.raw`\Aabc\Z`, String.raw`\p{Alnum}`, 'a'.repeat(501)]) {
    expect(compilablePattern(pattern)).toBeUndefined()
  }
})
