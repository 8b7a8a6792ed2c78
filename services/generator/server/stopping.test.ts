/** Pausing, resuming and deleting servers: signed, carried out, and finished after failures. */
import { describe, expect, test } from 'bun:test'
import { testUser } from '@bmm/lib/testing'
import { outcomeOf, reason } from '@bmm/lib/testing-outcome'
import { BuildState, ServerState } from '@bmm/proto/generator/v1/server'
import { Scheme } from '@bmm/proto/secrets/v1/secret'
import { SecretsService } from '@bmm/proto/secrets/v1/secrets_service'
import { digestOf } from '@bmm/spec/digest'
import { stopStatementSchema } from '@bmm/spec/statement'
import { confirmedDigest, generatorOfFile, jsonOf } from '../testing-calls.ts'

const { generator, calls, owner } = await generatorOfFile({ works: true })

describe('pausing and resuming', () => {
  test('a pause is signed, ends grants and sandboxes; a resume serves under a new epoch', async () => {
    const server = await calls.liveServer()
    const before = (await calls.serving.listServings({})).servings.find(
      (s) => s.serverId === server.id,
    )
    const paused = await calls.servers.pauseServer(
      { serverId: server.id },
      await generator.as(owner),
    )
    expect(paused.server?.state).toBe(ServerState.PAUSED)
    expect(generator.neighbours.grantsEnded).toContain(server.id)
    const stop = stopStatementSchema.parse(jsonOf(generator.neighbours.stopped.at(-1)))
    expect(stop).toMatchObject({ serverId: server.id, reason: 'paused' })
    const resumed = await calls.servers.resumeServer(
      { serverId: server.id },
      await generator.as(owner, confirmedDigest(server)),
    )
    expect(resumed.server?.state).toBe(ServerState.LIVE)
    const after = (await calls.serving.listServings({})).servings.find(
      (s) => s.serverId === server.id,
    )
    expect(Number(after?.epoch)).toBe(Number(before?.epoch) + 2)
    expect(Number(after?.seq)).toBeGreaterThan(Number(before?.seq))
  })
  test('what is not live cannot be paused, what is not paused cannot be resumed', async () => {
    const server = await calls.liveServer()
    const { id: serverId } = server
    const resume = async (digest?: string) =>
      reason(calls.servers.resumeServer({ serverId }, await generator.as(owner, digest)))
    const pause = async () =>
      reason(calls.servers.pauseServer({ serverId }, await generator.as(owner)))
    expect(await resume(confirmedDigest(server))).toBe('server_not_paused')
    expect(await pause()).toBe('done')
    expect(await pause()).toBe('server_not_live')
    expect(await resume()).toBe('not_confirmed')
    expect(await resume(digestOf('other'))).toBe('not_confirmed')
    expect(await resume(server.specDigest)).toBe('not_confirmed')
    const anyone = { ...server, access: '{"kind":"anyone"}' }
    expect(await resume(confirmedDigest(anyone))).toBe('not_confirmed')
    expect(await resume(confirmedDigest(server))).toBe('done')
  })
  test('another organisation and a viewer are refused', async () => {
    const { id: serverId } = await calls.liveServer()
    const stranger = await generator.as(testUser())
    expect(await reason(calls.servers.pauseServer({ serverId }, stranger))).toBe('server_not_found')
    expect(await reason(calls.servers.resumeServer({ serverId }, stranger))).toBe(
      'server_not_found',
    )
    const viewer = await generator.as({ ...owner, role: 'viewer' })
    expect(await reason(calls.servers.pauseServer({ serverId }, viewer))).toBe('permission_missing')
  })
  test('a pause that could not reach the runner is finished later, and a resume waits for it', async () => {
    const server = await calls.liveServer()
    const { id: serverId } = server
    generator.neighbours.onStop = async () => {
      throw new Error('not now')
    }
    const paused = await calls.servers.pauseServer({ serverId }, await generator.as(owner))
    expect(paused.server?.state).toBe(ServerState.PAUSED)
    const resume = async () =>
      reason(
        calls.servers.resumeServer(
          { serverId },
          await generator.as(owner, confirmedDigest(server)),
        ),
      )
    expect(await resume()).toBe('stop_unfinished')
    generator.neighbours.onStop = async () => {}
    await generator.database
      .sql`update stops set next_attempt_at = now() where server_id = ${serverId}`
    await generator.sweep()
    const open = await generator.database
      .sql`select 1 from stops where server_id = ${serverId} and finished_at is null`
    expect(open.length).toBe(0)
    expect(await resume()).toBe('done')
  })
  test('a version whose bytes were changed is not served again', async () => {
    const server = await calls.liveServer()
    const { id: serverId } = server
    await calls.servers.pauseServer({ serverId }, await generator.as(owner))
    const { sql } = generator.database
    const change = sql`update versions set spec = ${Buffer.from('{}')} where server_id = ${serverId}`
    expect(await outcomeOf(change)).toThrow('immutable')
    await sql`alter table versions disable trigger versions_are_immutable`
    await sql`update versions set spec = ${Buffer.from('{}')} where server_id = ${serverId}`
    await sql`alter table versions enable trigger versions_are_immutable`
    const resumed = calls.servers.resumeServer(
      { serverId },
      await generator.as(owner, confirmedDigest(server)),
    )
    expect(await reason(resumed)).toBe('version_tampered')
  })
})

describe('deleting', () => {
  const putSecret = async (serverId: string) =>
    generator.rpc.client(SecretsService, 'secrets', 'gateway').putSecret(
      {
        serverId,
        name: 'KEY',
        value: new TextEncoder().encode('sk-canary'),
        destination: { scheme: Scheme.BEARER, origins: ['https://pets.example.com'] },
      },
      await generator.as(owner),
    )

  test('nothing is left but a tombstone, and the slug is never given away again', async () => {
    const server = await calls.liveServer()
    const { id: serverId } = server
    await putSecret(serverId)
    const { sql } = generator.database
    const secretRows = () => sql`select 1 from secrets.secrets where server_id = ${serverId}`
    expect((await secretRows()).length).toBe(1)
    const answer = await calls.servers.deleteServer({ serverId }, await generator.as(owner))
    expect(answer.finished).toBe(true)
    expect(generator.neighbours.grantsEnded).toContain(serverId)
    const stop = jsonOf(generator.neighbours.stopped.at(-1))
    expect(stop).toMatchObject({ serverId, kind: 'stop', reason: 'deleted' })
    expect((await secretRows()).length).toBe(0)
    for (const table of ['versions', 'modules', 'builds', 'idempotency_keys']) {
      const left = await sql`select 1 from ${sql(table)} where server_id = ${serverId}`
      expect([table, left.length]).toEqual([table, 0])
    }
    const call = await generator.as(owner)
    expect(await reason(calls.servers.getServer({ server: server.slug }, call))).toBe(
      'server_not_found',
    )
    expect(await reason(calls.servers.deleteServer({ serverId }, call))).toBe('server_not_found')
    const { specDigest } = server
    expect(await reason(calls.serving.getArtefact({ serverId, specDigest }))).toBe(
      'artefact_not_found',
    )
    expect(await reason(calls.create(await calls.draftOf(), owner, { slug: server.slug }))).toBe(
      'slug_taken',
    )
    const tomb = (await calls.serving.listServings({})).servings.find(
      (s) => s.serverId === serverId,
    )
    const last = jsonOf(tomb?.statement?.bytes)
    expect(last.reason).toBe('deleted')
  })
  test('the slug of a server that never was live is free again', async () => {
    generator.neighbours.onTry = async () => 'No.'
    const { server, build } = await calls.create(await calls.draftOf())
    await calls.ended(build.id)
    const { slug } = server
    const call = await generator.as(owner)
    const answer = await calls.servers.deleteServer({ serverId: server.id }, call)
    expect(answer.finished).toBe(true)
    generator.neighbours.onTry = async () => ''
    const second = await calls.create(await calls.draftOf(), owner, { slug })
    expect((await calls.ended(second.build.id)).state).toBe(BuildState.SUCCEEDED)
    expect((await calls.serverOf(slug)).id).toBe(second.server.id)
  })
  test('a deletion goes on after its services were away', async () => {
    const { id: serverId } = await calls.liveServer()
    generator.neighbours.onEndGrants = async () => {
      throw new Error('not now')
    }
    const answer = await calls.servers.deleteServer({ serverId }, await generator.as(owner))
    expect(answer.finished).toBe(false)
    const call = await generator.as(owner)
    const deleting = await calls.servers.getServer({ server: serverId }, call)
    expect(deleting.server?.state).toBe(ServerState.DELETING)
    expect(await reason(calls.servers.pauseServer({ serverId }, call))).toBe('server_not_live')
    generator.neighbours.onEndGrants = async () => {}
    await generator.database
      .sql`update stops set next_attempt_at = now() where server_id = ${serverId}`
    await generator.sweep()
    expect(await reason(calls.servers.getServer({ server: serverId }, call))).toBe(
      'server_not_found',
    )
  })
  test('a deletion ends the build under way', async () => {
    const reached = Promise.withResolvers<void>()
    const aborted = Promise.withResolvers<void>()
    generator.neighbours.onTry = async (signal) => {
      signal.addEventListener('abort', () => aborted.resolve())
      reached.resolve()
      await aborted.promise
      return ''
    }
    const { server, build } = await calls.create(await calls.draftOf())
    await reached.promise
    const deployed = generator.neighbours.deployed.length
    await calls.servers.deleteServer({ serverId: server.id }, await generator.as(owner))
    await aborted.promise
    const call = await generator.as(owner)
    expect(await reason(calls.builds.getBuild({ buildId: build.id }, call))).toBe('build_not_found')
    expect(generator.neighbours.deployed.length).toBe(deployed)
  })
  test('another organisation and a viewer are refused', async () => {
    const { id: serverId } = await calls.liveServer()
    const stranger = await generator.as(testUser())
    expect(await reason(calls.servers.deleteServer({ serverId }, stranger))).toBe(
      'server_not_found',
    )
    const viewer = await generator.as({ ...owner, role: 'viewer' })
    expect(await reason(calls.servers.deleteServer({ serverId }, viewer))).toBe(
      'permission_missing',
    )
  })
})
