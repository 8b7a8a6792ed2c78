/** The corpus of attempts in real sandboxes of each driver, with a neighbour that goes on being called. Needs root. */
import { afterAll, afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import {
  callTool,
  loadTools,
  startTestStack,
  type TestAnswer,
  type TestStack,
} from '@bmm/runner/keeper/testing.ts'
import { testDrivers } from '@bmm/runner/keeper/testing-process.ts'
import type { Sandbox } from '@bmm/runner/sandbox/sandbox.ts'
import { type Attempt, type Group, prelude } from './attempt.ts'
import { files } from './files.ts'
import { frames } from './frames.ts'
import { language } from './language.ts'
import { type Neighbour, openNeighbour } from './neighbour.ts'
import { resources } from './resources.ts'
import { systemCalls } from './system-calls.ts'
import { time } from './time.ts'

setDefaultTimeout(120_000)

const groups: readonly Group[] = [files, systemCalls, resources, frames, language, time]
const all = groups.flatMap(({ attempts }) => attempts)
const SLOTS = 14
const SHARED_SLOT = 14
const NEIGHBOUR_SLOT = 15
const CALL_TIMEOUT_MS = 20_000
/** From the answer of a call, or its failure, to the end of its sandbox. */
const END_MS = 30_000
/** What a sandbox that must go on may take to let a call go: its first thread waits for a processor like all others. */
const PATIENT_MS = 15_000
/** A shared machine has its moments: what counts is that the neighbour is neither stopped nor starved. */
const SLOWEST_MS = 5_000
const MEDIAN_MS = 250

/** One tool an attempt: no text becomes code in a sandbox. */
const tools = {
  ...Object.fromEntries(all.map((attempt) => [toolOf(attempt), bodyOf(attempt)] as const)),
  well: "async () => 'well'",
}

function toolOf(attempt: Attempt): string {
  return `attempt_${all.indexOf(attempt)}`
}

function bodyOf({ code }: Attempt): string {
  return `async (input, ctx) => {
    ${prelude}
    const answer = await (async () => { ${code}\n })()
    return JSON.stringify(answer ?? null)
  }`
}

test('there are as many as promised, each with an intent of its own', () => {
  const intents = all.map(({ intent }) => intent)
  expect(intents.length).toBeGreaterThanOrEqual(60)
  expect(new Set(intents).size).toBe(intents.length)
})

for (const driver of testDrivers) {
  describe(`by ${driver}`, () => {
    let stack: TestStack
    let neighbour: Neighbour
    /** For attempts that leave no mark on their sandbox. */
    let shared: Sandbox | undefined
    let next = 0
    beforeAll(async () => {
      stack = await startTestStack('hostile', driver)
      neighbour = await openNeighbour(stack, NEIGHBOUR_SLOT)
    })
    afterAll(async () => {
      shared?.stop()
      await shared?.gone
      await neighbour?.[Symbol.asyncDispose]()
      await stack?.stop()
    })
    afterEach(async () => {
      const { wrong, slowestMs, medianMs } = await neighbour.fare()
      expect(wrong).toEqual([])
      expect(medianMs).toBeLessThan(MEDIAN_MS)
      expect(slowestMs).toBeLessThan(SLOWEST_MS)
    })

    async function open(options: Attempt['options'] = {}): Promise<Sandbox> {
      const { more, slot = next++ % SLOTS, ...rest } = options
      const sandbox = await stack.sandbox(slot, rest)
      await loadTools(sandbox, tools, more)
      return sandbox
    }

    async function sandboxFor(attempt: Attempt): Promise<Sandbox> {
      const times = 'ends' in attempt.seen ? {} : { graceMs: PATIENT_MS }
      if (attempt.alone === true) return await open({ times, ...attempt.options })
      if (shared === undefined || shared.ended) shared = await open({ times, slot: SHARED_SLOT })
      return shared
    }

    function run(sandbox: Sandbox, attempt: Attempt): Promise<TestAnswer> {
      const { cancelAfterMs, timeoutMs = CALL_TIMEOUT_MS } = attempt
      const onStart = (call: number) => {
        if (cancelAfterMs !== undefined) setTimeout(() => sandbox.cancel(call), cancelAfterMs)
      }
      return callTool(sandbox, toolOf(attempt), { text: 'text' }, { timeoutMs, onStart })
    }

    for (const { name, attempts } of groups) {
      describe(name, () => {
        test.each(attempts.map((attempt) => [attempt.intent, attempt] as const))(
          'to %s',
          async (_, attempt) => {
            const sandbox = await sandboxFor(attempt)
            const { slot } = sandbox
            try {
              const watching = attempt.watch?.({ driver, stack, sandbox })
              const answer = await run(sandbox, attempt)
              await watching
              await expectSeen(attempt, answer, sandbox)
            } finally {
              if (attempt.alone === true) {
                sandbox.stop()
                await sandbox.gone
                expect(await stack.leftOf(slot)).toEqual([])
              }
            }
          },
        )
      })
    }

    async function expectSeen({ seen }: Attempt, answer: TestAnswer, sandbox: Sandbox) {
      const { outcome, result } = answer
      const text = result.content[0]?.text ?? ''
      if ('ends' in seen) {
        const late = Bun.sleep(END_MS).then(
          () => ({ code: 'goes on', detail: outcome.code }) as const,
        )
        const { code, detail } = await Promise.race([sandbox.gone, late])
        expect([code, detail, seen.ends.some((each) => each === code)]).toEqual([
          code,
          detail,
          true,
        ])
        if (seen.detail) expect(detail).toMatch(seen.detail)
        if (seen.message) expect(outcome).toEqual({ code: 'sandbox_failed', message: seen.message })
        return
      }
      if ('fails' in seen) {
        expect(outcome.code).toBe(seen.fails)
      } else if ('error' in seen) {
        expect([outcome.code, result.isError, text]).toEqual([
          'ok',
          true,
          expect.stringMatching(seen.error),
        ])
      } else {
        expect([outcome.code, result.isError ?? false, text]).toEqual(['ok', false, text])
        const value: unknown = JSON.parse(text)
        if ('refused' in seen) expectRefused(value)
        else expect(value).toEqual('answer' in seen ? seen.answer : seen.answerBy(driver))
      }
      const well = await callTool(sandbox, 'well', {}, { timeoutMs: CALL_TIMEOUT_MS })
      expect(well.result.content[0]?.text).toBe('well')
    }
  })
}

/** Each thing that was tried failed, and there was something. */
function expectRefused(value: unknown) {
  const list = value as [string, unknown][]
  expect(list.length).toBeGreaterThan(0)
  expect(list.filter(([how]) => how !== 'refused')).toEqual([])
}
