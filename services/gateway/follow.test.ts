/** The REST API: builds over a WebSocket and logs as events, and who may not follow. */
import { describe, expect, test } from 'bun:test'
import { newId } from '@bmm/lib/ids'
import { until } from '@bmm/lib/testing-until'
import {
  atText,
  BUSY_LOG,
  FOREIGN_LOG,
  ids,
  LONG_LOG,
  LONG_LOG_LINES,
  QUIET_LOG,
  restWorldOfFile,
  session,
} from './testing-rest.ts'

const world = await restWorldOfFile()
const { call, answer } = world
const { origin } = world.gw

describe('builds', () => {
  const socketUrl = (more = '') =>
    `${origin.replace('http', 'ws')}/v1/builds/${ids.build}/events${more}`

  /** Messages and the code of the end; headers are Bun's extension of WebSocket. */
  function follow(url: string, headers: Record<string, string>) {
    const messages: unknown[] = []
    const end = Promise.withResolvers<number>()
    const socket = new WebSocket(url, { headers } as unknown as string[])
    socket.onmessage = ({ data }) => void messages.push(JSON.parse(String(data)))
    socket.onclose = ({ code }) => end.resolve(code)
    return { socket, messages, end: end.promise }
  }

  test('events come over a WebSocket, from where one left off, and end with 1000', async () => {
    const headers = { authorization: `Bearer ${session}` }
    const whole = follow(socketUrl(), headers)
    expect(await whole.end).toBe(1000)
    expect(whole.messages).toEqual([
      { seq: 1, state: 'running', elapsedMs: 1, at: atText },
      { seq: 2, step: 'scan', elapsedMs: 5, line: 'scanning', at: atText },
    ])
    const rest = follow(socketUrl('?after=1'), headers)
    expect(await rest.end).toBe(1000)
    expect(rest.messages).toHaveLength(1)
  })

  test('a browser of ours may follow with its cookie', async () => {
    const followed = follow(socketUrl(), { cookie: `__Host-bmm=${session}`, origin: origin })
    expect(await followed.end).toBe(1000)
  })

  test('a follower that goes away ends the watch', async () => {
    const followed = follow(socketUrl('?after=7'), { authorization: `Bearer ${session}` })
    await until(() => followed.messages.length === 1)
    followed.socket.close()
    await until(() => world.asked.watches.includes('build ended'))
  })

  const upgrade = {
    connection: 'Upgrade',
    upgrade: 'websocket',
    'sec-websocket-version': '13',
    'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
  }
  const refusals: [string, Record<string, string>, number][] = [
    ['nobody', {}, 401],
    ['an ended session', { authorization: `Bearer bms_${'x'.repeat(43)}` }, 401],
    [
      'a foreign page with our cookie',
      { cookie: `__Host-bmm=${session}`, origin: 'https://evil.example' },
      403,
    ],
    ['a cookie without an Origin', { cookie: `__Host-bmm=${session}` }, 403],
    [
      'a foreign page with a bearer',
      { authorization: `Bearer ${session}`, origin: 'https://evil.example' },
      403,
    ],
  ]
  for (const [who, headers, status] of refusals) {
    test(`${who} gets ${status} instead of a WebSocket`, async () => {
      const response = await fetch(socketUrl().replace('ws', 'http'), {
        headers: { ...upgrade, ...headers },
      })
      expect(response.status).toBe(status)
      expect(world.asked.watches).toEqual([])
    })
  }

  test('a build of somebody else gets 404 instead of a WebSocket', async () => {
    const url = `${origin}/v1/builds/${newId('bld')}/events`
    const headers = { ...upgrade, authorization: `Bearer ${session}` }
    expect((await fetch(url, { headers })).status).toBe(404)
  })

  test('a plain request is told to upgrade', async () => {
    expect(await answer(`/v1/builds/${ids.build}/events`)).toMatchObject({ status: 426 })
  })

  test('one that did not succeed is built again', async () => {
    const retried = await answer(`/v1/builds/${ids.build}/retry`, { method: 'POST' })
    expect(retried).toMatchObject({ status: 200, id: ids.retried })
  })

  test('a missing permission is 403', async () => {
    const problem = await answer(`/v1/builds/${ids.build}/cancel`, { method: 'POST' })
    expect(problem).toMatchObject({ status: 403, code: 'permission_missing' })
  })
})

describe('logs', () => {
  test('come by pages', async () => {
    expect(await answer('/v1/servers/pets/logs?cursor=4')).toEqual({
      status: 200,
      lines: [{ seq: 5, at: atText, level: 'info', tool: 'echo', message: 'hello' }],
      nextCursor: 5,
    })
  })

  test('are followed as events, from the last one seen, until the reader goes away', async () => {
    const response = await call('/v1/servers/pets/logs/follow?cursor=1', {
      headers: { 'last-event-id': '8' },
    })
    expect(response.headers.get('content-type')).toBe('text/event-stream')
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader()
    let text = ''
    while (!text.includes('data:')) text += (await reader?.read())?.value ?? ''
    expect(text).toContain('id: 9\ndata: {"seq":9,')
    await reader?.cancel()
    await until(() => world.asked.watches.includes('log ended'))
  })

  test('of a foreign server, or that too many follow, are refused before an answer begins', async () => {
    const follow = (cursor: bigint) => answer(`/v1/servers/pets/logs/follow?cursor=${cursor}`)
    expect(await follow(FOREIGN_LOG)).toMatchObject({ status: 404, code: 'server_not_found' })
    expect(await follow(BUSY_LOG)).toMatchObject({ status: 429, code: 'too_many_followers' })
  })

  test('are followed while they say nothing, until the reader goes away', async () => {
    const response = await call(`/v1/servers/pets/logs/follow?cursor=${QUIET_LOG}`)
    expect(response.status).toBe(200)
    await response.body?.cancel()
    await until(() => world.asked.watches.includes('log ended'))
  })

  test('are given only as fast as they are read, so that a reader who stops fills no memory', async () => {
    const response = await call(`/v1/servers/pets/logs/follow?cursor=${LONG_LOG}`)
    await until(() => world.asked.logLines > 100)
    await Bun.sleep(1_000)
    expect(world.asked.logLines).toBeLessThan(LONG_LOG_LINES)
    await response.body?.cancel()
    await until(() => world.asked.watches.includes('log ended'))
  })
})
