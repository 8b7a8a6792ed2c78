/** Real sandboxes through a real keeper and each driver: what tools answer. Needs root; a missing part is a failure. */
import { describe, expect, setDefaultTimeout, test } from 'bun:test'
import { writeFileSync } from 'node:fs'
import { MAX_RESULT_BYTES } from '@bmm/lib/frames'
import { outcomeOf } from '@bmm/lib/testing-outcome'
import { callTool } from '../keeper/testing.ts'
import { describeByDriver } from '../keeper/testing-drivers.ts'
import { LoadFailed, type Sandbox } from './sandbox.ts'

setDefaultTimeout(120_000)

describeByDriver('sandbox', (withTools, stack) => {
  describe('a tool', () => {
    test('answers with what its body returns', async () => {
      const tools = {
        text: "async (input) => 'hello ' + input.name",
        value: 'async () => ({ a: [1, null] })',
        nothing: 'async () => {}',
        sync: '() => 7',
        whole: `async (_, ctx) => ctx.result({ content: [{ type: 'text', text: 'x' }], structuredContent: { n: 1 }, isError: false })`,
        lookalike: "async () => ({ content: [{ type: 'text', text: 'not a result' }] })",
      }
      await withTools(tools, async (sandbox) => {
        const result = async (tool: string) => (await callTool(sandbox, tool, { name: '✓' })).result
        expect(await result('text')).toEqual({ content: [{ type: 'text', text: 'hello ✓' }] })
        expect(await result('value')).toEqual({
          content: [{ type: 'text', text: '{"a":[1,null]}' }],
        })
        expect(await result('nothing')).toEqual({ content: [] })
        expect(await result('sync')).toEqual({ content: [{ type: 'text', text: '7' }] })
        expect(await result('whole')).toEqual({
          content: [{ type: 'text', text: 'x' }],
          structuredContent: { n: 1 },
          isError: false,
        })
        expect((await result('lookalike')).content[0]?.text).toContain('"not a result"')
      })
    })

    test('may have a name that means something to the language, and is called only when it is called', async () => {
      const body =
        'async () => { globalThis.calls = (globalThis.calls ?? 0) + 1; return globalThis.calls }'
      const names = ['then', 'constructor', 'toString', 'prototype']
      await withTools(Object.fromEntries(names.map((name) => [name, body])), async (sandbox) => {
        for (const [at, name] of names.entries()) {
          const { result } = await callTool(sandbox, name)
          expect(result.content[0]?.text).toBe(String(at + 1))
        }
      })
    })

    test('that throws answers an error without its stack', async () => {
      const tools = {
        error: "async () => { throw new Error('the sky fell') }",
        text: "async () => { throw 'plain text' }",
        nothing: 'async () => { throw null }',
        cycle: 'async () => { const a = {}; a.a = a; return a }',
        bigint: 'async () => 1n',
        symbol: 'async () => Symbol.iterator',
        badResult: "async (_, ctx) => ctx.result('text')",
        later:
          "async () => { setTimeout(() => { throw new Error('stray') }, 0); Promise.reject(new Error('lost')); await Bun.sleep(50); return 'alive' }",
      }
      await withTools(tools, async (sandbox) => {
        const text = async (tool: string) => {
          const { result, outcome } = await callTool(sandbox, tool)
          expect(outcome.code).toBe('ok')
          expect(result.isError).toBe(true)
          return result.content[0]?.text ?? ''
        }
        expect(await text('error')).toBe('the sky fell')
        expect(await text('text')).toBe('plain text')
        expect(await text('nothing')).toBe('The tool failed without a message.')
        expect(await text('cycle')).toContain('cyclic')
        expect(await text('bigint')).toContain('BigInt')
        expect(await text('symbol')).toBe('a tool cannot return a symbol')
        expect(await text('badResult')).toContain('ctx.result takes')
        const later = await callTool(sandbox, 'later')
        expect(later.result.content[0]?.text).toBe('alive')
        expect(later.log).toContain('uncaught: stray')
        expect(later.log).toContain('unhandled: lost')
      })
    })

    test('gets only arguments that fit its schema; the answer names path and problem', async () => {
      const inputSchema = {
        type: 'object',
        properties: {
          limit: { type: 'integer', minimum: 1 },
          filter: { type: 'object', properties: { 'a/b': { enum: ['x'] } }, required: ['a/b'] },
        },
        required: ['limit'],
        additionalProperties: false,
      }
      const strict = [{ name: 'strict', inputSchema }]
      const source = { strict: 'async (input) => input.limit' }
      await withTools(
        { other: source.strict },
        async (sandbox) => {
          expect((await callTool(sandbox, 'strict', { limit: 2 })).result.content[0]?.text).toBe(
            '2',
          )
          const bad = await callTool(sandbox, 'strict', {
            limit: 0,
            filter: { 'a/b': 'y' },
            more: 1,
          })
          expect(bad.result.isError).toBe(true)
          const lines = (bad.result.content[0]?.text ?? '').split('\n')
          expect(lines[0]).toBe('The arguments do not fit this tool:')
          expect(lines.filter((line) => line.startsWith('- limit: '))).toHaveLength(1)
          expect(lines.filter((line) => line.startsWith('- filter.a/b: '))).toHaveLength(1)
          expect(lines.filter((line) => line.startsWith('- more: '))).toHaveLength(1)
          expect(lines).toHaveLength(4)
          const none = await callTool(sandbox, 'strict', [])
          expect(none.result.isError).toBe(true)
        },
        { more: strict.map((tool) => ({ ...tool, body: source.strict })) },
      )
    })

    test('with a schema that leads nowhere says so', async () => {
      const inputSchema = { type: 'object', properties: { a: { $ref: '#/$defs/none' } } }
      await withTools(
        {},
        async (sandbox) => {
          const { result } = await callTool(sandbox, 'lost', { a: 1 })
          expect(result.isError).toBe(true)
          expect(result.content[0]?.text).toStartWith(
            'The input schema of this tool cannot be used: ',
          )
        },
        { more: [{ name: 'lost', inputSchema, body: 'async () => 1' }] },
      )
    })

    test('reports progress, thinned out, and log lines, bounded', async () => {
      const tools = {
        work: `async (_, ctx) => {
        for (let n = 1; n <= 50; n++) ctx.progress(n, 50, 'step ' + n)
        ctx.log('one', { two: 2 })
        console.log('by console')
        for (let n = 0; n < 1000; n++) ctx.log('x'.repeat(10_000))
        return 'done'
      }`,
      }
      await withTools(tools, async (sandbox) => {
        const { progress, log, result } = await callTool(sandbox, 'work')
        expect(result.content[0]?.text).toBe('done')
        expect(progress[0]).toEqual({ progress: 1, total: 50, message: 'step 1' })
        expect(progress.at(-1)).toEqual({ progress: 50, total: 50, message: 'step 50' })
        expect(progress.length).toBeLessThan(10)
        expect(log[0]).toBe('one {\n  two: 2,\n}')
        expect(log).toContain('by console')
        expect(log).toHaveLength(202)
        expect(Math.max(...log.map((line) => line.length))).toBe(4_000)
      })
    })

    test('runs beside other calls of the same sandbox', async () => {
      // Each but the last waits for the one that began after it.
      const tools = {
        take: `async ({ turn }) => {
          globalThis.turns ??= [0, 1, 2].map(() => Promise.withResolvers())
          if (turn < 2) await turns[turn + 1].promise
          turns[turn].resolve()
          return turn
        }`,
      }
      await withTools(tools, async (sandbox) => {
        const order: string[] = []
        const calls = [0, 1, 2].map(async (turn) => {
          order.push((await callTool(sandbox, 'take', { turn })).result.content[0]?.text ?? '')
        })
        expect(sandbox.inFlight).toBe(3)
        await Promise.all(calls)
        expect(order).toEqual(['2', '1', '0'])
        expect(sandbox.inFlight).toBe(0)
      })
    })

    test('may answer five megabytes, and not more than eight', async () => {
      const tools = { big: "async ({ size }) => 'x'.repeat(size)" }
      await withTools(tools, async (sandbox) => {
        const five = await callTool(sandbox, 'big', { size: 5 * 1024 * 1024 })
        expect(five.result.content[0]?.text.length).toBe(5 * 1024 * 1024)
        const nine = await callTool(sandbox, 'big', { size: MAX_RESULT_BYTES + 1 })
        expect(nine.outcome.code).toBe('result_too_large')
        expect(nine.bytes).toBe(0)
        expect((await callTool(sandbox, 'big', { size: 1 })).outcome.code).toBe('ok')
      })
    })

    test('finds a sentence instead of a network', async () => {
      const tools = {
        fetch: "async () => await fetch('https://example.com')",
        socket: "async () => new WebSocket('wss://example.com')",
      }
      await withTools(tools, async (sandbox) => {
        for (const tool of ['fetch', 'socket']) {
          const { result } = await callTool(sandbox, tool)
          expect(result.isError).toBe(true)
          expect(result.content[0]?.text).toContain('ctx.fetch(url, init)')
        }
      })
    })
  })

  describe('the end of a call', () => {
    const tools = {
      patient: `async (_, ctx) => {
      const { promise, resolve } = Promise.withResolvers()
      ctx.signal.addEventListener('abort', () => { globalThis.seen = ctx.signal.reason.message; resolve() })
      await promise
      return 'too late'
    }`,
      seen: 'async () => globalThis.seen',
      spin: 'async () => { for (;;) {} }',
      talkative: `async (_, ctx) => {
      for (let step = 1; step < 8; step++) {
        await new Promise((resolve) => setTimeout(resolve, 50))
        ctx.progress(step)
        ctx.log('still here')
      }
    }`,
    }

    /** On a loaded machine a guest hears late that its call is over: these sandboxes must go on. */
    const withPatience = (use: Parameters<typeof withTools>[1], graceMs = 15_000) =>
      withTools(tools, use, { times: { graceMs } })
    const cancelledSoon = (sandbox: Sandbox, tool: string) =>
      callTool(sandbox, tool, {}, { onStart: (id) => setTimeout(() => sandbox.cancel(id), 50) })

    test('by cancelling aborts ctx.signal, answers at once and leaves the sandbox in use', async () => {
      await withPatience(async (sandbox) => {
        const answer = await cancelledSoon(sandbox, 'patient')
        expect(answer.outcome).toEqual({ code: 'cancelled', message: 'The call was cancelled.' })
        const seen = await callTool(sandbox, 'seen')
        expect(seen.result.content[0]?.text).toBe('The call was cancelled.')
        await Bun.sleep(2_500)
        expect(sandbox.ended).toBe(false)
      }, 2_000)
    })

    test('and what its body still says afterwards is heard by nobody', async () => {
      await withPatience(async (sandbox) => {
        const cancelled = await callTool(sandbox, 'talkative', {}, { timeoutMs: 100 })
        expect(cancelled.outcome.code).toBe('deadline')
        await Bun.sleep(500)
        expect((await callTool(sandbox, 'seen')).outcome.code).toBe('ok')
      })
    })

    test('by its deadline answers so and leaves the sandbox in use', async () => {
      await withPatience(async (sandbox) => {
        const answer = await callTool(sandbox, 'patient', {}, { timeoutMs: 200 })
        expect(answer.outcome.code).toBe('deadline')
        const seen = await callTool(sandbox, 'seen')
        expect(seen.result.content[0]?.text).toBe('The time of the call is over.')
      })
    })

    test('of a tool that spins past its deadline ends the sandbox and the calls beside it', async () => {
      await withTools(tools, async (sandbox) => {
        const beside = callTool(sandbox, 'patient')
        const spinning = await callTool(sandbox, 'spin', {}, { timeoutMs: 200 })
        expect(spinning.outcome).toMatchObject({ code: 'deadline' })
        expect((await beside).outcome).toEqual({
          code: 'sandbox_failed',
          message: 'A tool did not stop in time, so the sandbox was ended.',
        })
        expect(await sandbox.gone).toMatchObject({ code: 'deadline' })
        expect(await stack().leftOf(0)).toEqual([])
      })
    })

    test('in a pattern of its schema that never ends: its own time is over', async () => {
      const names = Array.from({ length: 200 }, (_, index) => `p${index}`)
      const property = { type: 'string', pattern: '^(a+)+$' }
      const properties = Object.fromEntries(names.map((name) => [name, property]))
      const inputSchema = { type: 'object', properties }
      const more = [{ name: 'match', inputSchema, body: 'async () => 1' }]
      await withTools(
        tools,
        async (sandbox) => {
          const args = Object.fromEntries(names.map((name) => [name, `${'a'.repeat(40)}!`]))
          const match = await callTool(sandbox, 'match', args, { timeoutMs: 1_000 })
          expect(match.outcome.code).toBe('deadline')
          expect(await sandbox.gone).toMatchObject({ code: 'deadline' })
        },
        { more },
      )
    })

    test('of a tool that spins on after being cancelled ends the sandbox within some seconds', async () => {
      await withTools(tools, async (sandbox) => {
        const answer = await cancelledSoon(sandbox, 'spin')
        expect(answer.outcome.code).toBe('cancelled')
        expect(await sandbox.gone).toMatchObject({ code: 'deadline' })
      })
    })

    test('comes when the sandbox misses its heartbeat', async () => {
      await withTools(
        tools,
        async (sandbox) => {
          const answer = await callTool(sandbox, 'spin', {}, { timeoutMs: 100_000 })
          expect(answer.outcome).toEqual({
            code: 'sandbox_failed',
            message: 'The sandbox stopped responding and was ended.',
          })
        },
        { times: { heartbeatMs: 2_000 } },
      )
    })

    test('comes with the reason when the sandbox exits by itself', async () => {
      await withTools({ leave: 'async () => process.exit(3)' }, async (sandbox) => {
        const answer = await callTool(sandbox, 'leave')
        expect(answer.outcome).toEqual({
          code: 'sandbox_failed',
          message: 'The sandbox ended by itself.',
        })
        expect(await sandbox.gone).toMatchObject({
          code: 'exited',
          detail: expect.stringContaining('exit code 3'),
        })
      })
    })
  })

  describe('a server that cannot be loaded', () => {
    const endless = 'for (;;) {}'
    const load = async (source: string) => {
      const tools = [{ name: 'a', inputSchema: { type: 'object' } }]
      const times = source === endless ? { loadMs: 3_000 } : {}
      const sandbox = await stack().sandbox(1, { times })
      const encode = (text: string) => new TextEncoder().encode(text)
      try {
        return await sandbox.load({
          tools: encode(JSON.stringify(tools)),
          module: encode(source),
        })
      } finally {
        sandbox.stop()
        await sandbox.gone
      }
    }

    test.each([
      ['is not JavaScript', 'export const tools = {{{', /./],
      ['throws at its top', "throw new Error('at the top')", /at the top/],
      ['lacks a tool', 'export const tools = {}', /no tool a/],
      ['has something else by that name', 'export const tools = { a: 5 }', /no tool a/],
      [
        'only inherits a tool',
        'export const tools = Object.create({ a: async () => 1 })',
        /no tool a/,
      ],
      ['never ends', endless, /too long/],
      ['exits', 'process.exit(0)', /ended/],
    ])('because it %s says so', async (_, source, reason) => {
      const error = await load(source).then(
        () => undefined,
        (thrown: unknown) => thrown,
      )
      expect(error).toBeInstanceOf(LoadFailed)
      expect(String(error)).toMatch(reason)
    })

    test('beside one that can be', async () => {
      expect(await load('export const tools = { a: async () => 1 }')).toEqual(['a'])
    })
  })

  test('a sandbox that never says hello is ended, and its slot is usable again', async () => {
    // The token is missing, so the guest exits before it dials.
    const starting = stack().sandbox(13, { times: { startMs: 60_000 } })
    writeFileSync(`${stack().slotsDir}/13/c/token`, '')
    expect(await outcomeOf(starting)).toThrow('ended')
    const sandbox = await stack().sandbox(13)
    sandbox.stop()
    await sandbox.gone
  })

  test('a slot serves again and again', async () => {
    for (let round = 0; round < 5; round++) {
      await withTools({ n: `async () => ${round}` }, async (sandbox) => {
        expect((await callTool(sandbox, 'n')).result.content[0]?.text).toBe(String(round))
      })
      expect(await stack().leftOf(0)).toEqual([])
    }
  })
})
