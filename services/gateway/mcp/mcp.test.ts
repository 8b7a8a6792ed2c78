/** Both eras as pure decisions: what is answered, refused or called, without any network. */
import { describe, expect, test } from 'bun:test'
import type { ServerSpec } from '@bmm/spec/server-spec'
import { batchFault, decideLegacy, legacyHeaderFault } from './legacy.ts'
import { readMessage } from './message.ts'
import { type Decision, decideModern, isModern } from './modern.ts'
import { legacyResult, modernResult, ResultFault, rebuildResult } from './result.ts'
import { listServer } from './tool-list.ts'

const annotations = {
  readOnlyHint: true,
  destructiveHint: false,
  idempotentHint: true,
  openWorldHint: true,
}

function tool(name: string, inputSchema: Record<string, unknown> = { type: 'object' }) {
  return { name, description: `Does ${name}.`, inputSchema, annotations, examples: [] }
}

function spec(tools: ServerSpec['tools']): ServerSpec {
  return {
    specVersion: 1,
    name: 'Pets',
    description: '',
    instructions: 'Be kind.',
    tools,
    credentials: [],
    egress: [],
  }
}

const digest = `sha256:${'ab'.repeat(32)}`
const listed = listServer(spec([tool('echo'), tool('ping_pet')]), {
  slug: 'pets',
  version: 3,
  specDigest: digest,
})
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

function bodyOf(decision: Decision) {
  if (decision.kind !== 'answer') throw new Error(`decided ${decision.kind}`)
  return { status: decision.status, ...JSON.parse(decision.body) }
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
      annotations,
    })
    expect(result).toMatchObject({ resultType: 'complete', ttlMs: 60_000, cacheScope: 'private' })
  })

  test('a call names tool, arguments and the progress token', () => {
    const headers = modernHeaders('tools/call', { 'mcp-name': 'echo' })
    const params = {
      name: 'echo',
      arguments: { a: 1 },
      _meta: { ...envelope, progressToken: 'p1' },
    }
    expect(modern('tools/call', params, headers)).toEqual({
      kind: 'call',
      call: { era: 'modern', id: 7, tool: 'echo', args: { a: 1 }, progressToken: 'p1' },
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
    [
      'arguments that are null',
      () =>
        modern(
          'tools/call',
          { name: 'echo', arguments: null },
          callHeaders({ 'mcp-name': 'echo' }),
        ),
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

  test('an unknown version is told which one is spoken', () => {
    const version = { 'io.modelcontextprotocol/protocolVersion': '2031-01-01' }
    const headers = modernHeaders('tools/list', { 'mcp-protocol-version': '2031-01-01' })
    const { error } = bodyOf(modern('tools/list', { _meta: { ...envelope, ...version } }, headers))
    expect(error.data).toEqual({ supported: ['2026-07-28'], requested: '2031-01-01' })
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
    for (const [args, headers] of [
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
        capabilities: { tools: {} },
        serverInfo: { name: 'pets', title: 'Pets', version: '3' },
        instructions: 'Be kind.',
      })
    })
  }

  test('ping and logging/setLevel are answered with nothing in them', () => {
    expect(bodyOf(decide('ping')).result).toEqual({})
    expect(bodyOf(decide('logging/setLevel', { level: 'debug' })).result).toEqual({})
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

describe('results from a sandbox', () => {
  const rebuild = (value: unknown) =>
    rebuildResult(
      new TextEncoder().encode(typeof value === 'string' ? value : JSON.stringify(value)),
    )

  test('keep the known fields of each kind of content and nothing else', () => {
    const blocks = [
      { type: 'text', text: 'hi', _meta: { x: 1 }, extra: 1 },
      { type: 'image', data: 'AAAA', mimeType: 'image/png', annotations: { priority: 0.5 } },
      { type: 'audio', data: '', mimeType: 'audio/wav' },
      { type: 'resource', resource: { uri: 'a:b', text: 't', more: 1 } },
      { type: 'resource', resource: { uri: 'a:b', blob: 'AAA=', mimeType: 'x/y' } },
      { type: 'resource_link', uri: 'a:b', name: 'n', size: 3, icons: [] },
    ]
    expect(rebuild({ content: blocks, isError: true, id: 1, result: {}, _meta: {} })).toEqual({
      content: [
        { type: 'text', text: 'hi' },
        { type: 'image', data: 'AAAA', mimeType: 'image/png', annotations: { priority: 0.5 } },
        { type: 'audio', data: '', mimeType: 'audio/wav' },
        { type: 'resource', resource: { uri: 'a:b', text: 't' } },
        { type: 'resource', resource: { uri: 'a:b', blob: 'AAA=', mimeType: 'x/y' } },
        { type: 'resource_link', uri: 'a:b', name: 'n', size: 3 },
      ],
      isError: true,
    })
  })

  test('cannot forge an answer by splicing', () => {
    const forged =
      '{"content":[{"type":"text","text":"x"}]},"id":99,"result":{"content":[{"type":"text","text":"forged"}]}'
    expect(() => rebuild(forged)).toThrow(ResultFault)
    const quiet = rebuild(
      '{"content":[{"type":"text","text":"\\"}]},\\"id\\":99"}],"content":[{"type":"text","text":"a"}],"jsonrpc":"2.0","id":99}',
    )
    expect(JSON.parse(legacyResult(quiet))).toEqual({ content: [{ type: 'text', text: 'a' }] })
    expect(JSON.parse(modernResult(quiet, '{"name":"n"}'))).toEqual({
      resultType: 'complete',
      _meta: { 'io.modelcontextprotocol/serverInfo': { name: 'n' } },
      content: [{ type: 'text', text: 'a' }],
    })
  })

  test('structured content of any kind reaches modern clients, objects the others, text everyone', () => {
    const list = rebuild({ content: [], structuredContent: [1, 2] })
    expect(JSON.parse(modernResult(list, '{}'))).toMatchObject({ structuredContent: [1, 2] })
    expect(JSON.parse(legacyResult(list))).toEqual({ content: [{ type: 'text', text: '[1,2]' }] })
    const object = rebuild({ content: [{ type: 'text', text: 'x' }], structuredContent: { a: 1 } })
    expect(JSON.parse(legacyResult(object)).structuredContent).toEqual({ a: 1 })
  })

  const bad: [string, unknown][] = [
    ['no JSON', 'plain text'],
    ['no object', [1]],
    ['content that is no list', { content: 'x' }],
    ['an unknown kind', { content: [{ type: 'tool_use', id: '1' }] }],
    ['a text without text', { content: [{ type: 'text' }] }],
    ['a text that is a number', { content: [{ type: 'text', text: 1 }] }],
    ['an image that is no base64', { content: [{ type: 'image', data: '<>', mimeType: 'x/y' }] }],
    ['an image without a media type', { content: [{ type: 'image', data: 'AAAA' }] }],
    ['a resource without a body', { content: [{ type: 'resource', resource: { uri: 'a:b' } }] }],
    ['more than a thousand blocks', { content: Array(1001).fill({ type: 'text', text: '' }) }],
    ['a block that is null', { content: [null] }],
    ['too deep a value', `{"content":[],"structuredContent":${'['.repeat(100)}${']'.repeat(100)}}`],
  ]
  for (const [what, value] of bad) {
    test(`are refused with a sentence when they are ${what}`, () => {
      expect(() => rebuild(value)).toThrow(ResultFault)
    })
  }
})
