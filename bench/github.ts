/** GitHub's document, over a thousand operations: how long until its draft is there, and in how much memory. */
import { readFileSync } from 'node:fs'
import { watchChildren } from '@bmm/tests/corpus/child-usage'
import { githubDocument } from '@bmm/tests/corpus/documents'
import { installCorpus } from '@bmm/tests/corpus/packages'
import type { Platform } from '@bmm/tests/platform'
import { type Figure, median } from './figure.ts'
import { pidOfService } from './processor-time.ts'

const ROUNDS = 3

export async function measureGithub(platform: Platform): Promise<Figure[]> {
  await installCorpus()
  const text = readFileSync(githubDocument().path, 'utf8')
  const generator = pidOfService(platform.stack, 'services/generator/main.ts')
  const took: number[] = []
  const peaks: number[] = []
  let tools = 0
  for (let round = 0; round < ROUNDS; round++) {
    using usage = watchChildren(generator)
    const begun = performance.now()
    tools = (await platform.draft({ document: text })).tools
    took.push(performance.now() - begun)
    peaks.push(usage.peakBytes())
  }
  return [
    {
      what: `GitHub's document (${(text.length / 1e6).toFixed(0)} MB, ${tools} tools) to a draft`,
      value: `${(median(took) / 1_000).toFixed(2)} s`,
      target: '≤ 3 s',
    },
    {
      what: 'the same: most memory of a child that reads it',
      value: `${Math.round(Math.max(...peaks) / 1e6)} MB`,
      target: '≤ 400 MB',
    },
  ]
}
