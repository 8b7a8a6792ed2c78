/** The earlier era as pure decisions, and the pages of tool lists. */
import { describe, expect, test } from 'bun:test'
import { batchFault, decideLegacy, legacyHeaderFault } from './legacy.ts'
import { readMessage } from './message.ts'
import { bodyOf, digest, listed, spec, tool } from './testing.ts'
import { listServer } from './tool-list.ts'

describe('the earlier era', () => {
  const decide = (method: string, params?: Record<string, unknown>) =>
    decideLegacy(readMessage({ jsonrpc: '2.0', id: 'x', method, params }), listed)

  for (const [wished, spoken] of [
    ['2025-11-25', '2025-11-25'],
    ['2025-06-18', '2025-06-18'],
    ['2025-03-26', '2025-03-26'],
    ['2024-11-05', '2025-11-25'],
    ['2026-07-28', '2025-11-25'],
  ]) {
    test(`initialize with ${wished} speaks ${spoken}`, () => {
      const { result } = bodyOf(decide('initialize', { protocolVersion: wished }))
      expect(result).toEqual({
        protocolVersion: spoken,
        capabilities: { logging: {}, tools: {} },
        serverInfo: { name: 'pets', title: 'Pets', version: '3' },
        instructions: 'Be kind.',
      })
    })
  }

  test('ping is answered with nothing in it', () => {
    expect(bodyOf(decide('ping')).result).toEqual({})
  })

  test('who asks for messages of level info or more talkative ones listens', () => {
    const listens = (level: unknown) => decide('logging/setLevel', { level })
    for (const level of ['debug', 'info']) {
      expect(listens(level)).toEqual({ kind: 'listen', id: 'x', isListening: true })
    }
    for (const level of ['notice', 'warning', 'error', 'critical', 'alert', 'emergency']) {
      expect(listens(level)).toEqual({ kind: 'listen', id: 'x', isListening: false })
    }
    for (const level of ['verbose', '', undefined, 6, ['info']]) {
      expect(bodyOf(listens(level)).error.code).toBe(-32602)
    }
  })

  test('unknown methods are refused in-band', () => {
    expect(bodyOf(decide('resources/list'))).toMatchObject({
      status: 200,
      error: { code: -32601 },
      id: 'x',
    })
    expect(bodyOf(decide('server/discover')).error.code).toBe(-32601)
  })

  test('notifications and responses are accepted without a body', () => {
    const notification = readMessage({ jsonrpc: '2.0', method: 'notifications/initialized' })
    expect(decideLegacy(notification, listed)).toEqual({ kind: 'nothing', status: 202 })
    const response = readMessage({ jsonrpc: '2.0', id: 1, result: {} })
    expect(decideLegacy(response, listed)).toEqual({ kind: 'nothing', status: 202 })
  })

  test('garbage is refused without being repeated', () => {
    for (const value of [
      null,
      1,
      'x',
      [],
      {},
      { jsonrpc: '1.0', id: 1, method: 'ping' },
      { jsonrpc: '2.0', id: null, method: 'ping' },
      { jsonrpc: '2.0', id: 1.5, method: 'ping' },
      { jsonrpc: '2.0', id: {}, method: 'ping' },
      { jsonrpc: '2.0', id: 1, method: 5 },
      { jsonrpc: '2.0', id: 1, method: 'ping', params: [] },
      { jsonrpc: '2.0', id: 1 },
    ]) {
      const { status, error } = bodyOf(decideLegacy(readMessage(value), listed))
      expect({ status, code: error.code }).toEqual({ status: 400, code: -32600 })
    }
  })

  test('only the three revisions pass as a header', () => {
    const fault = (version: string) =>
      legacyHeaderFault(new Headers({ 'mcp-protocol-version': version }))
    expect(['2025-11-25', '2025-06-18', '2025-03-26'].map(fault)).toEqual([
      undefined,
      undefined,
      undefined,
    ])
    expect(fault('2024-11-05')).toMatchObject({ status: 400, code: -32000 })
    expect(fault('nonsense')).toMatchObject({ status: 400 })
    expect(legacyHeaderFault(new Headers())).toBeUndefined()
  })

  test('batches exist in 2025-03-26 only, never empty, never huge', () => {
    const headers = (version?: string) =>
      new Headers(version === undefined ? {} : { 'mcp-protocol-version': version })
    expect(batchFault([1], headers())).toBeUndefined()
    expect(batchFault([1], headers('2025-03-26'))).toBeUndefined()
    for (const [batch, version] of [
      [[1], '2025-06-18'],
      [[1], '2026-07-28'],
      [[], undefined],
      [Array(33).fill(1), undefined],
    ] as const) {
      expect(batchFault(batch, headers(version))).toMatchObject({ status: 400, code: -32600 })
    }
  })

  test('initialize is refused inside a batch', () => {
    const message = readMessage({
      jsonrpc: '2.0',
      id: 1,
      method: 'initialize',
      params: { protocolVersion: '2025-03-26' },
    })
    expect(bodyOf(decideLegacy(message, listed, 'batch')).error.code).toBe(-32600)
  })
})

describe('pages of tools', () => {
  const many = listServer(spec(Array.from({ length: 23 }, (_, index) => tool(`tool_${index}`))), {
    slug: 'pets',
    version: 1,
    specDigest: digest,
    pageTools: 10,
  })
  const list = (params: Record<string, unknown>) =>
    bodyOf(decideLegacy(readMessage({ jsonrpc: '2.0', id: 1, method: 'tools/list', params }), many))

  test('follow each other without gap or repetition, and end', () => {
    const names: string[] = []
    let cursor: string | undefined
    for (let page = 0; page < 3; page++) {
      const { result } = list(cursor === undefined ? {} : { cursor })
      names.push(...result.tools.map((item: { name: string }) => item.name))
      cursor = result.nextCursor
    }
    expect(cursor).toBeUndefined()
    expect(names).toEqual(Array.from({ length: 23 }, (_, index) => `tool_${index}`))
  })

  test('a cursor of another version is refused instead of skipping tools', () => {
    const { nextCursor } = list({}).result
    const other = listServer(spec([tool('a'), tool('b')]), {
      slug: 'pets',
      version: 2,
      specDigest: `sha256:${'cd'.repeat(32)}`,
      pageTools: 1,
    })
    expect(other.legacyPages.get(nextCursor)).toBeUndefined()
  })

  test('are the same bytes each time', () => {
    const again = listServer(spec([tool('echo'), tool('ping_pet')]), {
      slug: 'pets',
      version: 3,
      specDigest: digest,
    })
    expect([...again.legacyPages]).toEqual([...listed.legacyPages])
  })
})
