/** Figures of a process for the operator: read when somebody asks, so that counting costs next to nothing. */
import { monitorEventLoopDelay } from 'node:perf_hooks'

/** As prom-client writes one down, so that the gateway can put those of all processes together. */
export type Metric = {
  name: string
  help: string
  type: 'counter' | 'gauge' | 'histogram'
  values: MetricValue[]
}

type Labels = Record<string, string | number>
type MetricValue = { metricName?: string; value: number; labels: Labels }

/** Reads the figures of a process. Labels have few values, and never name a tenant. */
export type CollectMetrics = () => Metric[] | Promise<Metric[]>

/** Each figure with its labels. */
type Figures = readonly (readonly [value: number, labels: Labels])[]

export function counter(name: string, help: string, figures: number | Figures): Metric {
  return { name, help, type: 'counter', values: valuesOf(figures) }
}

export function gauge(name: string, help: string, figures: number | Figures): Metric {
  return { name, help, type: 'gauge', values: valuesOf(figures) }
}

/** Counts by bucket, those of a bucket alone; one more than there are bounds. */
export type Distribution = { counts: readonly number[]; sum: number; labels: Labels }

/** A histogram of seconds; `boundsSeconds` are the highest times of the buckets. */
export function histogram(
  name: string,
  help: string,
  boundsSeconds: readonly number[],
  distributions: readonly Distribution[],
): Metric {
  const values = distributions.flatMap(({ counts, sum, labels }) => {
    let below = 0
    const buckets = counts.map((count, bucket) => {
      below += count
      const le = boundsSeconds[bucket] ?? '+Inf'
      return { metricName: `${name}_bucket`, value: below, labels: { ...labels, le } }
    })
    return [
      ...buckets,
      { metricName: `${name}_sum`, value: sum, labels },
      { metricName: `${name}_count`, value: below, labels },
    ]
  })
  return { name, help, type: 'histogram', values }
}

/** Counts by one label that has few values. */
export type Tally = {
  add(label: string): void
  /** For `counter`. */
  by(labelName: string): Figures
}

/** More labels than anybody would name by hand are a mistake: they are counted together. */
const MAX_LABELS = 100

export function tally(): Tally {
  const counts = new Map<string, number>()
  return {
    add(label) {
      const key = counts.has(label) || counts.size < MAX_LABELS ? label : 'other'
      counts.set(key, (counts.get(key) ?? 0) + 1)
    },
    by: (labelName) => [...counts].map(([label, count]) => [count, { [labelName]: label }]),
  }
}

const LOOP_RESOLUTION_MS = 50
const NANOSECONDS = 1e9
const MICROSECONDS = 1e6

/** What every process says of itself. How late its event loop runs is watched from the first question on. */
export function processMetrics(): CollectMetrics {
  let delay: ReturnType<typeof monitorEventLoopDelay> | undefined
  return () => {
    const { user, system } = process.cpuUsage()
    const late =
      delay === undefined ? [] : [gauge(LATE, LATE_HELP, Math.max(0, delay.max) / NANOSECONDS)]
    if (delay === undefined) {
      delay = monitorEventLoopDelay({ resolution: LOOP_RESOLUTION_MS })
      delay.enable()
    } else delay.reset()
    return [
      gauge('process_resident_memory_bytes', 'Memory.', process.memoryUsage.rss()),
      counter('process_cpu_seconds_total', 'Processor time.', (user + system) / MICROSECONDS),
      gauge(
        'process_start_time_seconds',
        'When it started, since 1970.',
        Math.round(Date.now() / 1_000 - process.uptime()),
      ),
      ...late,
    ]
  }
}

const LATE = 'bmm_event_loop_delay_max_seconds'
const LATE_HELP = 'The longest that the event loop kept a timer waiting since the last question.'

function valuesOf(figures: number | Figures): MetricValue[] {
  if (typeof figures === 'number') return [{ value: figures, labels: {} }]
  return figures.map(([value, labels]) => ({ value, labels }))
}
