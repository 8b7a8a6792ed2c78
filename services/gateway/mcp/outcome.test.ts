/** What the span of a call ends with: a tool that fails answers like any other, and must not look healthy. */
import { expect, test } from 'bun:test'
import type { CallOutcome } from '../runner-link.ts'
import { outcomeText } from './outcome.ts'

const bytes = (result: unknown) => new TextEncoder().encode(JSON.stringify(result))
const context = {
  runner: { judge() {} },
  target: { serverId: 'srv_a', epoch: 1, serverInfo: '{}' },
  arrival: { requestId: 'req-1' },
}
const content = [{ type: 'text', text: 'x' }]

test.each<[string, CallOutcome, string | undefined]>([
  ['a result', { kind: 'result', bytes: bytes({ content }) }, undefined],
  [
    'an error of the tool',
    { kind: 'result', bytes: bytes({ content, isError: true }) },
    'tool_error',
  ],
  ['what is no result', { kind: 'result', bytes: bytes([]) }, 'result_invalid'],
  ['a failure', { kind: 'failed', code: 'deadline', message: 'Too long.' }, 'deadline'],
])('%s', (_, outcome, failure) => {
  const ended: unknown[] = []
  const span = { trace: '', set() {}, end: (why?: string) => ended.push(why) }
  const call = { id: 1, tool: 'echo', args: {}, era: 'legacy' as const }
  outcomeText(call, context, outcome, span)
  expect(ended).toEqual([failure])
})
