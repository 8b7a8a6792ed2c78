/** What is refused, request by request: ours beside oidc-provider, each difference with its reason. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { type Stack, startStack } from '../stack.ts'
import { authorizationRows } from './authorization-rows.ts'
import { codeRows, refreshRows } from './grant-rows.ts'
import { startOracle } from './oracle-process.ts'
import { openOurs } from './ours.ts'
import { registrationRows } from './registration-rows.ts'
import { outcomeOf, type Row } from './row.ts'
import type { Side } from './side.ts'
import { clientRows, formRows } from './token-rows.ts'
import {
  discoveryRows,
  introspectionRows,
  resourceRows,
  revocationRows,
} from './token-state-rows.ts'

const MIN_REFUSALS = 120
const accepted = /^(2\d\d|redirect code)/

let stack: Stack
let ours: Side
let oracle: Awaited<ReturnType<typeof startOracle>>

beforeAll(async () => {
  stack = await startStack()
  ours = (await openOurs(stack)).side
  oracle = await startOracle()
}, 180_000)
afterAll(async () => {
  await oracle?.[Symbol.asyncDispose]()
  await stack?.[Symbol.asyncDispose]()
})

const tables: [string, Row[]][] = [
  ['authorization', authorizationRows],
  ['authentication of clients', clientRows],
  ['the token form', formRows],
  ['redeeming a code', codeRows],
  ['refreshing', refreshRows],
  ['revocation', revocationRows],
  ['introspection', introspectionRows],
  ['the protected resource', resourceRows],
  ['registration', registrationRows],
  ['discovery', discoveryRows],
]

for (const [name, rows] of tables) {
  describe(name, () => {
    for (const row of rows) {
      test(row.name, async () => {
        const [our, theirs] = await Promise.all([outcomeOf(row, ours), outcomeOf(row, oracle.side)])
        expect({ ours: our, oracle: theirs }).toEqual({
          ours: row.ours,
          oracle: row.oracle?.answers ?? row.ours,
        })
      })
    }
  })
}

test(`at least ${MIN_REFUSALS} of the requests are refused`, () => {
  const refused = tables.flatMap(([, rows]) => rows).filter(({ ours }) => !accepted.test(ours))
  expect(refused.length).toBeGreaterThanOrEqual(MIN_REFUSALS)
})

test('a difference is one, and its reason is a sentence', () => {
  for (const { name, ours, oracle } of tables.flatMap(([, rows]) => rows)) {
    if (oracle === undefined) continue
    expect([name, oracle.answers]).not.toEqual([name, ours])
    expect([name, oracle.because]).toEqual([name, expect.stringMatching(/^[A-Z].{30,}\.$/)])
  }
})
