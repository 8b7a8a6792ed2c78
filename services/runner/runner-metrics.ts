/** The runner's figures for the operator. */
import { type CollectMetrics, counter, gauge, histogram } from '@bmm/lib/metrics'
import type { InFlight } from './calls/in-flight.ts'
import type { Engine } from './fleet/engine.ts'
import type { SandboxCounts } from './fleet/sandbox-counts.ts'
import { type Latency, latencyBoundsMs } from './metering/latency.ts'
import type { Meter } from './metering/meter.ts'

const SECOND_MS = 1_000
const boundsSeconds = latencyBoundsMs.map((ms) => ms / SECOND_MS)

export function runnerMetrics(options: {
  meter: Meter
  engine: Engine
  inFlight: InFlight
  counts: SandboxCounts
  deployments: { readonly size: number }
}): CollectMetrics {
  const { meter, engine, inFlight, counts, deployments } = options
  const { fleet, pool, slots } = engine
  const { totals } = meter
  const endings = Object.entries(totals.endings)
  const callsOf = (latency: Latency) => latency.reduce((sum, count) => sum + count, 0)
  return () => [
    counter(
      'bmm_calls_total',
      'Calls that found their server, by how they ended; `answered` is any result, `isError` included.',
      endings.map(([ending, { latency }]) => [callsOf(latency), { ending }]),
    ),
    histogram(
      'bmm_call_duration_seconds',
      'Time of calls in the runner, a wake included, by how they ended.',
      boundsSeconds,
      endings.map(([ending, { latency, msSum }]) => ({
        ...{ counts: latency, sum: msSum / SECOND_MS, labels: { ending } },
      })),
    ),
    counter(
      'bmm_call_verdicts_total',
      'What gateways found: errors of tools, answers that are no results, calls that they turned away.',
      Object.entries(totals.verdicts).map(([verdict, count]) => [count, { verdict }]),
    ),
    counter('bmm_call_bytes_total', 'Arguments and results.', [
      [totals.bytesIn, { direction: 'in' }],
      [totals.bytesOut, { direction: 'out' }],
    ]),
    gauge('bmm_calls_in_flight', 'Calls under way.', inFlight.calls),
    gauge('bmm_counters_waiting', 'Counters that are not in Postgres yet.', meter.size),
    gauge(
      'bmm_deployments',
      'Servers that are known here, stopped ones included.',
      deployments.size,
    ),
    gauge('bmm_sandboxes', 'Sandboxes by state.', [
      [fleet.awake, { state: 'awake' }],
      [fleet.size - fleet.awake, { state: 'waking' }],
      [pool.warm, { state: 'warm' }],
    ]),
    gauge('bmm_slots', 'Places for sandboxes.', [
      [slots.free, { state: 'free' }],
      [slots.taken, { state: 'taken' }],
    ]),
    gauge('bmm_wakes_waiting', 'Calls that wait for a sandbox to start.', pool.waiting),
    histogram(
      'bmm_wake_duration_seconds',
      'From the first call for a sandbox until it had loaded.',
      boundsSeconds,
      [{ counts: counts.wakes.latency, sum: counts.wakes.msSum / SECOND_MS, labels: {} }],
    ),
    counter('bmm_wakes_failed_total', 'Wakes that failed.', counts.failedWakes.by('reason')),
    counter(
      'bmm_sandboxes_ended_total',
      'Sandboxes in use that ended by themselves.',
      counts.ends.by('reason'),
    ),
  ]
}
