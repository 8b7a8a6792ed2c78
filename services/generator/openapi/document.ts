/** From bytes that claim to be an OpenAPI document to its parsed root and version, or a sentence why not. */
import { ImportError } from './import-error.ts'
import { isObject, type JsonObject, objectAt, own, textAt } from './json.ts'
import { jsonFault } from './json-fault.ts'
import {
  doubleKeysOfJson,
  doubleKeysOfYaml,
  endOfString,
  type WrittenTwice,
} from './written-twice.ts'
import { parseYamlSlowly } from './yaml-fault.ts'
import { withIndentedQuotes } from './yaml-indent.ts'

export const MAX_DOCUMENT_BYTES = 64 * 1024 * 1024
export const MAX_NESTING = 200

export type OpenApiVersion = '2.0' | '3.0' | '3.1' | '3.2'
export type OpenApiDocument = {
  root: JsonObject
  version: OpenApiVersion
  /** The text is a guess: its bytes were no Unicode. */
  isLatin?: boolean | undefined
  /** Keys of which only the last was read. */
  writtenTwice: readonly WrittenTwice[]
  /** Some schema may name itself by `$id`. */
  hasIds: boolean
}

/** Throws ImportError; the message never repeats more than a character of the document. */
export function readDocument(text: string): OpenApiDocument {
  const source = text.startsWith('\uFEFF') ? text.slice(1) : text
  refuseBySize(source)
  const root = parsed(source)
  if (Array.isArray(root))
    throw notOpenApi('The document is a list. An OpenAPI document is one object.')
  if (!isObject(root)) {
    throw notOpenApi('This is plain text. An OpenAPI document is a JSON or YAML object.')
  }
  const writtenTwice = isJson(source) ? doubleKeysOfJson(source) : doubleKeysOfYaml(source)
  return { root, version: versionOf(root), writtenTwice, hasIds: source.includes('$id') }
}

function refuseBySize(source: string): void {
  if (source.length > MAX_DOCUMENT_BYTES) {
    throw new ImportError({
      code: 'document_too_large',
      message: `The document has more than ${MAX_DOCUMENT_BYTES / 1024 / 1024} MB. Import a part of the API.`,
    })
  }
  if (source.trim() === '') {
    throw new ImportError({ code: 'document_empty', message: 'The document is empty.' })
  }
}

function parsed(source: string): unknown {
  const start = source.slice(0, 2_000).trimStart()
  if (/^<(?:!doctype|html|head|body|script|!--)/i.test(start)) {
    throw notOpenApi(
      'This is an HTML page, not an OpenAPI document. Give the address of the document itself (often /openapi.json).',
    )
  }
  if (start.startsWith('<')) throw notOpenApi('This is XML (perhaps WSDL or WADL), not OpenAPI.')
  if (start.startsWith('#%RAML')) throw notOpenApi('This is RAML, not OpenAPI.')
  if (source.slice(0, 2_000).includes('\0')) {
    throw notOpenApi('This is a binary file (perhaps an archive), not JSON or YAML text.')
  }
  const json = isJson(source)
  refuseDeepNesting(source, json)
  try {
    return json ? parsedJson(source) : parsedYaml(source)
  } catch (error) {
    // The native parsers answer nesting that the scan could not see with a RangeError.
    if (error instanceof RangeError) throw tooDeep()
    throw error
  }
}

function isJson(source: string): boolean {
  return /^\s*[{[]/.test(source)
}

function parsedJson(source: string): unknown {
  try {
    return JSON.parse(source)
  } catch (error) {
    if (error instanceof RangeError) throw error
    const fault = jsonFault(source)
    if (fault === undefined) throw error
    throw malformed('JSON', fault)
  }
}

function parsedYaml(source: string): unknown {
  let value: unknown
  try {
    value = Bun.YAML.parse(source)
  } catch (error) {
    if (error instanceof RangeError) throw error
    value = carefullyParsedYaml(withIndentedQuotes(source))
  }
  if (Array.isArray(value) && /^---/m.test(source)) {
    throw notOpenApi('The file holds several YAML documents. Import one of them at a time.')
  }
  return value
}

/** What the fast parser refuses: aliases of aliases, say, or texts that only the letter of YAML forbids. */
function carefullyParsedYaml(source: string): unknown {
  const slow = parseYamlSlowly(source)
  if ('fault' in slow) throw malformed('YAML', slow.fault)
  return slow.value
}

function malformed(
  format: 'JSON' | 'YAML',
  fault: { message: string; line: number; column: number; path: string },
): ImportError {
  const where = fault.path === '' ? '' : ` (in ${fault.path})`
  return new ImportError({
    code: 'document_malformed',
    message: `The document is not valid ${format}: line ${fault.line}, column ${fault.column}${where}: ${fault.message}.`,
    path: fault.path,
    line: fault.line,
    column: fault.column,
  })
}

/** A scan of the text before any parser sees it: 20,000 open brackets exhaust a parser's stack. */
function refuseDeepNesting(source: string, isJson: boolean): void {
  let depth = 0
  for (let index = 0; index < source.length; index += 1) {
    const code = source.charCodeAt(index)
    if (code === 0x22 && isJson) index = endOfString(source, index)
    else if (code === 0x7b || code === 0x5b) depth += 1
    else if ((code === 0x7d || code === 0x5d) && depth > 0) depth -= 1
    // In YAML a bracket in prose opens nothing: what is counted is one line.
    else if (code === 0x0a && !isJson) depth = 0
    if (depth > MAX_NESTING) throw tooDeep()
  }
  if (!isJson && new RegExp(`^[ ?-]{${MAX_NESTING * 4}}`, 'm').test(source)) throw tooDeep()
}

function tooDeep(): ImportError {
  return new ImportError({
    code: 'document_too_large',
    message: `The document is nested more than ${MAX_NESTING} levels deep.`,
  })
}

function versionOf(root: JsonObject): OpenApiVersion {
  const swagger = own(root, 'swagger') ?? own(root, 'swaggerVersion')
  const openapi = own(root, 'openapi')
  // YAML reads an unquoted 3.0 as a number.
  const written = typeof openapi === 'number' ? openapi.toFixed(1) : openapi
  if (typeof written === 'string') {
    const version = /^\s*(3\.[012])(?:\.|\s*$|-)/.exec(written)?.[1]
    if (version === '3.0' || version === '3.1' || version === '3.2') return version
    throw notOpenApi(
      'The document names an OpenAPI version that is not known. Swagger 2.0 and OpenAPI 3.0, 3.1 and 3.2 are.',
    )
  }
  if (swagger === 2 || swagger === '2.0' || swagger === '2') return '2.0'
  if (swagger !== undefined) {
    throw notOpenApi('The document is Swagger 1.x. Convert it to Swagger 2.0 or OpenAPI 3 first.')
  }
  throw notOpenApi(foreignSentence(root))
}

/** What else the document is, for the files that people mistake for OpenAPI. */
function foreignSentence(root: JsonObject): string {
  const info = objectAt(root, 'info')
  if (
    textAt(info, 'schema')?.includes('getpostman.com') ||
    own(info, '_postman_id') !== undefined
  ) {
    return 'This is a Postman collection, not OpenAPI. Export or convert it to OpenAPI first.'
  }
  if (own(root, 'asyncapi') !== undefined) return 'This is AsyncAPI, not OpenAPI.'
  if (own(root, 'arazzo') !== undefined) return 'This is an Arazzo workflow, not OpenAPI.'
  if (textAt(root, 'kind')?.startsWith('discovery#')) {
    return 'This is a Google discovery document, not OpenAPI. Convert it to OpenAPI first.'
  }
  if (textAt(root, '_type') === 'export') {
    return 'This is an Insomnia export, not OpenAPI. Export the design document instead.'
  }
  if (own(objectAt(root, 'log'), 'entries') !== undefined) {
    return 'This is a HAR recording, not OpenAPI.'
  }
  if (own(root, '$schema') !== undefined && own(root, 'paths') === undefined) {
    return 'This is a JSON Schema, not an OpenAPI document.'
  }
  return 'The document has neither "openapi" nor "swagger" at its root, so it is not an OpenAPI document.'
}

function notOpenApi(message: string): ImportError {
  return new ImportError({ code: 'not_openapi', message })
}
