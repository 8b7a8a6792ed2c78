/** One of the processes that judge documents: takes the one that it is told, answers, and takes the next. */
import { readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import { judgeDocument } from './document-judgement.ts'
import { isObject } from './json.ts'
import { noCounts, type Outcome, type Task, taskSchema } from './outcome.ts'
import { load } from './packages.ts'

type Yaml = { parse(text: string, options: object): unknown }

process.on('message', (message) => process.send?.(judged(taskSchema.parse(message))))
process.on('disconnect', () => process.exit())

function judged({ name, path, part }: Task): Outcome {
  const bytes = readFileSync(path)
  const text = (path.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('utf8')
  try {
    return judgeDocument(name, text, parsed(text.replace(/^\ufeff/, '')), part)
  } catch (error) {
    const refusal = String(error).slice(0, 300)
    return { ...noCounts, document: name, refusal, exceptions: [], tookMs: 0 }
  }
}

function parsed(text: string): Record<string, unknown> {
  const document = /^\s*\{/.test(text)
    ? JSON.parse(text)
    : load<Yaml>('yaml').parse(text, { maxAliasCount: -1 })
  return isObject(document) ? document : {}
}
