/** The import as services use it: the document is parsed in a disposable child with limits. */
import { readFileSync } from 'node:fs'
import { MAX_DOCUMENT_BYTES } from './document.ts'
import type { Draft, ImportOptions } from './draft.ts'
import { ImportError, type ImportFault } from './import-error.ts'

export type ImportLimits = {
  deadlineMs: number
  /** Resident memory of the child, looked at every few milliseconds. */
  memoryBytes: number
  outputBytes: number
  /** The child's program; tests give one that misbehaves. */
  program: string
}

const importLimits: ImportLimits = {
  deadlineMs: 10_000,
  memoryBytes: 512 * 1024 * 1024,
  outputBytes: 96 * 1024 * 1024,
  program: new URL('child.ts', import.meta.url).pathname,
}
const MEMORY_WATCH_MS = 20
const PAGE_BYTES = 4096
/** The kernel's own limits stand behind the watch, for a child whose parent died. Near its data limit the
 * engine collects garbage all the time, so that one is far away. */
const HARD_CPU_SECONDS = 20
const HARD_DATA_FACTOR = 8
const ATTEMPTS = 2

type ChildAnswer = { fault: ImportFault } | { draft: Draft }

type Ending =
  | { kind: 'answer'; answer: ChildAnswer }
  | { kind: 'crash' }
  | { kind: 'over'; sentence: string }

/**
 * The draft of a document. Rejects with ImportError. Hostile text is never parsed in this process;
 * a child that crashes is tried once more, one that runs over a limit is not.
 */
export async function importDocument(
  document: string | Uint8Array,
  options: ImportOptions = {},
  limits: ImportLimits = importLimits,
): Promise<Draft> {
  const bytes = typeof document === 'string' ? new TextEncoder().encode(document) : document
  if (bytes.length > MAX_DOCUMENT_BYTES) {
    throw new ImportError({
      code: 'document_too_large',
      message: `The document has more than ${MAX_DOCUMENT_BYTES / 1024 / 1024} MB. Import a part of the API.`,
    })
  }
  for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
    const ending = await runChild(bytes, options, limits)
    if (ending.kind === 'over') throw failed(ending.sentence)
    if (ending.kind === 'answer') return draftOf(ending.answer)
  }
  throw failed('The document made the importer crash twice. It is not tried again.')
}

async function runChild(
  bytes: Uint8Array,
  options: ImportOptions,
  limits: ImportLimits,
): Promise<Ending> {
  // No environment and no descriptor but the three: the child has nothing to give away.
  const child = Bun.spawn(
    [...kernelLimits(limits), process.execPath, ...bunFlags, limits.program],
    {
      stdin: 'pipe',
      stdout: 'pipe',
      stderr: 'ignore',
      env: {},
      cwd: '/',
    },
  )
  let over: string | undefined
  const end = (sentence: string) => {
    over ??= sentence
    child.kill('SIGKILL')
  }
  const deadline = setTimeout(
    () => end(`The document took longer than ${limits.deadlineMs / 1000} s to import.`),
    limits.deadlineMs,
  )
  const watch = setInterval(() => {
    if (residentBytes(child.pid) > limits.memoryBytes) {
      end(`The document needs more than ${limits.memoryBytes / 1024 / 1024} MB of memory.`)
    }
  }, MEMORY_WATCH_MS)
  try {
    const [text] = await Promise.all([
      cappedText(child.stdout, limits.outputBytes, () =>
        end('The draft of the document is too large.'),
      ),
      feed(child.stdin, bytes, options),
    ])
    const code = await child.exited
    if (over !== undefined) return { kind: 'over', sentence: `${over} Import a part of the API.` }
    const answer = code === 0 ? answerFrom(text) : undefined
    return answer === undefined ? { kind: 'crash' } : { kind: 'answer', answer }
  } finally {
    clearTimeout(deadline)
    clearInterval(watch)
    child.kill('SIGKILL')
  }
}

const bunFlags = ['--smol', '--no-install', '--no-env-file', '--no-macros']

function kernelLimits({ memoryBytes }: ImportLimits): string[] {
  const prlimit = Bun.which('prlimit')
  if (prlimit === null) return []
  const data = memoryBytes * HARD_DATA_FACTOR
  return [prlimit, `--data=${data}`, `--cpu=${HARD_CPU_SECONDS}`, '--core=0', '--']
}

/** 0 where the system does not tell, or the process is gone. */
function residentBytes(pid: number): number {
  try {
    const pages = readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ', 2)[1]
    return Number(pages) * PAGE_BYTES
  } catch {
    return 0
  }
}

/** A child that died early closes its end: what its exit says counts, not the broken pipe. */
async function feed(stdin: Bun.FileSink, bytes: Uint8Array, options: ImportOptions): Promise<void> {
  try {
    await stdin.write(`${JSON.stringify(options)}\n`)
    await stdin.write(bytes)
    await stdin.end()
  } catch {}
}

async function cappedText(
  stream: ReadableStream<Uint8Array>,
  limit: number,
  onOver: () => void,
): Promise<string> {
  const decoder = new TextDecoder()
  const parts: string[] = []
  let size = 0
  for await (const chunk of stream) {
    size += chunk.length
    if (size > limit) {
      onOver()
      return ''
    }
    parts.push(decoder.decode(chunk, { stream: true }))
  }
  return parts.join('') + decoder.decode()
}

/** Our own child's words, or undefined when it ended before it had said them all. */
function answerFrom(text: string): ChildAnswer | undefined {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function draftOf(answer: ChildAnswer): Draft {
  if ('fault' in answer) throw new ImportError(answer.fault)
  return answer.draft
}

function failed(message: string): ImportError {
  return new ImportError({ code: 'import_failed', message })
}
