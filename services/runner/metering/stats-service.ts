/** The RPCs about counts of calls. */
import { userOf } from '@bmm/lib/identity'
import {
  type CallCountsSchema,
  StatsInterval,
  type StatsService,
} from '@bmm/proto/runner/v1/stats_service'
import type { MessageInitShape } from '@bufbuild/protobuf'
import { type Timestamp, timestampDate, timestampFromDate } from '@bufbuild/protobuf/wkt'
import type { ServiceImpl } from '@connectrpc/connect'
import type { ReadStats } from './call-stats.ts'
import type { CallSums } from './call-sums.ts'
import { quantileMs } from './latency.ts'
import type { OrgMonth } from './rollup-store.ts'

export type StatsServiceOptions = {
  /** Throws `server_not_found` where the server is not this organisation's. */
  requireServer: (serverId: string, orgId: string) => void
  /** What was counted up to now is stored first. */
  readStats: ReadStats
  readMonth: (orgId: string, month: string) => Promise<OrgMonth | undefined>
}

export function statsService(options: StatsServiceOptions): ServiceImpl<typeof StatsService> {
  return {
    async getCallStats({ serverId, from, to, interval, tool }, context) {
      const { orgId } = userOf(context)
      options.requireServer(serverId, orgId)
      const stats = await options.readStats({
        ...{ serverId, orgId, tool, from: dateOf(from), to: dateOf(to) },
        interval: interval === StatsInterval.HOUR ? 'hour' : 'day',
      })
      return {
        from: timestampFromDate(stats.from),
        to: timestampFromDate(stats.to),
        total: countsMessage(stats.total),
        tools: stats.tools.map(([name, sums]) => ({ tool: name, counts: countsMessage(sums) })),
        points: stats.points.map(([at, sums]) => ({
          at: timestampFromDate(at),
          counts: countsMessage(sums),
        })),
      }
    },
    async getUsage({ month }, context) {
      const used = await options.readMonth(userOf(context).orgId, `${month}-01`)
      const { calls, refused, bytesIn, bytesOut } = used ?? nothing
      return {
        ...{ calls: BigInt(calls), refused: BigInt(refused) },
        ...{ bytesIn: BigInt(bytesIn), bytesOut: BigInt(bytesOut) },
      }
    },
  }
}

const nothing: OrgMonth = { calls: 0, refused: 0, bytesIn: 0, bytesOut: 0 }

function countsMessage(sums: CallSums): MessageInitShape<typeof CallCountsSchema> {
  return {
    calls: BigInt(sums.calls),
    toolErrors: BigInt(sums.toolErrors),
    refused: BigInt(sums.refused),
    overdue: BigInt(sums.overdue),
    cancelled: BigInt(sums.cancelled),
    failed: BigInt(sums.failed),
    bytesIn: BigInt(sums.bytesIn),
    bytesOut: BigInt(sums.bytesOut),
    p50Ms: quantileMs(sums.latency, 0.5),
    p95Ms: quantileMs(sums.latency, 0.95),
    p99Ms: quantileMs(sums.latency, 0.99),
  }
}

/** Validation has already refused a request without it. */
function dateOf(timestamp: Timestamp | undefined): Date {
  if (timestamp === undefined) throw new Error('a request without a time passed validation')
  return timestampDate(timestamp)
}
