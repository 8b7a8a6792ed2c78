/** An upstream HTTP response becomes the result of a tool call. */
import { parseExactly } from '@bmm/lib/exact-json'

export type UpstreamResponse = {
  status: number
  headers: readonly (readonly [name: string, value: string])[]
  body: Uint8Array
}

export type ContentBlock =
  | { type: 'text'; text: string }
  | { type: 'image' | 'audio'; data: string; mimeType: string }
  | { type: 'resource'; resource: { uri: string; mimeType: string; blob: string } }

export type ToolResult = {
  content: ContentBlock[]
  structuredContent?: Record<string, unknown> | undefined
  isError?: boolean | undefined
}

/** Longer text fills a model's context without helping it. */
export const MAX_TEXT_CHARACTERS = 200_000
/** Base64 of this stays within one result of the call path. */
export const MAX_BINARY_BYTES = 4 * 1024 * 1024
/** Structured content doubles what goes over the wire, so only small answers have it. */
const MAX_STRUCTURED_CHARACTERS = 50_000
const MAX_MIME_TYPE = 100
const MAX_URI = 2_000
/** Other failures of the API carry their reason in the body; these are worth a word of advice. */
const advice: Readonly<Record<number, string>> = {
  401: 'The credential of this server is missing or not valid for the API.',
  403: 'The credential of this server does not allow this.',
  429: 'The API asks to slow down.',
}

/** `url` names an embedded resource; its query is left out, because results are kept and shown. */
export function toolResultFrom(response: UpstreamResponse, url: string): ToolResult {
  if (response.status >= 400) return failure(response)
  if (response.status >= 300) return redirect(response)
  const { body } = response
  if (body.length === 0) return { content: [text(`${response.status} (empty answer)`)] }
  const mimeType = mimeTypeOf(response)
  if (isTextual(mimeType) || (mimeType === undefined && looksLikeText(body))) {
    return textResult(decoded(response), mimeType)
  }
  return binaryResult(body, mimeType ?? 'application/octet-stream', url)
}

function failure(response: UpstreamResponse): ToolResult {
  const mimeType = mimeTypeOf(response)
  const isShown = isTextual(mimeType) || (mimeType === undefined && looksLikeText(response.body))
  const retryAfter = headerOf(response, 'retry-after')
  const lines = [
    `The API answered with status ${response.status}.`,
    advice[response.status],
    retryAfter === undefined ? undefined : `Retry after: ${retryAfter.slice(0, 50)}`,
    isShown ? shortened(decoded(response)) : `(${response.body.length} bytes of ${mimeType})`,
  ].filter((part) => part !== undefined && part !== '')
  return { content: [text(lines.join('\n'))], isError: true }
}

/** Redirects are not followed: their target may be an origin that nobody allowed. */
function redirect(response: UpstreamResponse): ToolResult {
  if (response.status === 304) return { content: [text('304 (not modified)')] }
  const target = headerOf(response, 'location')?.slice(0, MAX_URI) ?? '(no location)'
  return {
    content: [text(`The API answered with status ${response.status}, a redirect to ${target}`)],
    isError: true,
  }
}

function textResult(body: string, mimeType: string | undefined): ToolResult {
  const content = [text(shortened(body))]
  if (!isJson(mimeType) || body.length > MAX_STRUCTURED_CHARACTERS) return { content }
  const value = parsed(body)
  return isPlainObject(value) ? { content, structuredContent: value } : { content }
}

function binaryResult(body: Uint8Array, mimeType: string, url: string): ToolResult {
  if (body.length > MAX_BINARY_BYTES) {
    const size = `${body.length} bytes of ${mimeType}`
    return {
      content: [
        text(
          `The answer, ${size}, is larger than the ${MAX_BINARY_BYTES} bytes that fit a result.`,
        ),
      ],
      isError: true,
    }
  }
  const data = body.toBase64()
  if (mimeType.startsWith('image/')) return { content: [{ type: 'image', data, mimeType }] }
  if (mimeType.startsWith('audio/')) return { content: [{ type: 'audio', data, mimeType }] }
  const uri = (url.split(/[?#]/, 1)[0] ?? url).slice(0, MAX_URI)
  return { content: [{ type: 'resource', resource: { uri, mimeType, blob: data } }] }
}

function text(content: string): ContentBlock {
  return { type: 'text', text: content }
}

function shortened(body: string): string {
  if (body.length <= MAX_TEXT_CHARACTERS) return body
  const head = body.slice(0, MAX_TEXT_CHARACTERS).replace(/[\uD800-\uDBFF]$/, '')
  return `${head}\n… (cut here: ${body.length} characters in all. Ask for less, for example by a filter or page size.)`
}

function mimeTypeOf(response: UpstreamResponse): string | undefined {
  const type = headerOf(response, 'content-type')?.split(';', 1)[0]?.trim().toLowerCase()
  if (type === undefined || type.length > MAX_MIME_TYPE) return undefined
  return /^[\w!#$&^.+-]+\/[\w!#$&^.+-]+$/.test(type) ? type : undefined
}

function headerOf({ headers }: UpstreamResponse, name: string): string | undefined {
  return headers.find(([own]) => own.toLowerCase() === name)?.[1]
}

function isJson(mimeType: string | undefined): boolean {
  return mimeType === undefined || /[/+]json$/.test(mimeType)
}

/** SVG is text: clients that show images do not show it, and models can read it. */
function isTextual(mimeType: string | undefined): boolean {
  return (
    mimeType !== undefined &&
    (mimeType.startsWith('text/') ||
      /[/+](?:json|xml|yaml|x-yaml|javascript|ecmascript|x-ndjson|ndjson|jsonl|json-seq|graphql|sql|csv|x-www-form-urlencoded|toml|markdown)$/.test(
        mimeType,
      ))
  )
}

/** For answers without a type: UTF-8 without control characters. */
function looksLikeText(body: Uint8Array): boolean {
  if (body.subarray(0, 4096).some((byte) => byte < 9 || (byte > 13 && byte < 32))) return false
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(body)
    return true
  } catch {
    return false
  }
}

/** The older charsets that APIs still declare (WHATWG Encoding: all three labels mean windows-1252). */
const isWestern = /;\s*charset="?(?:iso-8859-1|latin1|windows-1252)\b/i

/** A byte that does not fit becomes U+FFFD. */
function decoded(response: UpstreamResponse): string {
  const encoding = isWestern.test(headerOf(response, 'content-type') ?? '')
    ? 'windows-1252'
    : 'utf-8'
  return new TextDecoder(encoding).decode(response.body)
}

/** Undefined also where a number has more digits than the doubles that most clients read: the text alone keeps those. */
function parsed(body: string): unknown {
  try {
    const { value, raws } = parseExactly(body)
    return raws === 0 ? value : undefined
  } catch {
    return undefined
  }
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
