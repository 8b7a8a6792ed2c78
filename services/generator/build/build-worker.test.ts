/** Builds under crashes: two workers, lost leases, neighbours that are away, tampered rows. Nothing is deployed twice, nothing is left hanging. */
import { describe, expect, test } from 'bun:test'
import { unavailable } from '@bmm/lib/errors'
import { BuildState, BuildStep, ServerState } from '@bmm/proto/generator/v1/server'
import { Code, ConnectError } from '@connectrpc/connect'
import { holdStep } from '../testing.ts'
import { generatorOfFile, petDocument } from '../testing-calls.ts'

const { generator, calls, owner } = await generatorOfFile({ works: false, patienceMs: 3_000 })

const expireLease = (buildId: string) =>
  generator.database
    .sql`update builds set lease_until = now() - interval '1 second' where id = ${buildId}`

const succeeded = async (buildId: string, serverId: string) => {
  expect(await calls.buildOf(buildId)).toMatchObject({ state: BuildState.SUCCEEDED, reason: '' })
  expect((await calls.serverOf(serverId)).state).toBe(ServerState.LIVE)
  expect(generator.neighbours.deployed.length).toBe(1)
  const seen = await calls.events(buildId)
  expect(seen.map((event) => Number(event.seq))).toEqual(seen.map((_, index) => index + 1))
  const ends = seen.filter(
    (event) => event.step === BuildStep.UNSPECIFIED && event.state === BuildState.SUCCEEDED,
  )
  expect(ends.length).toBe(1)
  return seen
}

describe('two workers on one build', () => {
  test('only one works, however often the job comes', async () => {
    const { serverId, buildId } = await calls.queued()
    const workers = [generator.newWorker(), generator.newWorker(), generator.newWorker()]
    await Promise.all([...workers, ...workers].map((worker) => worker.work(buildId)))
    await succeeded(buildId, serverId)
    expect(generator.neighbours.tried.length).toBe(1)
  })
  test('a finished build is not worked on again', async () => {
    const { serverId, buildId } = await calls.queued()
    await generator.newWorker().work(buildId)
    await generator.newWorker().work(buildId)
    const lines = (await succeeded(buildId, serverId)).map((event) => event.line)
    // No code, and so no digest of no bytes.
    expect(lines).toContain('every tool is an operation')
  })
  test('a worker that lost its lease while it slept writes nothing and deploys nothing', async () => {
    const { serverId, buildId } = await calls.queued()
    const held = holdStep(generator, 'onTry')
    const sleeper = generator.newWorker({ beatMs: 60_000 })
    const sleeping = sleeper.work(buildId)
    await held.reached
    await expireLease(buildId)
    generator.neighbours.onTry = async () => ''
    await generator.newWorker().work(buildId)
    const before = await calls.events(buildId)
    held.release()
    await sleeping
    expect(await calls.events(buildId)).toEqual(before)
    const seen = await succeeded(buildId, serverId)
    expect(seen.map((event) => event.line).join()).toContain('goes on after an interruption')
  })
})

describe('letting go', () => {
  test('a stopping worker leaves its build to the next one at once', async () => {
    const { serverId, buildId } = await calls.queued()
    const held = holdStep(generator, 'onTry')
    const worker = generator.newWorker()
    const working = worker.work(buildId)
    await held.reached
    worker.stop()
    await working
    expect((await calls.buildOf(buildId)).state).toBe(BuildState.RUNNING)
    held.release()
    await generator.newWorker().work(buildId)
    await succeeded(buildId, serverId)
  })
  test('a build that takes too long is ended', async () => {
    const { buildId } = await calls.queued()
    const held = holdStep(generator, 'onTry')
    await generator.newWorker({ timeoutMs: 2_000 }).work(buildId)
    held.release()
    expect(await calls.buildOf(buildId)).toMatchObject({
      state: BuildState.FAILED,
      reason: 'build_timeout',
    })
  })
  test('a build that has ended its worker five times is not tried a sixth time', async () => {
    const { buildId } = await calls.queued()
    await generator.database
      .sql`update builds set claims = 5, state = 'running' where id = ${buildId}`
    await generator.newWorker().work(buildId)
    expect((await calls.buildOf(buildId)).reason).toBe('build_crashed')
  })
  test('a build that was cancelled while it had no worker ends when one comes', async () => {
    const { buildId } = await calls.queued()
    await generator.database
      .sql`update builds set claims = 1, state = 'running' where id = ${buildId}`
    await calls.builds.cancelBuild({ buildId }, await generator.as(owner))
    expect((await calls.buildOf(buildId)).state).toBe(BuildState.RUNNING)
    await generator.newWorker().work(buildId)
    expect((await calls.buildOf(buildId)).state).toBe(BuildState.CANCELLED)
    expect(generator.neighbours.tried.length).toBe(0)
  })
  test('a waiting build is cancelled without a worker', async () => {
    const { buildId } = await calls.queued()
    await calls.builds.cancelBuild({ buildId }, await generator.as(owner))
    expect((await calls.buildOf(buildId)).state).toBe(BuildState.CANCELLED)
    const seen = await calls.events(buildId)
    expect(seen.map((event) => event.state)).toEqual([BuildState.QUEUED, BuildState.CANCELLED])
  })
})

describe('neighbours that are away', () => {
  test('a build waits for them and says so', async () => {
    const { serverId, buildId } = await calls.queued()
    let refusals = 2
    generator.neighbours.onTry = async () => {
      if (refusals-- > 0) throw unavailable('sandbox_busy', 'No slot is free.')
      return ''
    }
    await generator.newWorker().work(buildId)
    const seen = await succeeded(buildId, serverId)
    const lines = seen.map((event) => event.line).filter((line) => line.includes('trying again'))
    expect(lines.length).toBe(1)
  })
  test('so it does for the keys that verify what was signed', async () => {
    const { serverId, buildId } = await calls.queued()
    let refusals = 1
    const { check } = generator
    const away: typeof check = {
      async open(statement) {
        if (refusals-- > 0) throw new ConnectError('It does not answer.', Code.Unavailable)
        return check.open(statement)
      },
    }
    await generator.newWorker({}, away).work(buildId)
    await succeeded(buildId, serverId)
    expect(refusals).toBeLessThan(0)
  })
  test('at the end of its patience it fails with a sentence', async () => {
    const { buildId } = await calls.queued()
    generator.neighbours.onTry = async () => {
      throw unavailable('sandbox_busy', 'No slot is free.')
    }
    await generator.newWorker().work(buildId)
    expect(await calls.buildOf(buildId)).toMatchObject({
      state: BuildState.FAILED,
      reason: 'unavailable',
      message: 'The runner does not answer. Build again in a moment.',
    })
  })
})

describe('what the database was made to say', () => {
  const tamper = async (change: (serverId: string) => Promise<unknown>) => {
    const { serverId, buildId } = await calls.queued()
    const { sql } = generator.database
    await sql`alter table versions disable trigger versions_are_immutable`
    await change(serverId)
    await sql`alter table versions enable trigger versions_are_immutable`
    await generator.newWorker().work(buildId)
    expect(generator.neighbours.deployed.length).toBe(0)
    return (await calls.buildOf(buildId)).reason
  }
  const other = Buffer.from(petDocument)

  test('other bytes under the confirmed digest are refused', async () => {
    const { sql } = generator.database
    expect(
      await tamper((id) => sql`update versions set spec = ${other} where server_id = ${id}`),
    ).toBe('version_tampered')
  })
  test('other bytes with their own digest are refused by what was signed', async () => {
    const { sql } = generator.database
    const [row] = await sql<{ spec: Uint8Array }[]>`select spec from versions limit 1`
    const spec = Buffer.from(
      Buffer.from(row?.spec ?? [])
        .toString()
        .replace('Pets', 'Cats'),
    )
    const digest = `sha256:${new Bun.CryptoHasher('sha256').update(spec).digest('hex')}`
    expect(
      await tamper(
        (id) =>
          sql`update versions set spec = ${spec}, spec_digest = ${digest} where server_id = ${id}`,
      ),
    ).toBe('version_tampered')
  })
  test('another server’s confirmation is refused', async () => {
    const { sql } = generator.database
    const victim = await calls.queued()
    await sql`delete from builds where id = ${victim.buildId}`
    const reason = await tamper(async (id) => {
      const [row] = await sql<{ confirmation: string }[]>`
        delete from versions where server_id = ${victim.serverId}
        returning confirmation_id as confirmation`
      await sql`
        update versions set confirmation_id = ${row?.confirmation ?? ''} where server_id = ${id}`
    })
    expect(reason).toBe('version_tampered')
  })
  test('an unknown confirmation is refused', async () => {
    const { sql } = generator.database
    const id = 'cnf_00000000000000000000000000'
    expect(
      await tamper(
        (server) => sql`update versions set confirmation_id = ${id} where server_id = ${server}`,
      ),
    ).toBe('confirmation_not_found')
  })
})
