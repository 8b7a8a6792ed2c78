import { describe, expect, test } from 'bun:test'
import { draftFromOpenApi } from './draft.ts'
import { withIndentedQuotes } from './yaml-indent.ts'

const head = 'openapi: 3.0.3\nservers: [{url: "https://api.example.com"}]\n'
const paths = 'paths:\n  /a: {get: {operationId: getA, responses: {"200": {description: ok}}}}\n'

function described(info: string): string {
  return draftFromOpenApi(`${head}${info}${paths}`).spec.description
}

describe('quoted text that stands too far left', () => {
  test.each([
    [
      'double quotes',
      'info:\n  title: W\n  description: "Weather of today.\n<br>\nAnd of tomorrow."\n',
    ],
    [
      'single quotes',
      "info:\n  title: W\n  description: 'Weather of today.\n<br>\nAnd of tomorrow.'\n",
    ],
    [
      'an empty line and a quote',
      'info:\n  description: "It\'s \\"so\\":\n\nkey: value"\n  title: W\n',
    ],
  ])('in %s is imported', (_name, info) => {
    expect(described(info)).toMatch(/Weather of today\.\s+And of tomorrow\.|It's "so":\nkey: value/)
  })

  test('in a list keeps what follows', () => {
    const tags = 'info: {title: W}\ntags:\n  - name: a\n    description: "one\ntwo"\n  - name: b\n'
    expect(draftFromOpenApi(`${head}${tags}${paths}`).spec.tools).toHaveLength(1)
  })

  test('is no reason to touch block texts, comments and plain texts', () => {
    const text = 'a: |\n  "open\nb: it\'s\n# "c\nc: >-\n\n   key: "x\nd: "e"\n'
    expect(withIndentedQuotes(text)).toBe(text)
  })

  test('that never ends is refused with its place', () => {
    expect(() => draftFromOpenApi(`${head}info:\n  title: "W\n${paths}`)).toThrow(
      /line \d+, column \d+/,
    )
  })
})
