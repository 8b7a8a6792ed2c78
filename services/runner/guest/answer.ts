/** An upstream HTTP response becomes the result of a tool call. */
import { parseExactly } from '@bmm/lib/exact-json'
import { headerLines } from './answer-headers.ts'
import { type AnswerText, answerText, isTextual } from './answer-text.ts'

export type UpstreamResponse = {
  status: number
  headers: readonly (readonly [name: string, value: string])[]
  body: Uint8Array
  /** The answer went on when this much time or room was used up; the body is its beginning. */
  cut?: 'time' | 'size' | undefined
  /** Names of cookies that the broker kept back. */
  droppedCookies?: readonly string[] | undefined
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
const MAX_COOKIE_NAMES = 500
/** Other failures of the API carry their reason in the body; these are worth a word of advice. */
const advice: Readonly<Record<number, string>> = {
  401: 'The credential of this server is missing or not valid for the API.',
  403: 'The credential of this server does not allow this.',
  429: 'The API asks to slow down.',
}

/** What the answer belongs to; the URL's query is left out of results, because those are kept and shown. */
export type Answered = { url: string; method?: string; keptCookies?: readonly string[] }

export function toolResultFrom(response: UpstreamResponse, answered: Answered): ToolResult {
  const result = contentFrom(response, answered)
  const asides = asidesOf(response, answered)
  return asides.length === 0
    ? result
    : { ...result, content: [...result.content, ...asides.map(text)] }
}

function contentFrom(response: UpstreamResponse, { url }: Answered): ToolResult {
  const { status, body } = response
  if (status >= 400) return failure(response)
  if (status >= 300) return redirect(response)
  if (body.length === 0)
    return { content: [text(`${status} (${emptiness[status] ?? 'empty answer'})`)] }
  const mimeType = mimeTypeOf(response)
  const read = textOf(response)
  if (read === undefined) return binaryResult(body, binaryType(mimeType), url)
  const result = textResult(read.text, mimeType)
  return read.note === undefined
    ? result
    : { ...result, content: [...result.content, text(read.note)] }
}

const emptiness: Readonly<Record<number, string>> = {
  204: 'done, no content',
  205: 'done, reset the form or view',
}

/** Short texts after the content, so that structured content stays what the API said. */
function asidesOf(response: UpstreamResponse, { method, keptCookies = [] }: Answered): string[] {
  const { status, headers, body, cut, droppedCookies = [] } = response
  const isRedirect = status >= 300 && status < 400 && status !== 304
  const lines = headerLines(headers, {
    all: method === 'HEAD',
    ...(isRedirect ? { without: 'location' } : {}),
  })
  return [
    cut === undefined ? '' : `(${cutSentences[cut]} These are its first ${body.length} bytes.)`,
    lines === '' ? '' : `Headers of the answer:\n${lines}`,
    keptCookies.length === 0
      ? ''
      : `(Cookies of the answer go out with later calls until this server has been idle for a while: ${named(keptCookies)})`,
    droppedCookies.length === 0
      ? ''
      : `(Cookies of the answer were dropped, since calls go out with the credential of this server: ${named(droppedCookies)})`,
  ].filter((aside) => aside !== '')
}

const cutSentences = {
  time: 'The API answers with a stream that had not ended when the time for it was over.',
  size: 'The API answers with a stream that is larger than what fits an answer.',
} as const

function named(cookies: readonly string[]): string {
  return cookies.join(', ').slice(0, MAX_COOKIE_NAMES)
}

function failure(response: UpstreamResponse): ToolResult {
  const { status, body } = response
  const read = textOf(response)
  const lines = [
    `The API answered with status ${status}.`,
    advice[status],
    read === undefined
      ? `(${body.length} bytes of ${binaryType(mimeTypeOf(response))})`
      : shortened(read.text),
    read?.note,
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

function textOf(response: UpstreamResponse): AnswerText | undefined {
  return answerText(response.body, headerOf(response, 'content-type') ?? '', mimeTypeOf(response))
}

/** A type of text is wrong for bytes that are none. */
function binaryType(mimeType: string | undefined): string {
  return mimeType === undefined || isTextual(mimeType) ? 'application/octet-stream' : mimeType
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
