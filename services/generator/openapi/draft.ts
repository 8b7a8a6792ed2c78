/** The pure import: the text of an OpenAPI document becomes a draft of a server spec. */
import type { ServerSpec } from '@bmm/spec/server-spec'
import { ImportError } from './import-error.ts'

export type ImportOptions = {
  /** Where the API is: stands in for the document's own server, or completes a relative one. */
  baseUrl?: string | undefined
  /** Where the document was fetched from; relative servers are resolved against it. */
  documentUrl?: string | undefined
  /** Filters `tag:T`, `/path/*`, `GET /path`; an operation is taken when one of them matches. */
  only?: readonly string[] | undefined
  /** Name of the server; the document's title when absent. */
  name?: string | undefined
}

/** Something that became less than the document says. `path` is a JSON pointer. */
export type Notice = { path: string; message: string }
/** Something that did not become a tool, with the reason as a sentence. */
export type Refusal = { path: string; operation?: string | undefined; message: string }
export type TagCount = { name: string; count: number }

export type Draft = {
  spec: ServerSpec
  warnings: Notice[]
  refusals: Refusal[]
  /** Tags of the drafted tools, most used first. */
  tags: TagCount[]
}

/** Throws ImportError when the document as a whole cannot be used. */
export function draftFromOpenApi(_text: string, _options: ImportOptions = {}): Draft {
  throw new ImportError({ code: 'import_failed', message: 'The importer is not ready yet.' })
}
