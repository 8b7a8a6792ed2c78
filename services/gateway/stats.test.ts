/** The REST API: counts of calls, as the services give them and no further. */
import { describe, expect, test } from 'bun:test'
import { StatsInterval } from '@bmm/proto/runner/v1/stats_service'
import { timestampMs } from '@bufbuild/protobuf/wkt'
import { atText, ids, restWorldOfFile } from './testing-rest.ts'

const DAY_MS = 24 * 60 * 60 * 1_000
const world = await restWorldOfFile()

const counts = {
  ...{ calls: 10, errors: 8, toolErrors: 1, refused: 2, overdue: 3, cancelled: 1, failed: 1 },
  ...{ bytesIn: 5_000_000_000, bytesOut: 7, p50Ms: 1.23, p95Ms: 12.3, p99Ms: 1230 },
}

describe('stats of a server', () => {
  test('come in all, by tool and over time, by slug or id', async () => {
    const from = '2026-11-01T00:00:00.000Z'
    const to = '2026-11-22T00:00:00.000Z'
    for (const reference of ['pets', ids.server]) {
      const path = `/v1/servers/${reference}/stats?from=${from}&to=${to}&interval=day&tool=echo`
      expect(await world.answer(path)).toEqual({
        ...{ status: 200, from, to, total: counts },
        tools: [{ tool: 'echo', ...counts }],
        points: [{ at: atText, ...counts }],
      })
    }
    expect(world.asked.stats).toMatchObject([
      { serverId: ids.server, tool: 'echo', interval: StatsInterval.DAY },
      { serverId: ids.server, tool: 'echo', interval: StatsInterval.DAY },
    ])
  })

  test('are those of the last day by hour where nothing else is asked', async () => {
    const before = Date.now()
    expect((await world.answer('/v1/servers/pets/stats')).status).toBe(200)
    const [asked] = world.asked.stats
    if (asked?.from === undefined || asked.to === undefined) throw new Error('nothing was asked')
    expect([asked.interval, asked.tool]).toEqual([StatsInterval.HOUR, ''])
    expect(timestampMs(asked.to)).toBeWithin(before, Date.now() + 1)
    expect(timestampMs(asked.to) - timestampMs(asked.from)).toBe(DAY_MS)
  })

  test.each([
    ['from=yesterday', 'invalid_request'],
    ['interval=week', 'invalid_request'],
    [`tool=${'x'.repeat(65)}`, 'invalid_request'],
    ['tool=long', 'range_too_long'],
  ])('refuse %s', async (query, code) => {
    expect(await world.answer(`/v1/servers/pets/stats?${query}`)).toMatchObject({
      status: 400,
      code,
    })
  })

  test('are for people who are signed in, of a server that is theirs', async () => {
    const nobody = { headers: { authorization: '' } }
    expect(await world.answer('/v1/servers/pets/stats', nobody)).toMatchObject({ status: 401 })
    expect(await world.answer('/v1/usage', nobody)).toMatchObject({ status: 401 })
    expect(await world.answer('/v1/servers/other/stats')).toMatchObject({ status: 404 })
  })
})

test('the use of a month is one answer, and of no other form', async () => {
  expect(await world.answer('/v1/usage?month=2026-11')).toEqual({
    ...{ status: 200, month: '2026-11', calls: 9, refused: 0, bytesIn: 8, bytesOut: 0 },
  })
  const now = await world.answer('/v1/usage')
  expect(now).toMatchObject({ status: 200, month: new Date().toISOString().slice(0, 7) })
  expect(await world.answer('/v1/usage?month=2026-13')).toMatchObject({ status: 400 })
})
