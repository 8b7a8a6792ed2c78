/** Payloads of frames, and the ids of calls: what is malformed is a fault. */
import { expect, test } from 'bun:test'
import { callIds, FrameFault, nestingOf, parseCall, parseControl } from './frames.ts'

const bytes = (text: string) => new TextEncoder().encode(text)

test.each([
  ['no header length', new Uint8Array(3)],
  ['a header longer than the frame', new Uint8Array([0, 0, 0, 9, 123, 125])],
  ['a header that is not JSON', new Uint8Array([0, 0, 0, 1, 123])],
])('a call with %s is a fault', (_, payload) => {
  expect(() => parseCall(payload)).toThrow(FrameFault)
})

test.each([
  ['too large', bytes(JSON.stringify('x'.repeat(70_000))), 'too large'],
  ['too deep', bytes(`${'['.repeat(40)}${']'.repeat(40)}`), 'too deep'],
  ['not UTF-8', new Uint8Array([0x22, 0xff, 0x22]), 'not JSON'],
  ['not JSON', bytes('{"a":}'), 'not JSON'],
  ['empty', new Uint8Array(), 'not JSON'],
])('a control payload that is %s is a fault', (_, payload, reason) => {
  expect(() => parseControl(payload)).toThrow(reason)
})

test('nesting counts brackets outside strings only', () => {
  expect(nestingOf(bytes('{"a":["[[[",{"b":"\\"[["}]}'))).toBe(3)
  expect(nestingOf(bytes('[[],[],[]]'))).toBe(2)
})

test('call ids ascend and are refused when they come again', () => {
  const mine = callIds()
  expect([mine.next(), mine.next()]).toEqual([1, 2])
  const theirs = callIds()
  theirs.admit(5)
  expect(() => theirs.admit(5)).toThrow(FrameFault)
  expect(() => theirs.admit(4)).toThrow(FrameFault)
  theirs.admit(6)
})
