/** REST: how often tools were called, how that ended and how long it took. */
import type { ServerService } from '@bmm/proto/generator/v1/generator_service'
import {
  type CallCounts,
  StatsInterval,
  type StatsService,
} from '@bmm/proto/runner/v1/stats_service'
import { Permission } from '@bmm/proto/v1/options'
import { type CallCountsAnswer, callStatsAnswer, usageAnswer } from '@bmm/spec/rest-answer'
import { timestampFromMs } from '@bufbuild/protobuf/wkt'
import type { Client } from '@connectrpc/connect'
import { Elysia } from 'elysia'
import { z } from 'zod'
import { present, timeText } from './answer.ts'
import type { People } from './person.ts'
import { serverIdOf } from './server-reference.ts'

const DAY_MS = 24 * 60 * 60 * 1_000
const MAX_TOOL_NAME = 64

export type StatsRoutesOptions = {
  stats: Client<typeof StatsService>
  servers: Client<typeof ServerService>
  people: People
  now?: () => number
}

function countsJson(counts: CallCounts | undefined): CallCountsAnswer {
  const { p50Ms, p95Ms, p99Ms, ...sums } = present(counts)
  const toolErrors = Number(sums.toolErrors)
  const refused = Number(sums.refused)
  const overdue = Number(sums.overdue)
  const cancelled = Number(sums.cancelled)
  const failed = Number(sums.failed)
  return {
    calls: Number(sums.calls),
    errors: toolErrors + refused + overdue + cancelled + failed,
    ...{ toolErrors, refused, overdue, cancelled, failed },
    bytesIn: Number(sums.bytesIn),
    bytesOut: Number(sums.bytesOut),
    ...{ p50Ms: rounded(p50Ms), p95Ms: rounded(p95Ms), p99Ms: rounded(p99Ms) },
  }
}

const time = z.iso.datetime({ offset: true })

export function statsRoutes({ stats, servers, people, now = Date.now }: StatsRoutesOptions) {
  return new Elysia({ name: 'stats-routes', prefix: '/v1', normalize: false })
    .get(
      '/servers/:server/stats',
      async ({ request, params, query }) => {
        const person = await people.as(request, ['generator', 'runner'], {
          permissions: [Permission.STATS_READ],
        })
        const serverId = await serverIdOf(params.server, servers, person)
        const to = query.to === undefined ? now() : Date.parse(query.to)
        const from = query.from === undefined ? to - DAY_MS : Date.parse(query.from)
        const asked = {
          ...{ serverId, tool: query.tool ?? '' },
          ...{ from: timestampFromMs(from), to: timestampFromMs(to) },
          interval: query.interval === 'day' ? StatsInterval.DAY : StatsInterval.HOUR,
        }
        const found = await stats.getCallStats(asked, person)
        return {
          ...{ from: timeText(found.from), to: timeText(found.to) },
          total: countsJson(found.total),
          tools: found.tools.map(({ tool, counts }) => ({ tool, ...countsJson(counts) })),
          points: found.points.map(({ at, counts }) => ({
            at: timeText(at),
            ...countsJson(counts),
          })),
        }
      },
      {
        query: z.object({
          from: time.optional().describe('Widened to whole intervals; a day before `to`.'),
          to: time.optional().describe('Now where it is absent.'),
          interval: z.enum(['hour', 'day']).optional().describe('Of the points; `hour`.'),
          tool: z.string().min(1).max(MAX_TOOL_NAME).optional().describe('Only this one.'),
        }),
        response: {
          200: callStatsAnswer,
        },
        detail: {
          summary: 'Calls of a server by tool and over time',
          description: 'By hour at most 31 days, by day (UTC) at most 400.',
          tags: ['stats'],
        },
      },
    )
    .get(
      '/usage',
      async ({ request, query }) => {
        const person = await people.as(request, ['runner'], {
          permissions: [Permission.STATS_READ],
        })
        const month = query.month ?? new Date(now()).toISOString().slice(0, 'YYYY-MM'.length)
        const { calls, refused, bytesIn, bytesOut } = await stats.getUsage({ month }, person)
        return {
          ...{ month, calls: Number(calls), refused: Number(refused) },
          ...{ bytesIn: Number(bytesIn), bytesOut: Number(bytesOut) },
        }
      },
      {
        query: z.object({
          month: z
            .string()
            .regex(/^\d{4}-(0[1-9]|1[0-2])$/)
            .optional()
            .describe('`YYYY-MM` in UTC; this month where it is absent.'),
        }),
        response: {
          200: usageAnswer,
        },
        detail: { summary: 'What the organisation used in a month', tags: ['stats'] },
      },
    )
}

/** The histogram knows no more than about three digits. */
function rounded(ms: number): number {
  return Number(ms.toPrecision(3))
}
