/** The import as services use it: the document is parsed in a disposable child with limits. */
import { childPrograms } from '../child-programs.ts'
import { type ChildLimits, type StartChild, startDisposable } from '../disposable.ts'
import { MAX_DOCUMENT_BYTES } from './document.ts'
import type { Draft, DraftHead, ImportOptions } from './draft.ts'
import { ImportError, type ImportFault } from './import-error.ts'

export type ImportRun = {
  /** Ends the child; the import then rejects with the signal's reason. */
  signal?: AbortSignal | undefined
  /** Where its children come from. */
  start?: StartChild | undefined
}

export const importLimits: ChildLimits = {
  timeoutMs: 15_000,
  memoryBytes: 512 * 1024 * 1024,
  outputBytes: 96 * 1024 * 1024,
}
const ATTEMPTS = 2

/** A child that waits for a document. Tests give other limits, and a program that misbehaves. */
export function startImportChild(limits = importLimits, program = childPrograms().openapi) {
  return startDisposable(program, limits)
}

type ChildAnswer = { fault: ImportFault } | { draft: DraftHead; tools: Draft['spec']['tools'] }

/**
 * The draft of a document. Rejects with ImportError. Hostile text is never parsed in this process;
 * a child that crashes is tried once more, one that runs over a limit is not.
 */
export async function importDocument(
  document: string | Uint8Array,
  options: ImportOptions = {},
  { signal, start = startImportChild }: ImportRun = {},
): Promise<Draft> {
  const input = inputOf(document, options)
  for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
    signal?.throwIfAborted()
    const ending = await start().run(input, { signal })
    if (ending.kind === 'over') {
      throw failed(`The import was stopped. ${ending.sentence} Import a part of the API.`)
    }
    const answer = ending.kind === 'done' ? answerFrom(ending.output) : undefined
    if (answer !== undefined) return draftOf(answer)
  }
  throw failed('The document made the importer crash twice. It is not tried again.')
}

/** One line of JSON options, then the document. */
function inputOf(document: string | Uint8Array, options: ImportOptions): Uint8Array {
  const bytes = typeof document === 'string' ? new TextEncoder().encode(document) : document
  if (bytes.length > MAX_DOCUMENT_BYTES) {
    throw new ImportError({
      code: 'document_too_large',
      message: `The document has more than ${MAX_DOCUMENT_BYTES / 1024 / 1024} MB. Import a part of the API.`,
    })
  }
  const head = new TextEncoder().encode(`${JSON.stringify(options)}\n`)
  const input = new Uint8Array(head.length + bytes.length)
  input.set(head)
  input.set(bytes, head.length)
  return input
}

/** Our own child's words, or undefined when it ended before it had said them all. */
function answerFrom(output: Uint8Array): ChildAnswer | undefined {
  try {
    return JSON.parse(new TextDecoder().decode(output))
  } catch {
    return undefined
  }
}

function draftOf(answer: ChildAnswer): Draft {
  if ('fault' in answer) throw new ImportError(answer.fault)
  const { draft, tools } = answer
  return { ...draft, spec: { ...draft.spec, tools } }
}

function failed(message: string): ImportError {
  return new ImportError({ code: 'import_failed', message })
}
