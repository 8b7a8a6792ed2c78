/** The mocks of the corpus: which documents have one, the process that they run in, and what they minded. */
import { readFileSync } from 'node:fs'
import { z } from 'zod'
import { type CorpusDocument, directoryDocuments } from './documents.ts'

const MIN_BYTES = 20_000
const MAX_BYTES = 80_000
const START_TIMEOUT_MS = 60_000
const urlsSchema = z.array(z.url())

/** Medium-sized documents, one of each provider, evenly spaced by name. */
export function mockedDocuments(count: number): CorpusDocument[] {
  const providers = new Set<string>()
  const candidates = directoryDocuments().filter(({ name, bytes }) => {
    const provider = name.split('/', 1)[0] ?? ''
    if (bytes < MIN_BYTES || bytes > MAX_BYTES || providers.has(provider)) return false
    providers.add(provider)
    return true
  })
  const step = (candidates.length - 1) / (count - 1)
  return Array.from({ length: count }, (_, index) => candidates[Math.round(index * step)]).filter(
    (document) => document !== undefined,
  )
}

/** The document as if the mock were its API: every server in it is replaced by the one. */
export function documentFor(document: CorpusDocument, url: string): string {
  const root = JSON.parse(readFileSync(document.path, 'utf8'), (key, value) =>
    key === 'servers' && Array.isArray(value) ? undefined : value,
  )
  return JSON.stringify({ ...root, servers: [{ url }] })
}

export type Mocks = AsyncDisposable & {
  /** In the order of the documents. */
  urls: string[]
  /** What the mocks wrote since the last call of this. */
  complaints(): string
}

export async function startMocks(documents: readonly CorpusDocument[]): Promise<Mocks> {
  const child = Bun.spawn(
    [process.execPath, `${import.meta.dir}/mock-server.ts`, ...documents.map(({ path }) => path)],
    { stdin: 'ignore', stdout: 'pipe', stderr: 'pipe' },
  )
  let heard = ''
  const listening = (async () => {
    const decoder = new TextDecoder()
    for await (const chunk of child.stderr) heard += decoder.decode(chunk, { stream: true })
  })()
  const timer = setTimeout(() => child.kill('SIGKILL'), START_TIMEOUT_MS)
  const [line = ''] = await firstLine(child.stdout)
  clearTimeout(timer)
  if (line === '') throw new Error(`the mocks did not start: ${heard.slice(0, 2_000)}`)
  return {
    urls: urlsSchema.parse(JSON.parse(line)),
    complaints() {
      const [said, rest] = [heard, '']
      heard = rest
      return said
    },
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await Promise.all([child.exited, listening])
    },
  }
}

async function firstLine(stream: ReadableStream<Uint8Array>): Promise<string[]> {
  const decoder = new TextDecoder()
  let text = ''
  for await (const chunk of stream) {
    text += decoder.decode(chunk, { stream: true })
    if (text.includes('\n')) break
  }
  return text.split('\n', 1)
}
