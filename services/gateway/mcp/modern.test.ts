/** The modern era as pure decisions: what is answered, refused or called, without any network. */

import { describe, expect, test } from 'bun:test'
import { rawNumber } from '@bmm/lib/exact-json'
import type { Decision } from './decision.ts'
import { readMessage } from './message.ts'
import { decideModern, isModern } from './modern.ts'
import { annotations, bodyOf, digest, listed, spec, tool } from './testing.ts'
import { listServer } from './tool-list.ts'

const envelope = {
  'io.modelcontextprotocol/protocolVersion': '2026-07-28',
  'io.modelcontextprotocol/clientCapabilities': {},
}

function modernHeaders(method: string, more: Record<string, string> = {}) {
  return new Headers({
    'mcp-protocol-version': '2026-07-28',
    'mcp-method': method,
    ...more,
  })
}

function modern(
  method: string,
  params: Record<string, unknown> = {},
  headers = modernHeaders(method),
) {
  const message = readMessage({
    jsonrpc: '2.0',
    id: 7,
    method,
    params: { _meta: envelope, ...params },
  })
  return decideModern(message, headers, listed)
}

describe('the modern era', () => {
  test('discovery names the one version, the tools capability and the server', () => {
    const { status, id, result } = bodyOf(modern('server/discover'))
    expect({ status, id }).toEqual({ status: 200, id: 7 })
    expect(result).toEqual({
      resultType: 'complete',
      _meta: {
        'io.modelcontextprotocol/serverInfo': { name: 'pets', title: 'Pets', version: '3' },
      },
      ttlMs: 60_000,
      cacheScope: 'private',
      supportedVersions: ['2026-07-28'],
      capabilities: { tools: {} },
      instructions: 'Be kind.',
    })
  })

  test('tools/list has every tool with its annotations and says how long it is good', () => {
    const { result } = bodyOf(modern('tools/list'))
    expect(result.tools.map((item: { name: string }) => item.name)).toEqual(['echo', 'ping_pet'])
    expect(result.tools[0]).toEqual({
      name: 'echo',
      description: 'Does echo.',
      inputSchema: { type: 'object' },
      annotations: annotations,
    })
    expect(result).toMatchObject({ resultType: 'complete', ttlMs: 60_000, cacheScope: 'private' })
  })

  test('a call names tool, arguments and the progress token', () => {
    const headers = modernHeaders('tools/call', { 'mcp-name': 'echo' })
    const params = {
      name: 'echo',
      arguments: { a: 1 },
      _meta: { ...envelope, progressToken: 'p1', traceparent: '00-a-b-01', tracestate: 'a=1' },
    }
    expect(modern('tools/call', params, headers)).toEqual({
      kind: 'call',
      call: {
        ...{ era: 'modern', id: 7, tool: 'echo', args: { a: 1 } },
        ...{ progressToken: 'p1', traceparent: '00-a-b-01', tracestate: 'a=1' },
      },
    })
  })

  test('Mcp-Name may come in base64', () => {
    const name = `=?base64?${Buffer.from('echo').toString('base64')}?=`
    const headers = modernHeaders('tools/call', { 'mcp-name': name })
    expect(modern('tools/call', { name: 'echo' }, headers).kind).toBe('call')
  })

  const without = (key: keyof typeof envelope) => {
    const { [key]: _, ...rest } = envelope
    return rest
  }
  const call = { name: 'echo', arguments: {} }
  const callHeaders = (more: Record<string, string>) => modernHeaders('tools/call', more)
  const refusals: [string, () => Decision, number, number][] = [
    [
      'a version header that differs from the body',
      () =>
        modern(
          'tools/list',
          {},
          modernHeaders('tools/list', { 'mcp-protocol-version': '2027-01-01' }),
        ),
      400,
      -32020,
    ],
    [
      'a missing version header',
      () => modern('tools/list', {}, new Headers({ 'mcp-method': 'tools/list' })),
      400,
      -32020,
    ],
    [
      'a missing method header',
      () => modern('tools/list', {}, new Headers({ 'mcp-protocol-version': '2026-07-28' })),
      400,
      -32020,
    ],
    [
      'a method header that differs',
      () => modern('tools/call', call, modernHeaders('tools/list')),
      400,
      -32020,
    ],
    ['a missing name header', () => modern('tools/call', call), 400, -32020],
    [
      'a name header that differs',
      () => modern('tools/call', call, callHeaders({ 'mcp-name': 'ping_pet' })),
      400,
      -32020,
    ],
    [
      'a name header in broken base64',
      () => modern('tools/call', call, callHeaders({ 'mcp-name': '=?base64?!!?=' })),
      400,
      -32020,
    ],
    [
      'an unknown version',
      () =>
        modern(
          'tools/list',
          { _meta: { ...envelope, 'io.modelcontextprotocol/protocolVersion': '2027-01-01' } },
          modernHeaders('tools/list', { 'mcp-protocol-version': '2027-01-01' }),
        ),
      400,
      -32022,
    ],
    [
      'missing capabilities',
      () => modern('tools/list', { _meta: without('io.modelcontextprotocol/clientCapabilities') }),
      400,
      -32602,
    ],
    ['a missing envelope', () => modern('tools/list', { _meta: {} }), 400, -32602],
    ['an unknown method', () => modern('resources/list'), 404, -32601],
    ['ping, which this era does not have', () => modern('ping'), 404, -32601],
    ['initialize, which this era does not have', () => modern('initialize'), 404, -32601],
    ['an unknown cursor', () => modern('tools/list', { cursor: 'AAAA' }), 200, -32602],
    ['a cursor that is no text', () => modern('tools/list', { cursor: 4 }), 200, -32602],
    [
      'an unknown tool',
      () => modern('tools/call', { name: 'nope' }, callHeaders({ 'mcp-name': 'nope' })),
      200,
      -32602,
    ],
    [
      'a tool named like a property of every object',
      () => modern('tools/call', { name: 'toString' }, callHeaders({ 'mcp-name': 'toString' })),
      200,
      -32602,
    ],
    [
      'arguments that are a list',
      () =>
        modern('tools/call', { name: 'echo', arguments: [] }, callHeaders({ 'mcp-name': 'echo' })),
      200,
      -32602,
    ],
  ]
  for (const [what, decide, status, code] of refusals) {
    test(`refuses ${what} with ${status} and ${code}`, () => {
      const answer = bodyOf(decide())
      expect({ status: answer.status, code: answer.error.code }).toEqual({ status, code })
      expect(answer.id).toBe(7)
    })
  }

  test('reads arguments that are null as left out', () => {
    const params = { name: 'echo', arguments: null }
    const decision = modern('tools/call', params, callHeaders({ 'mcp-name': 'echo' }))
    expect(decision).toMatchObject({ kind: 'call', call: { tool: 'echo', args: {} } })
  })

  test('an unknown version is told which one is spoken', () => {
    const version = { 'io.modelcontextprotocol/protocolVersion': '2031-01-01' }
    const headers = modernHeaders('tools/list', { 'mcp-protocol-version': '2031-01-01' })
    const { error } = bodyOf(modern('tools/list', { _meta: { ...envelope, ...version } }, headers))
    expect(error.data).toEqual({ supported: ['2026-07-28'], requested: '2031-01-01' })
    expect(error.message).toContain('speaks 2026-07-28')
  })

  test('a version that only the header names is as unknown, whatever its messages hold', () => {
    const headers = modernHeaders('tools/list', { 'mcp-protocol-version': '2031-01-01' })
    for (const _meta of [
      undefined,
      {},
      { 'io.modelcontextprotocol/protocolVersion': '2031-01-01' },
    ]) {
      const { status, error } = bodyOf(modern('tools/list', { _meta }, headers))
      expect({ status, code: error.code }).toEqual({ status: 400, code: -32022 })
      expect(error.data).toEqual({ supported: ['2026-07-28'], requested: '2031-01-01' })
    }
    // With the version that is spoken, what is missing is told.
    const { error } = bodyOf(modern('tools/list', { _meta: {} }))
    expect(error.code).toBe(-32602)
  })

  test('declared parameter headers must match the arguments, in both directions of encoding', () => {
    const schema = {
      type: 'object',
      properties: {
        region: { type: 'string', 'x-mcp-header': 'Region' },
        page: { type: 'integer', 'x-mcp-header': 'Page' },
      },
    }
    const server = listServer(spec([tool('find', schema)]), {
      slug: 'pets',
      version: 1,
      specDigest: digest,
    })
    const decide = (args: unknown, headers: Record<string, string>) =>
      decideModern(
        readMessage({
          jsonrpc: '2.0',
          id: 1,
          method: 'tools/call',
          params: { name: 'find', arguments: args, _meta: envelope },
        }),
        callHeaders({ 'mcp-name': 'find', ...headers }),
        server,
      )
    const umlaut = `=?base64?${Buffer.from('süd').toString('base64')}?=`
    expect(decide({ region: 'eu' }, { 'mcp-param-region': 'eu' }).kind).toBe('call')
    expect(decide({ region: 'süd' }, { 'mcp-param-region': umlaut }).kind).toBe('call')
    expect(decide({ page: 42 }, { 'mcp-param-page': '42.0' }).kind).toBe('call')
    expect(decide({}, { 'mcp-param-region': 'ignored' }).kind).toBe('call')
    const big = rawNumber('9007199254740993')
    expect(decide({ page: big }, { 'mcp-param-page': '9007199254740993' }).kind).toBe('call')
    for (const [args, headers] of [
      [{ page: big }, { 'mcp-param-page': '9007199254740992' }],
      [{ region: 'eu' }, {}],
      [{ region: 'eu' }, { 'mcp-param-region': 'us' }],
      [{ page: 42 }, { 'mcp-param-page': '43' }],
      [{ region: 'eu' }, { 'mcp-param-region': '=?base64?#?=' }],
    ] as const) {
      expect(bodyOf(decide(args, headers)).error.code).toBe(-32020)
    }
  })

  test('a bad declaration of a parameter header is not listed, because clients would drop the tool', () => {
    const schema = {
      type: 'object',
      properties: { filter: { type: 'array', items: { type: 'string', 'x-mcp-header': 'F' } } },
    }
    const server = listServer(spec([tool('find', schema)]), {
      slug: 'pets',
      version: 1,
      specDigest: digest,
    })
    expect(server.modernPages.get('')).not.toContain('x-mcp-header')
    expect(server.tools.get('find')).toEqual([])
  })
})

describe('which era a message belongs to', () => {
  const request = (params: Record<string, unknown>, method = 'tools/list') =>
    readMessage({ jsonrpc: '2.0', id: 1, method, params })
  test('the body decides, the header only where the body is silent', () => {
    expect(isModern(request({ _meta: envelope }), new Headers())).toBe(true)
    expect(isModern(request({}), new Headers({ 'mcp-protocol-version': '2026-07-28' }))).toBe(true)
    expect(isModern(request({}), new Headers({ 'mcp-protocol-version': '2025-11-25' }))).toBe(false)
    expect(isModern(request({}), new Headers())).toBe(false)
    expect(isModern(request({ protocolVersion: '2025-11-25' }, 'initialize'), new Headers())).toBe(
      false,
    )
  })
})
