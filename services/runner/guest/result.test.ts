/** What a tool with an output schema answers: what it promised, or an error that says what was wrong. */
import { describe, expect, test } from 'bun:test'
import { schemaCheck } from './input.ts'
import { markResult, resultText } from './result.ts'

const promise = schemaCheck(
  { type: 'object', properties: { n: { type: 'number' } }, required: ['n'] },
  'structuredContent',
)
const text = { type: 'text', text: 'x' }

describe('a tool that promises an output schema', () => {
  test('answers a plain value as text and as structured content', () => {
    expect(JSON.parse(resultText({ n: 1 }, promise))).toEqual({
      content: [{ type: 'text', text: '{"n":1}' }],
      structuredContent: { n: 1 },
    })
  })

  test('answers a whole result as it is', () => {
    const result = markResult({ content: [text], structuredContent: { n: 1 } })
    expect(JSON.parse(resultText(result, promise))).toEqual({
      content: [text],
      structuredContent: { n: 1 },
    })
  })

  test('may answer an error without structured content', () => {
    const result = markResult({ content: [text], isError: true })
    expect(JSON.parse(resultText(result, promise))).toEqual({ content: [text], isError: true })
  })

  test('never answers without it', () => {
    expect(() => resultText(markResult({ content: [text] }), promise)).toThrow(/answered none/)
    expect(() => resultText(undefined, promise)).toThrow(/answered none/)
  })

  test('never answers another type', () => {
    const wrong = markResult({ content: [text], structuredContent: { n: 'text' } })
    expect(() => resultText(wrong, promise)).toThrow(/structuredContent\.n|n: /)
    expect(() => resultText('plain', promise)).toThrow(/does not fit the outputSchema/)
    expect(() => resultText({}, promise)).toThrow(/n: It is missing/)
  })

  test('is held to what travels, not to what the value was before', () => {
    expect(() => resultText({ n: { toJSON: () => 'x' } }, promise)).toThrow(/n: /)
    expect(JSON.parse(resultText({ n: { toJSON: () => 2 } }, promise)).structuredContent.n).toBe(2)
  })
})

test('a tool without one answers as before', () => {
  expect(resultText('a')).toBe('{"content":[{"type":"text","text":"a"}]}')
  expect(resultText(undefined)).toBe('{"content":[]}')
})
