/** Importing one real document as the generator does, and counting what became of its operations. */
import { readFileSync } from 'node:fs'
import { importDocument } from '@bmm/generator/openapi/import-document.ts'
import { ImportError } from '@bmm/generator/openapi/import-error.ts'
import { accountOf } from './accounting.ts'
import { watchChildren } from './child-usage.ts'
import type { CorpusDocument } from './documents.ts'

const methods = ['get', 'put', 'post', 'delete', 'options', 'head', 'patch', 'trace']

export type Refused = { operation: string; path: string; message: string }

export type ImportOutcome = {
  document: CorpusDocument
  /** Operations in the document, counted here, not by the importer. */
  declared: number
  tools: number
  refused: Refused[]
  /** Operations, parameters and bodies, and those of them that are gone without a word. */
  pieces: number
  lost: string[]
  /** Why the document as a whole could not be drafted. */
  fault: ImportError | undefined
  tookMs: number
  /** Of the child that read it, its threads that collect garbage included. */
  processorMs: number
  /** The most memory of the child that read it. */
  peakBytes: number
}

/** By the real child, under its real limits. One at a time: the memory of all children of this process is watched. */
export async function importOutcome(document: CorpusDocument): Promise<ImportOutcome> {
  const bytes = readFileSync(document.path)
  const root: unknown = JSON.parse(bytes.toString('utf8'))
  const declared = countOperations(root)
  using usage = watchChildren(process.pid)
  const begun = performance.now()
  const result = await importDocument(bytes, { baseUrl: 'https://api.example.com' }).catch(
    (error: unknown) => {
      if (error instanceof ImportError) return error
      throw error
    },
  )
  const tookMs = performance.now() - begun
  const measured = { tookMs, processorMs: usage.processorMs(), peakBytes: usage.peakBytes() }
  if (result instanceof ImportError) {
    const none = { tools: 0, refused: [], pieces: 0, lost: [] }
    return { document, declared, ...none, fault: result, ...measured }
  }
  const refused = result.refusals.map(({ operation = '', path, message }) => ({
    operation,
    path,
    message,
  }))
  const tools = result.spec.tools.length
  const tallies = Object.values(accountOf(root, result))
  const pieces = tallies.reduce((sum, tally) => sum + tally.declared, 0)
  const lost = tallies.flatMap((tally) => tally.lost)
  return { document, declared, tools, refused, pieces, lost, fault: undefined, ...measured }
}

function countOperations(root: unknown): number {
  return Object.entries(entriesAt(root, 'paths'))
    .filter(([path]) => !path.startsWith('x-'))
    .reduce((sum, [, item]) => sum + methods.filter((m) => isObject(item) && m in item).length, 0)
}

function entriesAt(value: unknown, key: string): Record<string, unknown> {
  const found = isObject(value) ? value[key] : undefined
  return isObject(found) ? found : {}
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
