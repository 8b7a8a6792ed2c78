/** An imported operation and a tool's input become one HTTP request (OpenAPI 3.1 section 4.8.12, RFC 6570). */
import type { OperationSpec, ParameterSpec } from '@bmm/spec/server-spec'
import {
  type Escape,
  escapeAll,
  escapeUnreserved,
  isCompound,
  isPresent,
  pairsOf,
  pathText,
  scalarText,
} from './parameter-style.ts'
import { type RenameNode, renameTree, withWireNames } from './renames.ts'
import { type BodyInput, requestBody } from './request-body.ts'
import { RequestError } from './request-error.ts'

export type OutgoingRequest = {
  method: string
  url: string
  headers: [name: string, value: string][]
  body?: Uint8Array | undefined
}

type Input = Readonly<Record<string, unknown>>

const MAX_URL = 32 * 1024
/** What would end the path or start a triple that another reader decodes. */
const pathDelimiters = /[?#;]/g
/** What would end the value, or be read as a space. */
const queryDelimiters = /[#&+]/g

/**
 * The request that carries out `operation`. Throws RequestError with a sentence for the model.
 * `randomId` makes the multipart boundary: at least 16 characters of [A-Za-z0-9].
 */
export function requestFrom(
  operation: OperationSpec,
  input: Input,
  randomId: () => string,
): OutgoingRequest {
  const tree = renameTree(operation.renames ?? [])
  const read = (key: string): unknown =>
    Object.hasOwn(input, key) ? withWireNames(input[key], nodeOf(tree, key)) : undefined
  const url = urlFrom(operation, read)
  const headers = headersFrom(operation, read)
  const body =
    operation.body === undefined
      ? undefined
      : requestBody(operation.body, bodyInput(operation.body, read), randomId)
  if (body !== undefined) headers.push(['content-type', body.contentType])
  return {
    method: operation.method,
    url,
    headers,
    ...(body === undefined ? {} : { body: body.bytes }),
  }
}

function nodeOf(tree: RenameNode, key: string): RenameNode | undefined {
  return tree.below.get(key)
}

function bodyInput(
  body: NonNullable<OperationSpec['body']>,
  read: (key: string) => unknown,
): BodyInput {
  if (body.key !== undefined) return { whole: read(body.key) }
  const fields = (body.fields ?? []).flatMap((field) => {
    const value = read(field.key)
    return value === undefined ? [] : [{ field, value }]
  })
  return { fields }
}

function urlFrom(operation: OperationSpec, read: (key: string) => unknown): string {
  const byName = new Map(parametersIn(operation, 'path').map((p) => [p.name, p]))
  const filled = operation.url.replaceAll(/\{(\+?)([^{}]+)\}/g, (_match, plus, name) => {
    const parameter = byName.get(String(name))
    if (parameter === undefined)
      throw new RequestError(`The address has an unknown part "${name}".`)
    return pathPart(parameter, read(parameter.key), plus === '+')
  })
  const pairs = parametersIn(operation, 'query').flatMap((parameter) =>
    queryPairs(parameter, read(parameter.key)),
  )
  const separator = filled.includes('?') ? '&' : '?'
  const url = pairs.length === 0 ? filled : `${filled}${separator}${pairs.join('&')}`
  refuseStrayUrl(url, operation.url)
  return url
}

function parametersIn(operation: OperationSpec, place: ParameterSpec['in']): ParameterSpec[] {
  return operation.parameters.filter((parameter) => parameter.in === place)
}

function pathPart(parameter: ParameterSpec, value: unknown, spans: boolean): string {
  const { key } = parameter
  if (!isPresent(value) || value === '') {
    throw new RequestError(`"${key}" stands in the address and must not be empty.`)
  }
  const keepsReserved = spans || parameter.allowReserved === true
  const esc: Escape = keepsReserved
    ? (text) => escapeUnreserved(text, pathDelimiters)
    : escapeSegment
  const text =
    parameter.contentType === undefined
      ? pathText(value, parameter, esc)
      : esc(contentText(value, parameter.contentType))
  if (text === '') throw new RequestError(`"${key}" stands in the address and must not be empty.`)
  // Servers in between decode %2F and then tidy up: a value must not climb by that either.
  if (fullyDecoded(text).split(/[/\\]/).some(isDotSegment)) {
    throw new RequestError(`"${key}" must not contain "." or ".." as a path segment.`)
  }
  return text
}

/** A slash that is encoded already is not encoded again: documents ask for `group%2Fproject`, and mean it. */
function escapeSegment(text: string): string {
  return escapeAll(text).replaceAll(/%252F/gi, '%2F')
}

function fullyDecoded(text: string): string {
  let current = text
  for (let round = 0; round < 3; round += 1) {
    const next = current.replaceAll(/%(2e|2f|5c|25)/gi, (_match, hex) =>
      String.fromCharCode(Number.parseInt(String(hex), 16)),
    )
    if (next === current) break
    current = next
  }
  return current
}

function isDotSegment(segment: string): boolean {
  return segment === '.' || segment === '..'
}

/** Values that meet in one segment (`{a}{b}`) could still climb, and nothing may change the origin. */
function refuseStrayUrl(url: string, template: string): void {
  if (url.length > MAX_URL) {
    throw new RequestError(`The address would have more than ${MAX_URL} characters.`)
  }
  const path = url.split(/[?#]/, 1)[0] ?? ''
  if (
    path
      .split('/')
      .slice(3)
      .some((segment) => isDotSegment(fullyDecoded(segment)))
  ) {
    throw new RequestError('The values of the address make up "." or ".." as a path segment.')
  }
  const origin = /^https?:\/\/[^/?#{]+/.exec(template)?.[0]
  if (
    origin === undefined ||
    !URL.canParse(url) ||
    new URL(url).origin !== new URL(origin).origin
  ) {
    throw new RequestError('The values do not make up an address of the API.')
  }
}

function queryPairs(parameter: ParameterSpec, value: unknown): string[] {
  if (!isPresent(value)) return []
  const esc: Escape =
    parameter.allowReserved === true ? (text) => escapeUnreserved(text, queryDelimiters) : escapeAll
  if (parameter.contentType !== undefined) {
    return [`${escapeAll(parameter.name)}=${esc(contentText(value, parameter.contentType))}`]
  }
  return pairsOf(value, parameter, esc)
}

/** A value with a media type of its own: JSON unless it is text already. */
function contentText(value: unknown, contentType: string): string {
  return /[/+]json(?:\s*;|$)/i.test(contentType) ? JSON.stringify(value) : scalarText(value)
}

function headersFrom(
  operation: OperationSpec,
  read: (key: string) => unknown,
): [name: string, value: string][] {
  const headers: [string, string][] = []
  if (operation.accept !== undefined) headers.push(['accept', operation.accept])
  for (const parameter of parametersIn(operation, 'header')) {
    const value = read(parameter.key)
    if (!isPresent(value)) continue
    const text =
      parameter.contentType === undefined
        ? pathText(value, parameter, headerText, 'plain')
        : headerText(contentText(value, parameter.contentType))
    if (text === '' && isCompound(value)) continue
    headers.push([parameter.name, text])
  }
  const cookies = parametersIn(operation, 'cookie').flatMap((parameter) => {
    const value = read(parameter.key)
    if (!isPresent(value)) return []
    if (parameter.contentType === undefined) return pairsOf(value, parameter, escapeAll)
    return [`${parameter.name}=${escapeAll(contentText(value, parameter.contentType))}`]
  })
  if (cookies.length === 0) return headers
  // A header parameter named Cookie and cookie parameters share the one header there may be (RFC 6265 section 5.4).
  const isCookie = ([name]: [string, string]) => name.toLowerCase() === 'cookie'
  const all = [...headers.filter(isCookie).map(([, value]) => value), ...cookies]
  return [...headers.filter((header) => !isCookie(header)), ['cookie', all.join('; ')]]
}

/** Headers are not percent-encoded (OpenAPI 3.1 appendix D), except what RFC 9110 section 5.5 does not let in. */
function headerText(text: string): string {
  return text
    .toWellFormed()
    .trim()
    .replaceAll(/[^\t\x20-\x7e]+/g, (part) => encodeURIComponent(part))
}
