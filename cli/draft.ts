/** `draft`: a spec from an OpenAPI document, on this computer, without a stack. */

import { operationFilter } from '@bmm/generator/openapi/filter.ts'
import { importDocument } from '@bmm/generator/openapi/import-document.ts'
import { ImportError } from '@bmm/generator/openapi/import-error.ts'
import type { Command } from 'commander'
import { fetchDocument, isAddress, readDocument } from './document.ts'
import { failed, misused } from './fault.ts'
import { note, print, printJson } from './output.ts'

const INDENT = 2

export type DocumentOptions = {
  openapi: string
  baseUrl?: string
  name?: string
  only?: string[]
}

/** Adds the command to the program. */
export function addDraftCommand(program: Command): void {
  const command = program
    .command('draft')
    .description('print the spec that an OpenAPI document becomes; makes no server')
  addDocumentOptions(command)
    .option('--json', 'one line of JSON: spec, warnings, refusals, tags')
    .action(draft)
}

/** The document itself and how to read it. */
function addDocumentOptions(command: Command): Command {
  return addReadingOptions(command.requiredOption(...openApiOption))
}

export const openApiOption = [
  '--openapi <file|url>',
  'the document, JSON or YAML; "-" for standard input',
] as const

/** How a document is read: base URL, name and filters. */
export function addReadingOptions(command: Command): Command {
  return command
    .option(
      '--base-url <url>',
      "where the API is, when the document's servers are relative or wrong",
      parseBaseUrl,
    )
    .option('--name <name>', "name of the server; the document's title otherwise")
    .option(
      '--only <filter...>',
      "take only what matches: tag:T, '/path/*' or 'GET /path'; repeatable",
      parseFilter,
    )
}

function parseBaseUrl(text: string): string {
  const scheme = URL.canParse(text) ? new URL(text).protocol : ''
  if (scheme === 'https:' || scheme === 'http:') return text
  throw misused('--base-url must be a whole address, such as https://api.example.com/v1.')
}

function parseFilter(text: string, earlier: string[] = []): string[] {
  const filters = [...earlier, text]
  try {
    operationFilter(filters)
    return filters
  } catch (error) {
    throw error instanceof ImportError ? misused(`--only: ${error.message}`) : error
  }
}

async function draft(options: DocumentOptions & { json?: boolean }): Promise<void> {
  const { openapi, baseUrl, name, only } = options
  const address = isAddress(openapi)
  const document = address ? await fetchDocument(openapi) : readDocument(openapi)
  const result = await importDocument(document, {
    ...{ baseUrl, name, only },
    documentUrl: address ? openapi : undefined,
  }).catch((error: unknown) => {
    if (!(error instanceof ImportError)) throw error
    throw failed(error.code, `${whereIn(openapi, error)}${error.message}`)
  })
  if (options.json === true) {
    printJson(result)
    return
  }
  print(JSON.stringify(result.spec, null, INDENT))
  for (const { path, message } of result.warnings) {
    note(path === '' ? `warning: ${message}` : `warning: ${path}: ${message}`)
  }
  for (const { path, operation, message } of result.refusals) {
    note(`left out: ${operation ?? path}: ${message}`)
  }
  note(`${result.spec.tools.length} tools`)
}

function whereIn(source: string, { line, column, path }: ImportError): string {
  const file = source === '-' ? 'standard input' : source
  if (line !== undefined) return `${file}:${line}${column === undefined ? '' : `:${column}`}: `
  return path === undefined ? `${file}: ` : `${file} at ${path}: `
}
