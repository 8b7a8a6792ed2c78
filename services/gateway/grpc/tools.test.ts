/** Listing and calling tools over gRPC: the access rule, limits and ends of a call are those of MCP clients. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'bun:test'
import { testIdentities } from '@bmm/lib/testing'
import { until } from '@bmm/lib/testing-until'
import { status } from '@grpc/grpc-js'
import { type TestGateway, type TestServer, testGateway, testSpec } from '../testing.ts'
import { type StandInPrograms, standInPrograms, type TestProgram } from '../testing-programs.ts'
import { type GrpcClient, grpcClient, type Refused } from './testing.ts'

const CALL = 'bmm.gateway.v1.ToolService/CallTool'
const LIST = 'bmm.gateway.v1.ToolService/ListTools'

let gw: TestGateway
let programs: StandInPrograms
let client: GrpcClient
let server: TestServer
let program: TestProgram

beforeAll(async () => {
  const identities = await testIdentities()
  programs = standInPrograms(identities)
  gw = await testGateway({
    identities,
    callTimeoutMs: 4_000,
    routes: (name, router) => (name === 'auth' ? programs.serve(router) : undefined),
  })
  client = grpcClient(`localhost:${gw.gateway.grpcPort}`)
  server = gw.addServer('echoes', testSpec(['echo', 'stuck', 'broken']))
  program = programs.make(['tools:call'], gw.person)
})
afterEach(() => {
  gw.world.tools.clear()
  gw.world.cancelled.length = 0
})
afterAll(async () => {
  client[Symbol.dispose]()
  await gw[Symbol.asyncDispose]()
})

type Asked = { server?: string; tool?: string; arguments_json?: string }
const echo = { server: 'echoes', tool: 'echo', arguments_json: '{"text":"hello"}' }
const call = (asked: Asked = {}, more: object = {}) =>
  client.call(CALL, { ...echo, ...asked }, { token: program.value, ...more })
const refusal = (asked: Asked = {}, more: object = {}) =>
  client.refusal(CALL, { ...echo, ...asked }, { token: program.value, ...more })
const coded = ({ code, reason }: Refused) => [code, reason]

describe('a call', () => {
  test('is the person’s on the runner, with the id of the request, and comes back rebuilt', async () => {
    const { result_json, is_error } = await call()
    expect(JSON.parse(String(result_json))).toEqual({
      content: [{ type: 'text', text: '{"text":"hello"}' }],
    })
    expect(is_error).toBe(false)
    expect(gw.world.calls.at(-1)).toMatchObject({
      serverId: server.serverId,
      tool: 'echo',
      userId: gw.person.userId,
      orgId: gw.person.orgId,
      requestId: expect.stringMatching(/^req_/),
    })
  })

  test('says when the tool itself failed; what is no result is refused', async () => {
    gw.world.tools.set('broken', () => '{"content":[{"type":"text","text":"no"}],"isError":true}')
    expect(await call({ tool: 'broken' })).toMatchObject({ is_error: true })
    gw.world.tools.set('broken', () => '{"content":[{"type":"executable"}]}')
    expect(coded(await refusal({ tool: 'broken' }))).toEqual([
      status.FAILED_PRECONDITION,
      'result_invalid',
    ])
  })

  test.each([
    [{ server: 'nobody' }, status.NOT_FOUND, 'server_not_found'],
    [{ server: '../etc' }, status.NOT_FOUND, 'server_not_found'],
    [{ server: '' }, status.INVALID_ARGUMENT, 'invalid_request'],
    [{ tool: 'absent' }, status.NOT_FOUND, 'tool_not_found'],
    [{ arguments_json: '[1]' }, status.INVALID_ARGUMENT, 'arguments_invalid'],
    [{ arguments_json: '{"a":1,"a":2}' }, status.INVALID_ARGUMENT, 'arguments_invalid'],
    [{ arguments_json: '{' }, status.INVALID_ARGUMENT, 'arguments_invalid'],
    [
      { arguments_json: `${'{"a":'.repeat(80)}1${'}'.repeat(80)}` },
      status.INVALID_ARGUMENT,
      'arguments_invalid',
    ],
    [
      { arguments_json: `{"a":"${'a'.repeat(1_100_000)}"}` },
      status.INVALID_ARGUMENT,
      'invalid_request',
    ],
    [
      // Few bytes, and too many values: counted before anything is parsed.
      { arguments_json: `{"a":[${Array(200_000).fill('1')}]}` },
      status.INVALID_ARGUMENT,
      'arguments_invalid',
    ],
  ])('with %j is refused', async (asked, code, reason) => {
    const before = gw.world.calls.length
    expect(coded(await refusal(asked))).toEqual([code, reason])
    expect(gw.world.calls).toHaveLength(before)
  })

  test('needs the scope, and a place in the access rule', async () => {
    const reader = programs.make(['servers:read', 'servers:write', 'logs:read'], gw.person)
    expect(coded(await refusal({}, { token: reader.value }))).toEqual([
      status.PERMISSION_DENIED,
      'scope_missing',
    ])
    const stranger = programs.make(['tools:call'])
    const unknown = await refusal({ server: 'no-such-server' }, { token: stranger.value })
    expect(coded(unknown)).toEqual([status.NOT_FOUND, 'server_not_found'])
    const foreign = await refusal({}, { token: stranger.value })
    expect(foreign).toEqual(unknown)
    const listing = client.refusal(LIST, { server: 'echoes' }, { token: stranger.value })
    expect(coded(await listing)).toEqual([status.NOT_FOUND, 'server_not_found'])
    gw.addServer('public', testSpec(['echo']), { access: { kind: 'anyone' } })
    await call({ server: 'public' }, { token: stranger.value })
  })

  test('of a paused server is refused', async () => {
    const pausing = gw.addServer('pausing', testSpec(['echo']))
    await call({ server: 'pausing' })
    gw.stop(pausing, 'paused')
    await until(async () => {
      const answer = await call({ server: 'pausing' }).catch(coded)
      return Array.isArray(answer) && answer[1] === 'server_not_live'
    })
  })
})

describe('a call that lasts', () => {
  const hang = () =>
    gw.world.tools.set('stuck', ({ signal }) => {
      const { promise, resolve } = Promise.withResolvers<{ code: string; message: string }>()
      signal.addEventListener('abort', () => resolve({ code: 'cancelled', message: 'It ended.' }))
      return promise
    })

  test('is cancelled at the caller’s deadline', async () => {
    hang()
    expect((await refusal({ tool: 'stuck' }, { deadlineMs: 700 })).code).toBe(
      status.DEADLINE_EXCEEDED,
    )
    await until(() => gw.world.cancelled.length === 1)
  })

  test('is cancelled when the token is revoked, and the caller hears why', async () => {
    hang()
    const { value, tokenId } = programs.make(['tools:call'], gw.person)
    const before = gw.world.calls.length
    const refused = refusal({ tool: 'stuck' }, { token: value })
    await until(() => gw.world.calls.length > before)
    gw.world.revoked.push({ grantId: tokenId, at: Date.now() })
    expect(coded(await refused)).toEqual([status.PERMISSION_DENIED, 'revoked'])
    await until(() => gw.world.cancelled.length === 1)
  })

  test('counts with those of the same person’s MCP clients: 64 at a time', async () => {
    hang()
    const token = await gw.token(server)
    const gone = new AbortController()
    const mcp = Array.from({ length: 64 }, (_, id) =>
      fetch(server.url, {
        method: 'POST',
        signal: gone.signal,
        headers: {
          'content-type': 'application/json',
          accept: 'application/json, text/event-stream',
          authorization: `Bearer ${token}`,
        },
        body: JSON.stringify({
          ...{ jsonrpc: '2.0', id, method: 'tools/call' },
          params: { name: 'stuck', arguments: {} },
        }),
      }).catch(() => undefined),
    )
    const before = gw.world.calls.length
    await until(() => gw.world.calls.length === before + 64)
    expect(coded(await refusal())).toEqual([status.RESOURCE_EXHAUSTED, 'too_many_calls'])
    gone.abort()
    await Promise.all(mcp)
    await until(() => call().then(Boolean, () => false))
  }, 30_000)
})

test('a list has the tools as MCP clients see them', async () => {
  const { tools, next_cursor } = await client.call(
    LIST,
    { server: 'echoes' },
    { token: program.value },
  )
  expect(tools).toMatchObject([
    { name: 'echo', description: 'Does echo.' },
    { name: 'stuck' },
    { name: 'broken' },
  ])
  expect(next_cursor).toBe('')
  const wrong = { server: 'echoes', cursor: 'x' }
  const refused = await client.refusal(LIST, wrong, { token: program.value })
  expect(coded(refused)).toEqual([status.INVALID_ARGUMENT, 'cursor_invalid'])
})
