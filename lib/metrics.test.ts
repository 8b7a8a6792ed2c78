import { expect, test } from 'bun:test'
import { counter, histogram, processMetrics, tally } from './metrics.ts'

test('a histogram tells of each bound how many did not exceed it', () => {
  const { values } = histogram(
    'took',
    'Time.',
    [0.1, 1],
    [{ counts: [2, 0, 3], sum: 9.5, labels: { ending: 'answered' } }],
  )
  expect(values).toEqual([
    { metricName: 'took_bucket', value: 2, labels: { ending: 'answered', le: 0.1 } },
    { metricName: 'took_bucket', value: 2, labels: { ending: 'answered', le: 1 } },
    { metricName: 'took_bucket', value: 5, labels: { ending: 'answered', le: '+Inf' } },
    { metricName: 'took_sum', value: 9.5, labels: { ending: 'answered' } },
    { metricName: 'took_count', value: 5, labels: { ending: 'answered' } },
  ])
})

test('a tally keeps at most a hundred labels and loses no count', () => {
  const counts = tally()
  for (let n = 0; n < 1_000; n++) counts.add(`label ${n}`)
  counts.add('label 7')
  const figures = counts.by('label')
  expect(figures.length).toBe(101)
  expect(figures.reduce((sum, [count]) => sum + count, 0)).toBe(1_001)
  expect(figures.find(([, labels]) => labels.label === 'label 7')?.[0]).toBe(2)
  expect(counter('some_total', 'Some.', figures).values.at(-1)?.labels).toEqual({ label: 'other' })
})

test('a process says how much memory and time it took and how long its event loop stood still', async () => {
  const collect = processMetrics()
  await collect()
  await Bun.sleep(120)
  Bun.sleepSync(500)
  await Bun.sleep(120)
  const figures = new Map(
    (await collect()).map(({ name, values }) => [name, values[0]?.value ?? 0]),
  )
  expect(figures.get('process_resident_memory_bytes')).toBeGreaterThan(10_000_000)
  expect(figures.get('process_cpu_seconds_total')).toBeGreaterThan(0)
  expect(figures.get('bmm_event_loop_delay_max_seconds')).toBeWithin(0.2, 30)
})
