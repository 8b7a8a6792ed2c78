/** The runner's counts of calls as a test of the REST API has them. */
import { invalid } from '@bmm/lib/errors'
import { type GetCallStatsRequest, StatsService } from '@bmm/proto/runner/v1/stats_service'
import type { Timestamp } from '@bufbuild/protobuf/wkt'
import type { ConnectRouter } from '@connectrpc/connect'

/** `asked.stats` gets every question; a point of the answer is at `at`. */
export function statsStandIn(
  router: ConnectRouter,
  asked: { stats: GetCallStatsRequest[] },
  at: Timestamp,
): void {
  const counts = {
    ...{ calls: 10n, toolErrors: 1n, refused: 2n, overdue: 3n, cancelled: 1n, failed: 1n },
    ...{ bytesIn: 5_000_000_000n, bytesOut: 7n, p50Ms: 1.23456, p95Ms: 12.3456, p99Ms: 1234.56 },
  }
  router.service(StatsService, {
    getCallStats(request) {
      asked.stats.push(request)
      if (request.tool === 'long') throw invalid('range_too_long', '31 days at a time.')
      const { from, to } = request
      return {
        from,
        to,
        total: counts,
        tools: [{ tool: 'echo', counts }],
        points: [{ at, counts }],
      }
    },
    getUsage: ({ month }) => (month === '2026-11' ? { calls: 9n, bytesIn: 8n } : {}),
  })
}
