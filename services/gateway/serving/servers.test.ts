/** The REST API: servers and credentials, from confirming to forgetting. */
import { describe, expect, test } from 'bun:test'
import { Scheme } from '@bmm/proto/secrets/v1/secret'
import { Service } from '@bmm/proto/v1/options'
import { confirmationDigest } from '@bmm/spec/confirmation'
import { digestOf } from '@bmm/spec/digest'
import { atText, canary, digest, ids, restWorldOfFile } from '../testing-rest.ts'

const world = await restWorldOfFile()
const { call, answer } = world

describe('servers', () => {
  const create = (more: Record<string, unknown> = {}, headers: Record<string, string> = {}) =>
    answer('/v1/servers', {
      method: 'POST',
      body: { draftId: ids.draft, digest, slug: 'pets', ...more },
      headers,
    })

  test('creating confirms exactly the digest and stores the values for their destinations', async () => {
    const created = await create(
      { credentials: [{ name: 'API_KEY', value: canary }], access: { kind: 'anyone' } },
      { 'idempotency-key': 'once' },
    )
    expect(created).toMatchObject({
      status: 201,
      server: { id: ids.server, slug: 'pets', state: 'live', access: { kind: 'org' } },
      build: {
        id: ids.build,
        state: 'running',
        steps: [{ step: 'try', state: 'running', elapsedMs: 12 }],
      },
    })
    const confirmed = {
      specDigest: digest,
      resourceUrl: `${world.gw.origin}/s/pets/mcp`,
      access: { kind: 'anyone' },
    } as const
    expect(world.asked.confirmed).toEqual([confirmationDigest(confirmed)])
    expect(world.asked.created[0]).toMatchObject({
      specDigest: digest,
      idempotencyKey: 'once',
      access: '{"kind":"anyone"}',
    })
    expect(world.asked.put[0]).toMatchObject({
      serverId: ids.server,
      name: 'API_KEY',
      value: new TextEncoder().encode(canary),
      destination: {
        scheme: Scheme.HEADER,
        parameter: 'X-Key',
        origins: ['https://api.example.com'],
      },
    })
    expect(JSON.stringify(created)).not.toContain(canary)
  })

  test('nothing is created when a value has no place in the spec or the draft has changed', async () => {
    const credentials = [{ name: 'OTHER', value: canary }]
    expect(await create({ credentials })).toMatchObject({ status: 400, code: 'credential_unknown' })
    const changed = await create({
      digest: digestOf('other'),
      credentials: [{ name: 'API_KEY', value: canary }],
    })
    expect(changed).toMatchObject({ status: 409, code: 'draft_changed' })
    expect(world.asked.created).toHaveLength(0)
  })

  test('a value that could not be stored is said, with the server that it was for', async () => {
    world.failing.part = 'secrets'
    const problem = await create({ credentials: [{ name: 'API_KEY', value: canary }] })
    expect(problem).toMatchObject({
      status: 503,
      code: 'credential_not_stored',
      serverId: ids.server,
    })
    expect(JSON.stringify(problem)).not.toContain(canary)
  })

  test('a taken slug is a conflict', async () => {
    expect(await create({ slug: 'taken' })).toMatchObject({ status: 409, code: 'slug_taken' })
  })

  test('are listed by pages and found by id and slug', async () => {
    expect(await answer('/v1/servers')).toMatchObject({ nextCursor: 'more' })
    expect(await answer('/v1/servers?cursor=more')).not.toHaveProperty('nextCursor')
    for (const reference of ['pets', ids.server]) {
      expect(await answer(`/v1/servers/${reference}`)).toEqual({
        status: 200,
        id: ids.server,
        orgId: ids.org,
        slug: 'pets',
        name: 'Pets',
        state: 'live',
        version: 1,
        url: 'http://localhost/s/pets/mcp',
        tools: 1,
        specDigest: digest,
        access: { kind: 'org' },
        createdAt: atText,
        createdBy: 'usr_1',
        latestBuildId: ids.build,
      })
    }
    expect(await answer('/v1/servers/nobody')).toMatchObject({ code: 'server_not_found' })
  })

  test('their tools are shown without code, to whoever may read servers and to nobody else', async () => {
    const path = '/v1/servers/pets/tools'
    const shown = await answer(path)
    expect(shown).toMatchObject({
      status: 200,
      tools: [{ name: 'echo', description: 'Does echo.', inputSchema: { type: 'object' } }],
    })
    expect(JSON.stringify(shown)).not.toContain('return input')
    const by = ({ value }: { value: string }) => ({ headers: { authorization: `Bearer ${value}` } })
    const reader = world.programs.make(['servers:read'])
    expect(await answer(path, by(reader))).toEqual(shown)
    const caller = world.programs.make(['tools:call'])
    expect(await answer(path, by(caller))).toMatchObject({ status: 403, code: 'scope_missing' })
    const nobody = await answer(path, { headers: { authorization: '' } })
    expect(nobody).toMatchObject({ status: 401, code: 'session_missing' })
  })

  test('pause, resume with the confirmed digest, delete', async () => {
    expect(await answer('/v1/servers/pets/pause', { method: 'POST' })).toMatchObject({
      state: 'paused',
    })
    const body = { specDigest: digest }
    expect((await answer('/v1/servers/pets/resume', { method: 'POST', body })).status).toBe(200)
    const confirmed = {
      specDigest: digest,
      resourceUrl: 'http://localhost/s/pets/mcp',
      access: { kind: 'people' as const, people: ['usr_1'] },
    }
    // What was confirmed before, not what the generator says of the server now.
    expect(world.asked.confirmed).toEqual([confirmationDigest(confirmed)])
    const blind = await answer('/v1/servers/pets/resume', { method: 'POST', body: {} })
    expect(blind.status).toBe(400)
    expect(await answer('/v1/servers/pets', { method: 'DELETE' })).toEqual({
      status: 200,
      finished: true,
    })
    expect(world.asked.deleted).toEqual([ids.server])
  })
})

describe('credentials', () => {
  const path = '/v1/servers/pets/credentials'
  const described = {
    name: 'API_KEY',
    destination: {
      scheme: 'header',
      parameter: 'X-Key',
      origins: ['https://api.example.com'],
    },
    optional: false,
    description: 'The key.',
    stored: true,
    lastFour: '4321',
    updatedAt: atText,
    updatedBy: 'usr_1',
  }

  test('are listed with their destination and without a value', async () => {
    expect(await answer(path)).toEqual({ status: 200, credentials: [described] })
  })

  test('a value is stored for the destination of the spec, which is shown', async () => {
    const body = { value: canary, origins: ['https://api.example.com'] }
    const stored = await answer(`${path}/API_KEY`, { method: 'PUT', body })
    expect(stored).toEqual({ status: 200, ...described })
    expect(world.asked.put[0]?.destination).toMatchObject({ origins: ['https://api.example.com'] })
    expect(world.asked.minted.at(-1)?.audiences).toEqual([Service.GENERATOR, Service.SECRETS])
  })

  test('no caller can choose another destination', async () => {
    const body = { value: canary, origins: ['https://evil.example'] }
    expect(await answer(`${path}/API_KEY`, { method: 'PUT', body })).toMatchObject({
      status: 409,
      code: 'destination_changed',
    })
    const scheme = await answer(`${path}/API_KEY`, {
      method: 'PUT',
      body: { value: canary, scheme: 'bearer' },
    })
    expect(scheme.status).toBe(400)
    expect(world.asked.put).toHaveLength(0)
  })

  test('a name that the spec does not have is refused', async () => {
    const body = { value: canary }
    expect(await answer(`${path}/OTHER`, { method: 'PUT', body })).toMatchObject({ status: 404 })
  })

  test('are deleted once', async () => {
    expect((await call(`${path}/API_KEY`, { method: 'DELETE' })).status).toBe(204)
    expect(await answer(`${path}/GONE`, { method: 'DELETE' })).toMatchObject({ status: 404 })
  })
})
