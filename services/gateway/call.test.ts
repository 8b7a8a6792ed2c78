/** Tool calls on their way: results that forge, progress, cancelling from every side, and deadlines. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { newId } from '@bmm/lib/ids'
import { type TestRedis, testRedis } from '@bmm/lib/testing'
import { until } from '@bmm/lib/testing-until'
import {
  addToolServer,
  rpcAnswer,
  type TestGateway,
  type TestServer,
  testGateway,
  testSpec,
} from './testing.ts'

/** Below the 10 s after which some proxies give up on a silent upstream. */
const MOST_SILENCE_MS = 8_000

let gw: TestGateway
let server: TestServer
let redis: TestRedis
/** The gateway's connection, for taking it away. */
let lost: TestRedis['redis']

beforeAll(async () => {
  redis = await testRedis()
  lost = redis.redis.duplicate()
  gw = await testGateway({ callTimeoutMs: 20_000, redis: lost })
  server = addToolServer(gw)
})
afterAll(async () => {
  await gw[Symbol.asyncDispose]()
  lost.disconnect()
  await redis[Symbol.asyncDispose]()
})

async function bearer(claims: Record<string, unknown> = {}) {
  return { authorization: `Bearer ${await gw.token(server, claims)}` }
}

/** An answer's text, and how long it was silent before each piece. */
async function listen(response: Response) {
  const silences: number[] = []
  const decoder = new TextDecoder()
  let [text, heardAt] = ['', performance.now()]
  for await (const piece of response.body ?? []) {
    silences.push(performance.now() - heardAt)
    heardAt = performance.now()
    text += decoder.decode(piece, { stream: true })
  }
  return { text, silences }
}

function eventsIn(text: string) {
  return text
    .split('\n')
    .filter((line) => line.startsWith('data: '))
    .map((line) => JSON.parse(line.slice('data: '.length)))
}

function request(method: string, params: Record<string, unknown> = {}, id: number | string = 1) {
  return { jsonrpc: '2.0', id, method, params }
}

describe('results', () => {
  const call = async (name: string, more: Record<string, unknown> = {}) =>
    gw.post(server, request('tools/call', { name, ...more }, 5), await bearer())

  test('a forged answer is an error with the id of the request', async () => {
    const answer = await rpcAnswer(await call('forge'))
    expect(answer).toMatchObject({ id: 5, error: { code: -32603 } })
    expect(answer.error.data).toEqual({ reason: 'result_invalid' })
    expect(JSON.stringify(answer)).not.toContain('forged')
  })

  test('content that MCP does not know is an error, not a broken answer', async () => {
    expect((await rpcAnswer(await call('broken'))).error.data.reason).toBe('result_invalid')
  })

  test('megabytes arrive whole', async () => {
    const { result } = await rpcAnswer(await call('huge'))
    expect(result.content[0]?.text).toHaveLength(3 * 1024 * 1024)
  })

  test('a failure of the runner is an error with its reason and sentence', async () => {
    expect((await rpcAnswer(await call('fails'))).error).toEqual({
      code: -32603,
      message: 'Too busy. Try again.',
      data: { reason: 'busy' },
    })
  })

  test('a server that has just changed is tried again with the newest epoch', async () => {
    let tries = 0
    gw.world.tools.set('echo', async () => {
      tries++
      return tries < 3
        ? { code: 'stale_epoch', message: 'changed' }
        : JSON.stringify({ content: [] })
    })
    const answer = await rpcAnswer(await call('echo'))
    gw.world.tools.delete('echo')
    expect(answer.result).toEqual({ content: [] })
    expect(tries).toBe(3)
  })

  test('progress streams before the answer, and only to who asked', async () => {
    const asked = await call('steps', { _meta: { progressToken: 'tok' } })
    expect(asked.headers.get('content-type')).toBe('text/event-stream')
    const events = eventsIn(await asked.text())
    expect(events.map((event) => event.params?.progress ?? 'result')).toEqual([1, 2, 3, 'result'])
    expect(events[0]).toEqual({
      jsonrpc: '2.0',
      method: 'notifications/progress',
      params: { progressToken: 'tok', progress: 1, total: 3, message: 'step 1' },
    })
    expect(events[3]).toMatchObject({ id: 5, result: { content: [{ text: 'done' }] } })
  })

  describe('what tools report, for clients of the earlier era without a progress token', () => {
    const level = async (grant: string, wanted: string) => {
      const message = request('logging/setLevel', { level: wanted })
      return rpcAnswer(await gw.post(server, message, await bearer({ grant })))
    }
    const steps = async (grant: string, headers = {}) => {
      const message = request('tools/call', { name: 'steps' }, 5)
      return gw.post(server, message, { ...(await bearer({ grant })), ...headers })
    }

    test('comes as log messages to who asked for them', async () => {
      const grant = newId('grt')
      expect((await level(grant, 'debug')).result).toEqual({} as never)
      const response = await steps(grant)
      expect(response.headers.get('content-type')).toBe('text/event-stream')
      const events = eventsIn(await response.text())
      expect(events.slice(0, 3)).toEqual(
        [1, 2, 3].map((step) => ({
          jsonrpc: '2.0',
          method: 'notifications/message',
          params: { level: 'info', logger: 'steps', data: `step ${step}` },
        })),
      )
      expect(events[3]).toMatchObject({ id: 5, result: { content: [{ text: 'done' }] } })
    })

    test('comes to nobody else: who never asked, who asked for less, another person’s client', async () => {
      const [asked, less] = [newId('grt'), newId('grt')]
      await level(asked, 'info')
      await level(less, 'info')
      await level(less, 'warning')
      for (const grant of [newId('grt'), less]) {
        const response = await steps(grant)
        expect(response.headers.get('content-type')).toBe('application/json')
      }
      const plain = await steps(asked, { accept: 'application/json' })
      expect((await rpcAnswer(plain)).result.content[0]?.text).toBe('done')
    })

    test('without Redis no level can be kept, which is said, and calls go on', async () => {
      const grant = newId('grt')
      await level(grant, 'info')
      lost.disconnect()
      try {
        expect((await level(grant, 'info')).error.code).toBe(-32603)
        expect((await rpcAnswer(await steps(grant))).result.content[0]?.text).toBe('done')
      } finally {
        await lost.connect()
      }
    })
  })

  test('a quiet call sends its headers and a comment within a second, and more comments while it runs', async () => {
    gw.world.tools.set('echo', async () => {
      await Bun.sleep(12_000)
      return JSON.stringify({ content: [{ type: 'text', text: 'late' }] })
    })
    const askedAt = performance.now()
    const response = await call('echo')
    gw.world.tools.delete('echo')
    expect(performance.now() - askedAt).toBeLessThan(1_000)
    expect(response.headers.get('content-type')).toBe('text/event-stream')
    const { text, silences } = await listen(response)
    expect(text).toMatch(
      /^: running\n\n(: still running\n\n){2}event: message\ndata: .*"text":"late"/,
    )
    expect(silences[0]).toBeLessThan(1_000)
    expect(Math.max(...silences)).toBeLessThan(MOST_SILENCE_MS)
  }, 60_000)

  test('a client that takes no events gets one JSON answer', async () => {
    const response = await gw.post(
      server,
      request('tools/call', { name: 'steps', _meta: { progressToken: 1 } }),
      { ...(await bearer()), accept: 'application/json' },
    )
    expect(response.headers.get('content-type')).toBe('application/json')
    expect((await rpcAnswer(response)).result.content[0]?.text).toBe('done')
  })
})

describe('what only the gateway sees is told to the runner, which counts', () => {
  const verdictsOf = (tool: string) =>
    gw.world.verdicts.filter((each) => each.tool === tool).map(({ verdict }) => verdict)

  test('an answer that is an error of the tool, and one that is no result', async () => {
    gw.world.verdicts.splice(0)
    gw.world.tools.set('echo', () => JSON.stringify({ content: [], isError: true }))
    for (const name of ['echo', 'forge', 'steps', 'fails']) {
      const response = await gw.post(server, request('tools/call', { name }), await bearer())
      await response.text()
    }
    gw.world.tools.delete('echo')
    await until(() => verdictsOf('forge').length === 1)
    expect(gw.world.verdicts.map(({ tool, verdict }) => [tool, verdict])).toEqual([
      ['echo', 'tool_error'],
      ['forge', 'result_invalid'],
    ])
    expect(gw.world.verdicts[0]).toMatchObject({
      serverId: server.serverId,
      requestId: gw.world.calls.findLast(({ tool }) => tool === 'echo')?.requestId ?? 'none',
    })
  })

  test('a call that is turned away because its caller has too many', async () => {
    const headers = await bearer({ sub: newId('usr') })
    const before = gw.world.calls.length
    const running = Array.from({ length: 64 }, () =>
      gw.post(server, request('tools/call', { name: 'slow' }), headers),
    )
    await until(() => gw.world.calls.length === before + 64)
    const refused = await gw.post(server, request('tools/call', { name: 'slow' }), headers)
    expect([refused.status, await refused.text()]).toEqual([
      429,
      expect.stringContaining('too_many_calls'),
    ])
    await until(() => verdictsOf('slow').includes('refused'))
    gw.stopRunner()
    for (const response of await Promise.all(running)) await response.text()
    gw.startRunner()
    await until(async () => {
      const again = await gw.post(server, request('tools/call', { name: 'echo' }), headers)
      return (await again.text()).includes('result')
    })
  })
})

describe('cancelling', () => {
  const isRunning = (count: number) =>
    gw.world.calls.filter(({ tool }) => tool === 'slow').length >= count
  const started = () => gw.world.calls.filter(({ tool }) => tool === 'slow').length
  const cancelled = () => gw.world.cancelled.filter((tool) => tool === 'slow').length

  test('a client that goes away cancels the call', async () => {
    const [before, ended] = [started(), cancelled()]
    const controller = new AbortController()
    const gone = fetch(server.url, {
      method: 'POST',
      headers: { ...(await bearer()), 'content-type': 'application/json' },
      body: JSON.stringify(request('tools/call', { name: 'slow' })),
      signal: controller.signal,
    }).catch((error: unknown) => error)
    await until(() => isRunning(before + 1))
    controller.abort()
    await gone
    await until(() => cancelled() === ended + 1)
  })

  test('a client that closes its stream cancels the call', async () => {
    const ended = cancelled()
    gw.world.tools.set('echo', async ({ progress, signal }) => {
      progress({ progress: 1 })
      await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
      gw.world.cancelled.push('slow')
      return { code: 'cancelled', message: '' }
    })
    const response = await gw.post(
      server,
      request('tools/call', { name: 'echo', _meta: { progressToken: 1 } }),
      await bearer(),
    )
    const reader = response.body?.getReader()
    await reader?.read()
    await reader?.cancel()
    await until(() => cancelled() > ended)
    gw.world.tools.delete('echo')
  })

  test('notifications/cancelled ends the call of that session only', async () => {
    const grant = newId('grt')
    const headers = await bearer({ grant })
    const initialize = async () => {
      const answer = await gw.post(
        server,
        request('initialize', { protocolVersion: '2025-11-25' }),
        headers,
      )
      return { ...headers, 'mcp-session-id': answer.headers.get('mcp-session-id') ?? '' }
    }
    const [mine, other] = [await initialize(), await initialize()]
    expect(mine['mcp-session-id']).not.toBe(other['mcp-session-id'])
    const [before, ended] = [started(), cancelled()]
    const first = gw.post(server, request('tools/call', { name: 'slow' }, 9), mine)
    const second = gw.post(server, request('tools/call', { name: 'slow' }, 9), other)
    await until(() => isRunning(before + 2))
    const cancel = (session: Record<string, string>) =>
      gw.post(
        server,
        { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 9 } },
        session,
      )
    await cancel(mine)
    expect((await rpcAnswer(await first)).error.data.reason).toBe('cancelled')
    await until(() => cancelled() === ended + 1)
    await cancel(other)
    await second
  })

  test('the runner going away ends its calls with a sentence, and it comes back', async () => {
    const before = started()
    const call = gw.post(server, request('tools/call', { name: 'slow' }), await bearer())
    await until(() => isRunning(before + 1))
    gw.stopRunner()
    const { error } = await rpcAnswer(await call)
    expect(error.data.reason).toBe('runner_stopping')
    gw.startRunner()
    const again = await gw.post(server, request('tools/call', { name: 'echo' }), await bearer())
    expect((await rpcAnswer(again)).result.content).toEqual([{ type: 'text', text: '{}' }])
  })
})

describe('a deadline', () => {
  test('ends a call that the runner never answers', async () => {
    const hurried = await testGateway({ callTimeoutMs: 50 })
    try {
      const target = hurried.addServer('hurry', testSpec(['never']))
      hurried.world.tools.set('never', () => new Promise(() => {}))
      const headers = { authorization: `Bearer ${await hurried.token(target)}` }
      const response = await hurried.post(target, request('tools/call', { name: 'never' }), headers)
      const text = await response.text()
      expect(text).toContain('"reason":"deadline"')
      await until(() => hurried.world.cancelled.includes('never'))
    } finally {
      await hurried[Symbol.asyncDispose]()
    }
  }, 60_000)
})
