/** Automation over the whole stack: both walk-throughs of the documents by other people's gRPC clients, and what a service token may not. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { reasonOf } from '@bmm/lib/errors'
import { until } from '@bmm/lib/testing-until'
import { RefusalService } from '@bmm/proto/broker/v1/broker_service'
import { ToolService } from '@bmm/proto/gateway/v1/tool_service'
import { ServerService } from '@bmm/proto/generator/v1/generator_service'
import { type Client, Code, ConnectError, createClient } from '@connectrpc/connect'
import { createGrpcTransport } from '@connectrpc/connect-node'
import { z } from 'zod'
import { type Account, serve, signUp, succeeded } from './account.ts'
import { type Stack, startStack } from './stack.ts'

const checkout = join(import.meta.dir, '..')
const walkThrough = join(checkout, 'services/gateway/grpc/walk-through')
/** Promised are five seconds; a loaded machine may take longer, and everything else ends in minutes. */
const REVOKED_WITHIN_MS = 15_000

let folder: string
let stack: Stack
let ann: Account
let bob: Account
let api: ReturnType<typeof startGreetings>

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'bmm-grpc-'))
  api = startGreetings()
  writeFileSync(join(folder, 'openapi.json'), JSON.stringify(api.document))
  stack = await startStack()
  await stack.run('targets', 'allow', api.target, '--everyone')
  ann = await signUp(stack, 'ann@example.com')
  bob = await signUp(stack, 'bob@example.com')
  await stack.run('login', '--email', 'ann@example.com')
}, 180_000)
afterAll(async () => {
  await stack?.[Symbol.asyncDispose]()
  await api?.stop()
  rmSync(folder, { recursive: true, force: true })
})

/** An API without a key. */
function startGreetings() {
  const slow: string[] = []
  const server = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    async fetch(request) {
      const { pathname, searchParams } = new URL(request.url)
      if (searchParams.has('ms')) slow.push(pathname)
      await Bun.sleep(Number(searchParams.get('ms') ?? '0'))
      const greeting = `Hello ${decodeURIComponent(pathname.slice(1))}`
      const guests = searchParams.get('guests')
      if (guests === null) return Response.json({ greeting })
      return new Response(`{"greeting":"${greeting}","guests":${guests}}`, {
        headers: { 'content-type': 'application/json' },
      })
    },
  })
  const target = `127.0.0.1:${server.port}`
  return {
    target,
    slow,
    stop: () => server.stop(true),
    document: {
      openapi: '3.1.0',
      info: { title: 'Greetings', version: '1' },
      servers: [{ url: `http://${target}` }],
      paths: {
        '/{name}': {
          get: {
            operationId: 'greet',
            parameters: [
              { name: 'name', in: 'path', required: true, schema: { type: 'string' } },
              { name: 'ms', in: 'query', schema: { type: 'integer' } },
              { name: 'guests', in: 'query', schema: { type: 'integer' } },
            ],
            responses: { 200: { description: 'OK' } },
          },
        },
      },
    },
  }
}

const madeSchema = z.object({ value: z.string(), token: z.object({ id: z.string() }) })

/** As ./bmm prints it. */
async function makeToken(...scopes: string[]) {
  const words = ['tokens', 'create', '--name', 'walk', '--scope', ...scopes, '--expires', '2d']
  const { value, token } = madeSchema.parse(JSON.parse(await stack.run(...words, '--json')))
  return { value, id: token.id }
}

async function run(command: string[], env: Record<string, string> = {}) {
  const child = Bun.spawn(command, {
    cwd: folder,
    env: { PATH: Bun.env.PATH ?? '', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const [stdout, stderr, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ])
  if (code !== 0) throw new Error(`${command[0]} ended with ${code}: ${stdout}${stderr}`)
  return stdout
}

const steps = [
  /^draft dft_\w+: 1 tools, sha256:/m,
  /^server srv_\w+ at http:\/\/localhost:\d+\/s\/by-\w+\/mcp$/m,
  /^build: BUILD_STEP_TRY BUILD_STATE_SUCCEEDED/m,
  /^build: BUILD_STEP_DEPLOY BUILD_STATE_SUCCEEDED/m,
  /^answer: .*Hello Ada/m,
]
const expectWalked = (output: string) => {
  for (const step of steps) expect(output).toMatch(step)
}

describe('a document becomes an answered call', () => {
  test('by grpc-js on Node', async () => {
    const { value } = await makeToken('servers:write', 'tools:call')
    const words = [stack.grpc, 'openapi.json', 'by-node', 'greet', '{"name":"Ada"}']
    const walk = join(walkThrough, 'walk.mjs')
    expectWalked(await run(['node', walk, ...words], { BMM_TOKEN: value }))
  }, 90_000)

  test('by Python’s grpcio', async () => {
    await run(['sh', join(walkThrough, 'stubs.sh'), folder])
    const { value } = await makeToken('servers:write', 'tools:call')
    const words = [stack.grpc, 'openapi.json', 'by-python', 'greet', '{"name":"Ada"}']
    const env = { BMM_TOKEN: value, PYTHONPATH: folder }
    const walk = join(walkThrough, 'walk.py')
    expectWalked(await run(['/usr/bin/python3', walk, ...words], env))
  }, 90_000)
})

const problemSchema = z.object({ status: z.number(), code: z.string() })
const problemOf = async (answer: Response) => {
  const { status, code } = problemSchema.parse(await answer.json())
  return [status, code]
}

type Clients = {
  tools: Client<typeof ToolService>
  servers: Client<typeof ServerService>
  refusals: Client<typeof RefusalService>
}

function clientsWith(token: string): Clients {
  const transport = createGrpcTransport({
    baseUrl: `http://${stack.grpc}`,
    interceptors: [
      (next) => (request) => {
        request.header.set('authorization', `Bearer ${token}`)
        return next(request)
      },
    ],
  })
  return {
    tools: createClient(ToolService, transport),
    servers: createClient(ServerService, transport),
    refusals: createClient(RefusalService, transport),
  }
}

const refusal = (call: Promise<unknown>) =>
  call.then(
    () => 'done',
    (thrown: unknown) => {
      const error = ConnectError.from(thrown)
      return [Code[error.code], reasonOf(error)]
    },
  )

describe('a service token', () => {
  test('lists and calls the tools of live servers, and its calls are counted like all others', async () => {
    const { tools } = clientsWith((await makeToken('tools:call')).value)
    const listed = await tools.listTools({ server: 'by-node' })
    expect(listed.tools.map(({ name }) => name)).toEqual(['greet'])
    const call = { server: 'by-node', tool: 'greet', argumentsJson: '{"name":"Bo"}' }
    for (let count = 0; count < 3; count++) await tools.callTool(call)
    const failed = await tools.callTool({ ...call, argumentsJson: '{}' })
    expect([failed.isError, failed.resultJson]).toEqual([true, expect.stringMatching(/name/)])
    await until(async () => {
      const stats = JSON.parse(await stack.run('stats', 'by-node', '--json'))
      return stats.total.calls === 5 && stats.total.toolErrors === 1
    }, 'the calls are counted')
    const exact = { ...call, argumentsJson: '{"name":"Bo","guests":9007199254740993}' }
    expect((await tools.callTool(exact)).resultJson).toContain('\\"guests\\":9007199254740993}')
  }, 60_000)

  test('acts in its organisation alone', async () => {
    const theirs = await serve(bob, {
      source: { document: JSON.stringify(api.document) },
      slug: 'bobs',
    })
    const { tools, servers } = clientsWith((await makeToken('servers:write', 'tools:call')).value)
    expect(await refusal(tools.callTool({ server: 'bobs', tool: 'greet' }))).toEqual([
      'NotFound',
      'server_not_found',
    ])
    expect(await refusal(servers.getServer({ server: 'bobs' }))).toEqual([
      'NotFound',
      'server_not_found',
    ])
    expect(await refusal(servers.deleteServer({ serverId: theirs.id }))).toEqual([
      'NotFound',
      'server_not_found',
    ])
    const { refusals } = clientsWith((await makeToken('logs:read')).value)
    const { server: own } = await servers.getServer({ server: 'by-node' })
    expect(await refusals.listRefusals({ serverId: own?.id ?? '' })).toMatchObject({ refusals: [] })
    expect(await refusal(refusals.listRefusals({ serverId: theirs.id }))).toEqual([
      'NotFound',
      'server_not_found',
    ])
  }, 60_000)

  test('does by REST and by ./bmm what its scopes permit, and makes no other token', async () => {
    const { value } = await makeToken('servers:read')
    const as = (method: string, path: string, body?: object) =>
      fetch(`${stack.gateway}${path}`, {
        method,
        headers: { authorization: `Bearer ${value}`, 'content-type': 'application/json' },
        ...(body && { body: JSON.stringify(body) }),
      })
    expect((await as('GET', '/v1/servers')).status).toBe(200)
    const refusals = await Promise.all([
      as('DELETE', '/v1/servers/by-node'),
      as('GET', '/v1/servers/by-node/credentials'),
      as('GET', '/v1/tokens'),
      as('POST', '/v1/tokens', { name: 'more', scopes: ['servers:write'], expiresInDays: 1 }),
    ])
    expect(await Promise.all(refusals.map(problemOf))).toEqual([
      [403, 'scope_missing'],
      [403, 'scope_missing'],
      [403, 'session_needed'],
      [403, 'session_needed'],
    ])
    expect((await as('GET', '/v1/me')).status).toBe(200)
    const bmm = [join(checkout, 'bmm'), 'servers', 'list', '--data', stack.data, '--json']
    const listed = JSON.parse(await run(bmm, { BMM_TOKEN: value }))
    expect(listed.servers.map(({ slug }: { slug: string }) => slug)).toContain('by-node')
  }, 60_000)

  test('ends within seconds with the call that runs, here and by REST', async () => {
    const { value, id } = await makeToken('servers:read', 'tools:call')
    const { tools, servers } = clientsWith(value)
    await servers.listServers({})
    const slow = { server: 'by-node', tool: 'greet', argumentsJson: '{"name":"x","ms":30000}' }
    const running = refusal(tools.callTool(slow, { timeoutMs: 60_000 }))
    await until(() => api.slow.length > 0, 'the call to run')
    await stack.run('tokens', 'revoke', id)
    const endedAt = performance.now()
    await until(
      async () => (await refusal(servers.listServers({}))) !== 'done',
      'the token is refused',
    )
    expect(await running).toEqual(['PermissionDenied', 'revoked'])
    expect(performance.now() - endedAt).toBeLessThan(REVOKED_WITHIN_MS)
    expect(await refusal(servers.listServers({}))).toEqual(['Unauthenticated', 'token_invalid'])
    const rest = await fetch(`${stack.gateway}/v1/servers`, {
      headers: { authorization: `Bearer ${value}` },
    })
    expect(await problemOf(rest)).toEqual([401, 'token_invalid'])
  }, 60_000)

  test('shows when it was last used, and its value nowhere', async () => {
    const { value, id } = await makeToken('servers:read')
    await clientsWith(value).servers.listServers({})
    await until(async () => {
      const { tokens } = JSON.parse(await stack.run('tokens', 'list', '--json'))
      return tokens.some((token: { id: string; lastUsedAt?: string }) => {
        return token.id === id && token.lastUsedAt !== undefined
      })
    }, 'the use is kept')
    expect(await stack.run('tokens', 'list')).not.toContain(value.slice(4, 40))
    for (const service of ['auth', 'gateway', 'generator']) {
      const log = await Bun.file(join(stack.data, 'logs', `${service}.log`)).text()
      expect(log).not.toContain(value.slice(4, 40))
    }
    expect(await Bun.file(join(stack.data, 'logs', 'auth.log')).text()).toContain(id)
    succeeded(await ann.ask('DELETE', `/v1/tokens/${id}`))
  }, 60_000)
})
