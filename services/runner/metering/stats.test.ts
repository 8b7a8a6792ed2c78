/** Counts from memory to Postgres and back through the generated client: once, whole, bounded, for their owner only. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { join } from 'node:path'
import { asUser } from '@bmm/lib/client'
import { newId } from '@bmm/lib/ids'
import { createStatementKeyring } from '@bmm/lib/statement-keys'
import {
  type TestDatabase,
  type TestIdentities,
  type TestRpc,
  testDatabase,
  testIdentities,
  testLog,
  testRpc,
} from '@bmm/lib/testing'
import { reason } from '@bmm/lib/testing-outcome'
import { until } from '@bmm/lib/testing-until'
import { StatsInterval, StatsService } from '@bmm/proto/runner/v1/stats_service'
import { timestampFromMs } from '@bufbuild/protobuf/wkt'
import type { Artefacts, ServingDeployment } from '../deployment/deployment.ts'
import { createDeployments, type Deployments } from '../deployment/deployments.ts'
import { createRunLines } from '../run-log/run-lines.ts'
import { createRunLog } from '../run-log/run-log.ts'
import { runnerRoutes } from '../service.ts'
import { serveStatement, servingDeployment, signedBy, testServer, testSigner } from '../testing.ts'
import { callStatsReader } from './call-stats.ts'
import { createMeter, type EndedCall, type Meter } from './meter.ts'
import {
  addRollups,
  deleteRollups,
  findOrgMonth,
  purgeRollups,
  type RollupSpan,
  sumRollups,
} from './rollup-store.ts'
import { openRollups, type RollupFlush, type Rollups } from './rollups.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
const noon = Date.UTC(2026, 10, 22, 12)
const signer = testSigner()
let database: TestDatabase
let identities: TestIdentities
let rpc: TestRpc
let at = noon
let meter: Meter
let rollups: Rollups
let deployments: Deployments
let served: ServingDeployment
let artefacts: Artefacts
/** Called in place of the store where a test sets it. */
let add: (flush: RollupFlush) => Promise<void>
let deleted: Set<string>

beforeAll(async () => {
  database = await testDatabase('runner', join(import.meta.dir, '../migrations'))
  identities = await testIdentities()
  rpc = testRpc(identities)
  deployments = createDeployments({
    sql: database.sql,
    keyring: createStatementKeyring({ ask: async () => signer.keys, now: Date.now }),
    log: testLog,
    onChange: () => 0,
    forgetRuns: async () => {},
  })
  const runLog = createRunLog({
    store: { append: async () => {}, trim: async () => {} },
    log: testLog,
    now: Date.now,
  })
  rpc.serve(
    'runner',
    runnerRoutes({
      ...{ deployments, runLines: createRunLines({ sql: database.sql, runLog }) },
      tryVersion: async () => ({ message: 'not here', elapsedMs: 0 }),
      readStats: callStatsReader((span) => sumRollups(database.sql, span)),
      readMonth: (orgId, month) => findOrgMonth(database.sql, orgId, month),
    }),
  )
})
afterAll(async () => {
  await rpc[Symbol.asyncDispose]()
  await database[Symbol.asyncDispose]()
})
beforeEach(async () => {
  at = noon
  served = deployment(['one', 'two'])
  await deployments.deploy(served.signed, artefacts)
  deleted = new Set()
  add = (flush) => addRollups(database.sql, flush)
  meter = createMeter({ now: () => at })
  rollups = open()
})

function open(): Rollups {
  return openRollups({
    ...{ meter, log: testLog, flushMs: 3_600_000 },
    isDeleted: (serverId) => deleted.has(serverId),
    store: { add: (flush) => add(flush), purge: () => purgeRollups(database.sql) },
  })
}

function deployment(tools: string[], orgId = newId('org')): ServingDeployment {
  const code = Object.fromEntries(tools.map((name) => [name, 'async () => 1']))
  const server = testServer(code, { orgId })
  artefacts = server.artefacts
  const statement = serveStatement(server, 1)
  return servingDeployment(signedBy(signer, statement), statement, server.artefacts)
}

function count(tool: string, times = 1, changes: Partial<EndedCall> = {}, of = served): void {
  const ended: EndedCall = { ending: 'answered', ms: 3, bytesIn: 10, bytesOut: 100, ...changes }
  for (let n = 0; n < times; n++) meter.count(of, tool, ended)
}

const client = () => rpc.client(StatsService, 'runner', 'gateway')
const asMember = async (orgId = served.statement.orgId, role = 'viewer') =>
  asUser(await identities.mintUser({ orgId, role }))

async function stats(
  span: { from?: number; to?: number; interval?: StatsInterval; tool?: string } = {},
  member?: Awaited<ReturnType<typeof asMember>>,
) {
  const { from = noon - HOUR_MS, to = noon + HOUR_MS, interval = StatsInterval.HOUR } = span
  return client().getCallStats(
    {
      ...{ serverId: served.statement.serverId, interval, tool: span.tool ?? '' },
      ...{ from: timestampFromMs(from), to: timestampFromMs(to) },
    },
    member ?? (await asMember()),
  )
}

describe('what was counted', () => {
  test('comes back in all, by tool and by hour', async () => {
    count('one', 99)
    count('one', 1, { ms: 900 })
    at = noon + HOUR_MS
    count('two', 2, { ending: 'failed', ms: 40, bytesOut: 0 })
    await rollups.flush()
    const found = await stats({ from: noon, to: noon + HOUR_MS + 1 })
    expect(found.total).toMatchObject({
      calls: 102n,
      failed: 2n,
      bytesIn: 1_020n,
      bytesOut: 10_000n,
    })
    expect(found.tools.map(({ tool, counts }) => [tool, counts?.calls, counts?.failed])).toEqual([
      ['one', 100n, 0n],
      ['two', 2n, 2n],
    ])
    const [one] = found.tools
    expect(one?.counts?.p50Ms).toBeWithin(2, 4.3)
    expect(one?.counts?.p99Ms).toBeWithin(2, 4.3)
    expect(found.total?.p99Ms).toBeWithin(28, 57)
    expect(
      found.points.map((point) => [Number(point.at?.seconds) * 1_000, point.counts?.calls]),
    ).toEqual([
      [noon, 100n],
      [noon + HOUR_MS, 2n],
    ])
    expect([found.from, found.to]).toMatchObject([
      timestampFromMs(noon),
      timestampFromMs(noon + 2 * HOUR_MS),
    ])
  })

  test('can be asked for by day and for one tool', async () => {
    count('one', 3)
    at = noon + DAY_MS
    count('one', 4)
    count('two', 5)
    await rollups.flush()
    const found = await stats({
      ...{ from: noon - DAY_MS, to: noon + DAY_MS + 1, interval: StatsInterval.DAY, tool: 'one' },
    })
    const midnight = Date.UTC(2026, 10, 22)
    expect(
      found.points.map((point) => [Number(point.at?.seconds) * 1_000, point.counts?.calls]),
    ).toEqual([
      [midnight, 3n],
      [midnight + DAY_MS, 4n],
    ])
    expect(found.tools.map(({ tool, counts }) => [tool, counts?.calls])).toEqual([['one', 7n]])
  })

  test('is added to what was there, bucket by bucket', async () => {
    for (const ms of [1, 1, 10, 100]) {
      count('one', 1, { ms })
      await rollups.flush()
    }
    const { total } = await stats()
    expect(total?.calls).toBe(4n)
    expect(total?.p50Ms).toBeWithin(0.7, 1.5)
    expect(total?.p99Ms).toBeWithin(70, 142)
  })

  test('of two processes adds up', async () => {
    const other = createMeter({ now: () => at })
    const others = openRollups({
      ...{ meter: other, log: testLog, isDeleted: () => false, flushMs: 3_600_000 },
      store: { add, purge: async () => false },
    })
    count('one', 3)
    other.count(served, 'one', { ending: 'answered', ms: 3, bytesIn: 1, bytesOut: 1 })
    await Promise.all([rollups.flush(), others.flush()])
    await others[Symbol.asyncDispose]()
    expect((await stats()).total?.calls).toBe(4n)
  })

  test('in a month is one row for the organisation, over all its servers', async () => {
    const { orgId } = served.statement
    const second = deployment(['one'], orgId)
    count('one', 3)
    count('one', 4, {}, second)
    count('one', 2, { ending: 'refused', bytesOut: 0 })
    await rollups.flush()
    count('two', 1)
    await rollups.flush()
    const used = await client().getUsage({ month: '2026-11' }, await asMember())
    expect(used).toMatchObject({ calls: 8n, refused: 2n, bytesIn: 100n, bytesOut: 800n })
    const rows = await database.sql`select from org_months where org_id = ${orgId}`
    expect(rows.length).toBe(1)
    const next = await client().getUsage({ month: '2026-12' }, await asMember())
    expect(next).toMatchObject({ calls: 0n, bytesOut: 0n })
  })
})

describe('storing', () => {
  test('a flush whose answer was lost is not added twice', async () => {
    add = async (flush) => {
      await addRollups(database.sql, flush)
      throw new Error('the connection broke before the answer came')
    }
    count('one', 5)
    await rollups.flush()
    add = (flush) => addRollups(database.sql, flush)
    count('one', 2)
    await rollups.flush()
    await rollups.flush()
    expect((await stats()).total?.calls).toBe(7n)
    const used = await client().getUsage({ month: '2026-11' }, await asMember())
    expect(used.calls).toBe(7n)
  })

  test('what cannot be stored is kept, goes on being counted, and is stored later', async () => {
    const working = add
    let asked = 0
    add = async () => {
      asked++
      throw new Error('away')
    }
    for (let n = 0; n < 5; n++) {
      count('one', 2)
      await rollups.flush()
      at += HOUR_MS
    }
    expect(asked).toBe(5)
    add = working
    await rollups.flush()
    const found = await stats({ from: noon, to: noon + 5 * HOUR_MS })
    expect(found.points.map(({ counts }) => counts?.calls)).toEqual([2n, 2n, 2n, 2n, 2n])
    expect(found.total?.calls).toBe(10n)
  })

  test('whoever asks while a flush is under way gets what was counted before', async () => {
    const gate = Promise.withResolvers<void>()
    const working = add
    add = async (flush) => {
      await gate.promise
      await working(flush)
    }
    count('one', 1)
    const first = rollups.flush()
    count('one', 1)
    const second = rollups.flush()
    gate.resolve()
    await Promise.all([first, second])
    expect((await stats()).total?.calls).toBe(2n)
  })

  test('closing stores the rest', async () => {
    count('one', 6)
    await rollups[Symbol.asyncDispose]()
    expect((await stats()).total?.calls).toBe(6n)
  })

  test('goes by itself soon', async () => {
    await using soon = openRollups({
      ...{ meter, log: testLog, isDeleted: () => false },
      store: { add, purge: async () => false },
    })
    expect(soon.flush).toBeFunction()
    count('one', 1)
    await until(async () => (await stats()).total?.calls === 1n, 'the call to be counted')
  })

  test('thousands of counters at once arrive whole', async () => {
    const tools = Array.from({ length: 200 }, (_, n) => `tool-${n}`)
    const many = Array.from({ length: 25 }, () => deployment(tools, served.statement.orgId))
    for (const each of many) for (const tool of tools) count(tool, 1, {}, each)
    await rollups.flush()
    const used = await client().getUsage({ month: '2026-11' }, await asMember())
    expect(used.calls).toBe(5_000n)
  })

  test('late counts of a deleted server are in its month and nowhere else', async () => {
    const { serverId, orgId } = served.statement
    count('one', 2)
    await rollups.flush()
    deleted.add(serverId)
    await deleteRollups(database.sql, serverId, orgId)
    count('one', 3)
    await rollups.flush()
    expect((await stats()).total?.calls).toBe(0n)
    const used = await client().getUsage({ month: '2026-11' }, await asMember())
    expect(used.calls).toBe(5n)
  })

  test('rows older than 400 days are deleted, newer ones stay', async () => {
    at = Date.now() - 401 * DAY_MS
    count('one', 1)
    at = Date.now() - 399 * DAY_MS
    count('one', 1)
    await rollups.flush()
    expect(await purgeRollups(database.sql)).toBe(false)
    const { serverId } = served.statement
    const left = await database.sql`select from call_rollups where server_id = ${serverId}`
    expect(left.length).toBe(1)
  })
})

describe('a question', () => {
  test('is refused to other organisations, roles without permission, services and strangers', async () => {
    count('one', 1)
    await rollups.flush()
    expect(await reason(stats({}, await asMember(newId('org'))))).toBe('server_not_found')
    expect(await reason(stats({}, await asMember(undefined, 'nobody')))).toBe('permission_missing')
    expect(await reason(stats({}, {}))).toBe('user_required')
    const broker = rpc.client(StatsService, 'runner', 'broker')
    expect(await reason(broker.getUsage({ month: '2026-11' }, await asMember()))).toBe(
      'caller_not_allowed',
    )
    const foreign = await client().getUsage({ month: '2026-11' }, await asMember(newId('org')))
    expect(foreign.calls).toBe(0n)
  })

  test('never sums rows of another organisation, even under the same server id', async () => {
    count('one', 4)
    await rollups.flush()
    const { serverId } = served.statement
    const span: RollupSpan = {
      ...{ serverId, orgId: newId('org'), tool: '', interval: 'hour' },
      ...{ from: new Date(noon), to: new Date(noon + HOUR_MS) },
    }
    expect((await sumRollups(database.sql, span)).tools.size).toBe(0)
  })

  test('is bounded in length', async () => {
    const { HOUR, DAY } = StatsInterval
    const days = (from: number, interval: StatsInterval) =>
      stats({ from: noon - from * DAY_MS, to: noon, interval })
    expect((await days(31, HOUR)).points).toEqual([])
    expect(await reason(days(32, HOUR))).toBe('range_too_long')
    expect((await days(400, DAY)).points).toEqual([])
    expect(await reason(days(402, DAY))).toBe('range_too_long')
    expect(await reason(days(0, HOUR))).toBe('range_invalid')
    expect(await reason(days(-1, HOUR))).toBe('range_invalid')
    expect(await reason(stats({ interval: StatsInterval.UNSPECIFIED }))).toBe('invalid_request')
    expect(await reason(client().getUsage({ month: '2026-13' }, await asMember()))).toBe(
      'invalid_request',
    )
  })
})
