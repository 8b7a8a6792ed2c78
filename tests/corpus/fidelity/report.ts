/** The figures of a run, as lines to read and as a file for programs. */
import { writeFileSync } from 'node:fs'
import { type Counts, causes, type Outcome, total } from './outcome.ts'

/** Shares between 0 and 1; of the examples, those that their own schema allows. */
export type Shares = { validTools: number; validInputs: number; equalExamples: number }

export function shares(counts: Counts): Shares {
  return {
    validTools: counts.validTools / counts.tools,
    validInputs: counts.validInputs / counts.inputs,
    equalExamples: counts.equalExamples / (counts.examples - counts.contradictedExamples),
  }
}

/** All figures, what the exceptions come to, and each of them with its place and reason. */
export function writeReport(file: string, outcomes: readonly Outcome[]): void {
  const counts = total(outcomes)
  const documents = new Set(outcomes.map(({ document }) => document)).size
  const exceptions = outcomes.flatMap(({ document, exceptions: all }) =>
    all.map(({ operation, fault }) => ({ document, operation, ...fault })),
  )
  const refused = outcomes.flatMap(({ document, refusal }) =>
    refusal === undefined ? [] : [{ document, refusal }],
  )
  const figures = { documents, ...counts, ...shares(counts) }
  const report = { figures, causes: causes(outcomes), refused, exceptions }
  writeFileSync(file, JSON.stringify(report, undefined, 1))
}

/** The most frequent kinds of exceptions, one a line. */
export function causeLines(outcomes: readonly Outcome[], count: number): string[] {
  return causes(outcomes)
    .slice(0, count)
    .map(({ what, count: times, documents }) => `${times} in ${documents} documents: ${what}`)
}
