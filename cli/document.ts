/** OpenAPI documents that commands are given: a file, standard input, or an address. */
import { readFileSync } from 'node:fs'
import { documentText } from '@bmm/generator/openapi/document-text.ts'
import { ImportError } from '@bmm/generator/openapi/import-error.ts'
import { failed, misused } from './fault.ts'

const MAX_BYTES = 32 * 1024 * 1024
const FETCH_TIMEOUT_MS = 30_000

/** Whether the text is an address rather than a path. */
export function isAddress(source: string): boolean {
  return /^https?:\/\//i.test(source)
}

/** Text of a file, or of standard input for `-`, whatever Unicode it is in. Throws CommandFault. */
export function readText(path: string): string {
  try {
    return documentText(readDocument(path)).text
  } catch (error) {
    throw error instanceof ImportError ? misused(`${path}: ${error.message}`) : error
  }
}

/** Bytes of a file, or of standard input for `-`. Throws CommandFault. */
export function readDocument(path: string): Uint8Array {
  try {
    const bytes = readFileSync(path === '-' ? 0 : path)
    if (bytes.length > MAX_BYTES)
      throw misused(`${path} has more than 32 MB: import a part of the API.`)
    return bytes
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    if (code === 'ENOENT') throw misused(`There is no file ${path}.`)
    if (code === 'EISDIR') throw misused(`${path} is a folder, not a document.`)
    if (code === 'EACCES') throw misused(`${path} may not be read.`)
    throw error
  }
}

/** Bytes at an address, fetched by this computer for the person at its shell. Throws CommandFault. */
export async function fetchDocument(address: string): Promise<Uint8Array> {
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
  const bytes = await response.bytes()
  if (bytes.length > MAX_BYTES)
    throw failed('document_too_large', 'The document has more than 32 MB.')
  return bytes
}
