/** The generator's figures for the operator. */
import { type CollectMetrics, counter, gauge, type Tally } from '@bmm/lib/metrics'
import type { Sql } from '@bmm/lib/sql'
import { countQueue } from './build/build-store.ts'

/** The queue's length is that of Postgres, which is the truth; without Postgres only it is missing. */
export function generatorMetrics(options: { sql: Sql; outcomes: Tally }): CollectMetrics {
  const { sql, outcomes } = options
  return async () => {
    const queue = await countQueue(sql).catch(() => undefined)
    return [
      counter('bmm_builds_total', 'Builds that ended here.', outcomes.by('outcome')),
      ...(queue === undefined
        ? []
        : [
            gauge('bmm_builds_unfinished', 'Builds that wait or run.', [
              [queue.queued, { state: 'queued' }],
              [queue.running, { state: 'running' }],
            ]),
          ]),
    ]
  }
}
