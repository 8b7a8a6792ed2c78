/** The one error of an import: a sentence for the person, and where in the document the fault lies. */

export type ImportErrorCode =
  /** Nothing in it, or only white space. */
  | 'document_empty'
  /** More bytes, or deeper nesting, than an import takes. */
  | 'document_too_large'
  /** Neither JSON nor YAML; `line` and `column` say where. */
  | 'document_malformed'
  /** Well formed, but something else: HTML, a Postman collection, AsyncAPI, an unknown version. */
  | 'not_openapi'
  /** OpenAPI, but nothing in it can become a tool; the first reason is in the message. */
  | 'nothing_to_import'
  /** A filter, base URL or name in the options is wrong. */
  | 'bad_option'
  /** The child ran out of time or memory, or crashed twice. */
  | 'import_failed'

export type ImportFault = {
  code: ImportErrorCode
  message: string
  /** JSON pointer into the document. */
  path?: string | undefined
  /** Both count from 1. */
  line?: number | undefined
  column?: number | undefined
}

export class ImportError extends Error {
  override readonly name = 'ImportError'
  readonly code: ImportErrorCode
  readonly path: string | undefined
  readonly line: number | undefined
  readonly column: number | undefined

  constructor(fault: ImportFault) {
    super(fault.message)
    this.code = fault.code
    this.path = fault.path
    this.line = fault.line
    this.column = fault.column
  }

  /** Plain data, for the way from the child to its parent. */
  get fault(): ImportFault {
    const { code, message, path, line, column } = this
    return { code, message, path, line, column }
  }
}
