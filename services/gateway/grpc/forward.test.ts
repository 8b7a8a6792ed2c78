/** The forward loop from outside, by grpc-js: what passes, what is refused, and what reaches the services behind. */
import { afterAll, describe, expect, test } from 'bun:test'
import { connect, constants } from 'node:http2'
import { newId } from '@bmm/lib/ids'
import { until } from '@bmm/lib/testing-until'
import { WatchLogsRequestSchema } from '@bmm/proto/runner/v1/runner_service'
import { confirmationDigest } from '@bmm/spec/confirmation'
import { resourceUrl } from '@bmm/spec/resource-url'
import { accessSchema } from '@bmm/spec/statement'
import { create, toBinary } from '@bufbuild/protobuf'
import { status } from '@grpc/grpc-js'
import type { TestProgram } from '../testing-programs.ts'
import {
  canary,
  confirmedBefore,
  digest,
  ids,
  LONG_LOG,
  LONG_LOG_LINES,
  restWorldOfFile,
  session,
} from '../testing-rest.ts'
import { grpcClient, type Refused, refusedFrom } from './testing.ts'

const SERVERS = 'bmm.generator.v1.ServerService'
const BUILDS = 'bmm.generator.v1.BuildService'
const DRAFTS = 'bmm.generator.v1.DraftService'
const LOGS = 'bmm.runner.v1.LogService'
const REFUSALS = 'bmm.broker.v1.RefusalService'

const world = await restWorldOfFile()
const target = `localhost:${world.gw.gateway.grpcPort}`
const client = grpcClient(target)
afterAll(() => client[Symbol.dispose]())

const tokenOf = (...scopes: string[]) => world.programs.make(scopes).value
const list = (token?: string, metadata?: Record<string, string>) =>
  client.call(
    `${SERVERS}/ListServers`,
    {},
    { ...(token && { token }), ...(metadata && { metadata }) },
  )
const coded = ({ code, reason }: Refused) => [code, reason]
const revoke = ({ tokenId }: TestProgram) =>
  world.gw.world.revoked.push({ grantId: tokenId, at: Date.now() })

/** A stream that only its ends are of interest of. */
function open(method: string, request: object, token: string, from = client) {
  const stream = from.stream(method, request, { token })
  const seen: unknown[] = []
  const ended = new Promise<Refused | undefined>((resolve) => {
    stream.on('data', (message) => seen.push(message))
    stream.on('error', (error) => resolve(refusedFrom(error as Parameters<typeof refusedFrom>[0])))
    stream.on('end', () => resolve(undefined))
  })
  return { stream, seen, ended }
}
const watchForEver = { build_id: ids.build, after_seq: 7 }

describe('what passes', () => {
  test('a read, for the person of the token, shown to the service behind alone', async () => {
    const { servers } = await list(tokenOf('servers:read'))
    expect(servers).toMatchObject([{ slug: 'pets', state: 'SERVER_STATE_LIVE' }])
    expect(world.programs.asked.audiences.at(-1)).toEqual(['generator'])
  })

  test('a creation, with what the message names as what is confirmed', async () => {
    const token = tokenOf('servers:write')
    const request = { draft_id: ids.draft, spec_digest: digest, slug: 'pets' }
    const { server, build } = await client.call(`${SERVERS}/CreateServer`, request, { token })
    expect([server, build]).toMatchObject([{ id: ids.server }, { id: ids.build }])
    const anyone = { ...request, access: '{"kind":"anyone"}' }
    await client.call(`${SERVERS}/CreateServer`, anyone, { token })
    const confirmed = (kind: 'org' | 'anyone') =>
      confirmationDigest({
        specDigest: digest,
        resourceUrl: resourceUrl(world.gw.origin, 'pets'),
        access: { kind },
      })
    expect(world.asked.confirmed).toEqual([confirmed('org'), confirmed('anyone')])
    expect(world.programs.asked.audiences.at(-1)).toEqual(['generator', 'secrets'])
    const senseless = { ...request, access: '{"kind":"everybody"}' }
    const refused = await client.refusal(`${SERVERS}/CreateServer`, senseless, { token })
    expect(coded(refused)).toEqual([status.INVALID_ARGUMENT, 'access_invalid'])
  })

  test('a resume, which confirms the spec that the caller looked at', async () => {
    const token = tokenOf('servers:write')
    const request = { server_id: ids.server, spec_digest: digest }
    await client.call(`${SERVERS}/ResumeServer`, request, { token })
    expect(world.asked.confirmed).toEqual([
      confirmationDigest({
        specDigest: digest,
        resourceUrl: confirmedBefore.resourceUrl,
        access: accessSchema.parse(JSON.parse(confirmedBefore.access)),
      }),
    ])
  })

  test('a build’s events to their end', async () => {
    const { seen, ended } = open(
      `${BUILDS}/WatchBuild`,
      { build_id: ids.build },
      tokenOf('servers:read'),
    )
    expect(await ended).toBeUndefined()
    expect(seen).toMatchObject([{ event: { seq: '1' } }, { event: { seq: '2', line: 'scanning' } }])
  })

  test('a deadline beyond all timers, as the longest one', async () => {
    const token = tokenOf('servers:read')
    for (const hours of [25 * 24, 99_999_999]) {
      const late = { token, deadlineMs: hours * 3_600_000 }
      expect(await client.call(`${SERVERS}/ListServers`, {}, late)).toHaveProperty('servers')
      expect(world.asked.headers.at(-1)?.get('connect-timeout-ms')).toBe('300000')
    }
  })

  test('a document of 8 MiB, and to other methods no message above 1.25 MiB', async () => {
    const token = tokenOf('servers:write')
    const document = Buffer.alloc(8 * 1024 * 1024, 'a')
    await client.call(`${DRAFTS}/CreateDraft`, { document }, { token })
    expect(world.asked.drafts[0]?.source.value).toHaveLength(document.length)
    const slug = 's'.repeat(2 * 1024 * 1024)
    const refused = await client.refusal(`${SERVERS}/CreateServer`, { slug }, { token })
    expect(refused.code).toBe(status.RESOURCE_EXHAUSTED)
    expect(world.asked.created).toEqual([])
  })

  test('a refusal of the service behind, with its code and reason; a bug says nothing', async () => {
    const token = tokenOf('servers:write')
    const request = { draft_id: ids.draft, spec_digest: digest, slug: 'taken' }
    const taken = await client.refusal(`${SERVERS}/CreateServer`, request, { token })
    expect(taken).toEqual({
      code: status.ALREADY_EXISTS,
      reason: 'slug_taken',
      message: 'That slug is taken.',
    })
    const bug = await client.refusal(
      `${DRAFTS}/CreateDraft`,
      { document: Buffer.from('x'), name: 'bug' },
      { token },
    )
    expect([bug.code, bug.reason]).toEqual([status.INTERNAL, undefined])
    expect(bug.message).not.toContain(canary)
    const malformed = await client.refusal(`${SERVERS}/ListServers`, { limit: 1000 }, { token })
    expect(coded(malformed)).toEqual([status.INVALID_ARGUMENT, 'invalid_request'])
  })
})

describe('metadata of the caller', () => {
  test('reaches nothing: not a user, not a service, not a request id', async () => {
    const program = world.programs.make(['servers:read'])
    const forged = {
      'bmm-user': 'eyJhbGciOiJFZERTQSJ9.e30.x',
      'bmm-request-id': 'forged',
      cookie: `__Host-bmm=${session}`,
      'x-anything': 'else',
    }
    await list(program.value, forged)
    const [headers] = world.asked.headers
    const names = [...(headers?.keys() ?? [])]
    for (const name of ['cookie', 'x-anything', 'grpc-timeout']) expect(names).not.toContain(name)
    expect(headers?.get('bmm-request-id')).toMatch(/^req_/)
    const claims = JSON.parse(
      Buffer.from(headers?.get('bmm-user')?.split('.')[1] ?? '', 'base64url').toString(),
    )
    expect(claims).toMatchObject({ sub: program.user.userId, sid: program.tokenId })
    expect(headers?.get('authorization')).not.toContain(program.value)
  })
})

describe('refused', () => {
  test('without a token, or with one that is none', async () => {
    const bare = await list().catch(coded)
    expect(bare).toEqual([status.UNAUTHENTICATED, 'token_missing'])
    for (const wrong of [`bmm_${'0'.repeat(49)}`, 'bmm_x', session, 'x']) {
      expect(await list(wrong).catch(coded)).toEqual([status.UNAUTHENTICATED, 'token_invalid'])
    }
    const basic = await list(undefined, { authorization: 'Basic eDp5' }).catch(coded)
    expect(basic).toEqual([status.UNAUTHENTICATED, 'token_missing'])
  })

  test('without the scope, before the message is looked at', async () => {
    const token = tokenOf('servers:read', 'logs:read', 'tools:call')
    const refused = await client.refusal(`${SERVERS}/PauseServer`, { server_id: 'x' }, { token })
    expect(coded(refused)).toEqual([status.PERMISSION_DENIED, 'scope_missing'])
    expect(refused.message).toContain('servers:write')
    const caller = tokenOf('tools:call')
    expect(await list(caller).catch(coded)).toEqual([status.PERMISSION_DENIED, 'scope_missing'])
  })

  test('the refusals of a server of another organisation, which the broker could not tell from none', async () => {
    const token = tokenOf('logs:read')
    const listed = (serverId: string) =>
      client.call(`${REFUSALS}/ListRefusals`, { server_id: serverId }, { token })
    expect((await listed(ids.server)).refusals).toMatchObject([{ reason: 'origin_not_allowed' }])
    expect(world.programs.asked.audiences.at(-1)).toEqual(['broker', 'generator'])
    expect(await listed(newId('srv')).catch(coded)).toEqual([status.NOT_FOUND, 'server_not_found'])
  })

  test('with the scope, by a role that may not', async () => {
    const { value } = world.programs.make(['servers:write'], { role: 'viewer' })
    const request = { draft_id: ids.draft, spec_digest: digest, slug: 'pets' }
    const refused = await client.refusal(`${SERVERS}/CreateServer`, request, { token: value })
    expect(coded(refused)).toEqual([status.PERMISSION_DENIED, 'permission_missing'])
    expect(world.asked.created).toEqual([])
  })

  test.each([
    'bmm.generator.v1.ServingService/ListServings',
    'bmm.secrets.v1.SecretsService/PutSecret',
    'bmm.secrets.v1.SecretsService/OpenSecrets',
    'bmm.secrets.v1.StatementService/SignServe',
    'bmm.runner.v1.DeploymentService/Deploy',
    'bmm.broker.v1.TargetService/AllowTarget',
  ])('%s, which is not external, as if it did not exist', async (method) => {
    const token = tokenOf('servers:write', 'credentials:write')
    const refused = await client.refusal(method, {}, { token })
    expect([refused.code, refused.message]).toEqual([
      status.UNIMPLEMENTED,
      'There is no such method here.',
    ])
  })

  test('a compressed message: nothing is inflated here', async () => {
    using zipping = grpcClient(target, { 'grpc.default_compression_algorithm': 2 })
    const token = tokenOf('servers:read')
    const refused = await zipping.refusal(`${SERVERS}/ListServers`, {}, { token })
    expect(refused.code).toBe(status.UNIMPLEMENTED)
  })
})

describe('a token that ends', () => {
  test('is refused from then on, and its streams end', async () => {
    const program = world.programs.make(['servers:read'])
    const other = world.programs.make(['servers:read'])
    const mine = open(`${BUILDS}/WatchBuild`, watchForEver, program.value)
    const theirs = open(`${BUILDS}/WatchBuild`, watchForEver, other.value)
    await until(() => mine.seen.length === 1 && theirs.seen.length === 1)
    revoke(program)
    const ending = await mine.ended
    expect(ending && coded(ending)).toEqual([status.UNAUTHENTICATED, 'token_invalid'])
    expect(await list(program.value).catch(coded)).toEqual([
      status.UNAUTHENTICATED,
      'token_invalid',
    ])
    await until(() => world.asked.watches.includes('build ended'))
    expect(world.asked.watches.filter((each) => each === 'build ended')).toHaveLength(1)
    await list(other.value)
    theirs.stream.cancel()
    await theirs.ended
  })

  test('is remembered for seconds only', async () => {
    const program = world.programs.make(['servers:read'])
    const before = world.programs.asked.exchanges
    for (let call = 0; call < 5; call++) await list(program.value)
    expect(world.programs.asked.exchanges - before).toBe(1)
    world.programs.forget(program)
    await until(() =>
      list(program.value).then(
        () => false,
        ({ code }) => code === status.UNAUTHENTICATED,
      ),
    )
  }, 20_000)
})

describe('what a caller holds', () => {
  test('is freed when it cancels, up to the service behind', async () => {
    const watch = open(`${BUILDS}/WatchBuild`, watchForEver, tokenOf('servers:read'))
    await until(() => watch.seen.length === 1)
    watch.stream.cancel()
    expect((await watch.ended)?.code).toBe(status.CANCELLED)
    await until(() => world.asked.watches.includes('build ended'))
  })

  test('is freed when it vanishes without a word', async () => {
    const vanishing = grpcClient(target)
    const token = tokenOf('servers:read')
    const watch = open(`${BUILDS}/WatchBuild`, watchForEver, token, vanishing)
    await until(() => watch.seen.length === 1)
    vanishing[Symbol.dispose]()
    watch.stream.cancel()
    await until(() => world.asked.watches.includes('build ended'))
  })

  test('is at most 64 calls a person, and everything again after they ended', async () => {
    const { value } = world.programs.make(['servers:read'])
    const held = Array.from({ length: 64 }, () => open(`${BUILDS}/WatchBuild`, watchForEver, value))
    await until(() => held.every(({ seen }) => seen.length === 1))
    expect(await list(value).catch(coded)).toEqual([status.RESOURCE_EXHAUSTED, 'too_many_calls'])
    for (const { stream } of held) stream.cancel()
    await Promise.all(held.map(({ ended }) => ended))
    await until(() => list(value).then(Boolean, () => false))
  }, 30_000)

  test('is no more than the window while it does not read, and is freed blocked as it is', async () => {
    const message = create(WatchLogsRequestSchema, { serverId: newId('srv'), afterSeq: LONG_LOG })
    const connection = connect(`http://${target}`)
    const stream = connection.request({
      ':method': 'POST',
      ':path': `/${LOGS}/WatchLogs`,
      'content-type': 'application/grpc',
      te: 'trailers',
      authorization: `Bearer ${tokenOf('logs:read')}`,
    })
    stream.on('error', () => {})
    stream.pause()
    const bytes = toBinary(WatchLogsRequestSchema, message)
    stream.end(Buffer.concat([Buffer.from([0, 0, 0, 0, bytes.length]), bytes]))
    await until(() => world.asked.logLines > 0)
    let lines = -1
    await until(async () => {
      const before = lines
      lines = world.asked.logLines
      await Bun.sleep(200)
      return before === lines
    })
    expect(lines).toBeLessThan(LONG_LOG_LINES)
    stream.close(constants.NGHTTP2_CANCEL)
    await until(() => world.asked.watches.includes('log ended'))
    connection.destroy()
  }, 30_000)
})
