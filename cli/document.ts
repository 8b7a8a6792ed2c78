/** OpenAPI documents that commands are given: a file, standard input, or an address. */
import { readFileSync } from 'node:fs'
import { failed, misused } from './fault.ts'

const MAX_BYTES = 32 * 1024 * 1024
const FETCH_TIMEOUT_MS = 30_000

/** Whether the text is an address rather than a path. */
export function isAddress(source: string): boolean {
  return /^https?:\/\//i.test(source)
}

/** Text of a file, or of standard input for `-`. Throws CommandFault. */
export function readDocument(path: string): string {
  try {
    const bytes = readFileSync(path === '-' ? 0 : path)
    if (bytes.length > MAX_BYTES)
      throw misused(`${path} has more than 32 MB: import a part of the API.`)
    return bytes.toString('utf8')
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    if (code === 'ENOENT') throw misused(`There is no file ${path}.`)
    if (code === 'EISDIR') throw misused(`${path} is a folder, not a document.`)
    if (code === 'EACCES') throw misused(`${path} may not be read.`)
    throw error
  }
}

/** Text at an address, fetched by this computer for the person at its shell. Throws CommandFault. */
export async function fetchDocument(address: string): Promise<string> {
  if (!URL.canParse(address)) throw misused('That is not an address.')
  const response = await fetch(address, {
    headers: { accept: 'application/json, application/yaml, text/yaml, */*' },
    signal: AbortSignal.timeout(FETCH_TIMEOUT_MS),
  }).catch(() => {
    throw failed('fetch_failed', `${new URL(address).host} cannot be reached.`)
  })
  if (!response.ok)
    throw failed('fetch_failed', `${new URL(address).host} answers ${response.status}.`)
  if (Number(response.headers.get('content-length') ?? 0) > MAX_BYTES) {
    throw failed('document_too_large', 'The document has more than 32 MB.')
  }
  const text = await response.text()
  if (text.length > MAX_BYTES)
    throw failed('document_too_large', 'The document has more than 32 MB.')
  return text
}
