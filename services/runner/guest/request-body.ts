/** The body of an imported operation's request: JSON, form, multipart, text or bytes. */
import type { BodySpec } from '@bmm/spec/server-spec'
import { fileFrom, fileName, typeOfFile } from './file-part.ts'
import { escapeAll, isCompound, isPresent, pairsOf, scalarText } from './parameter-style.ts'
import { RequestError } from './request-error.ts'

export type RequestBody = { contentType: string; bytes: Uint8Array }
type Field = NonNullable<BodySpec['fields']>[number]
/** A field with the value that the input has for it, wire names inside. */
export type SentField = { field: Field; value: unknown }
export type BodyInput = { whole: unknown } | { fields: readonly SentField[] }

const encoder = new TextEncoder()

/** Undefined when there is nothing to send. `randomId` makes the multipart boundary. */
export function requestBody(
  body: BodySpec,
  input: BodyInput,
  randomId: () => string,
): RequestBody | undefined {
  if ('whole' in input && input.whole === undefined) return missing(body)
  if ('fields' in input && input.fields.length === 0 && !body.required) return undefined
  switch (body.kind) {
    case 'json':
      return encoded(body.contentType, JSON.stringify(jsonValue(input)))
    case 'form':
      return encoded(body.contentType, sentFields(input, body).flatMap(formPairs).join('&'))
    case 'multipart':
      return multipart(sentFields(input, body), `bmm-${randomId()}`)
    case 'text':
      return encoded(withCharset(body.contentType), scalarText('whole' in input ? input.whole : ''))
    case 'binary': {
      const file = fileFrom('whole' in input ? input.whole : '', body.key ?? 'body')
      return { contentType: typeOfFile(file, body.contentType), bytes: file.bytes }
    }
    default:
      throw new RequestError(`A body of kind ${body.kind satisfies never} cannot be sent.`)
  }
}

function missing(body: BodySpec): undefined {
  if (body.required) throw new RequestError(`"${body.key ?? 'body'}" is required.`)
  return undefined
}

function encoded(contentType: string, text: string): RequestBody {
  return { contentType, bytes: encoder.encode(text) }
}

function jsonValue(input: BodyInput): unknown {
  if ('whole' in input) return input.whole
  return Object.fromEntries(input.fields.map(({ field, value }) => [field.name, value]))
}

/** A whole form body is an open map: each of its entries is a field. */
function sentFields(input: BodyInput, body: BodySpec): readonly SentField[] {
  if ('fields' in input) return input.fields
  const { whole } = input
  if (!isCompound(whole) || Array.isArray(whole)) {
    throw new RequestError(`"${body.key ?? 'body'}" must be an object with the fields of the form.`)
  }
  return Object.entries(whole).map(([name, value]) => ({ field: { key: name, name }, value }))
}

/** Without a style, lists repeat their name and objects travel as JSON (OpenAPI 3.1 section 4.8.15.1). */
function formPairs({ field, value }: SentField): string[] {
  if (!isPresent(value)) return []
  const plus = (text: string) => escapeAll(text).replaceAll('%20', '+')
  const { name, style, explode } = field
  if (style !== undefined || explode !== undefined) {
    const own = style ?? 'form'
    const isExploded = explode ?? (own === 'form' || own === 'deepObject')
    return pairsOf(value, { name, style: own, explode: isExploded }, plus)
  }
  if (isJson(field.contentType)) return [`${plus(name)}=${plus(JSON.stringify(value))}`]
  const values = Array.isArray(value) ? value.filter(isPresent) : [value]
  return values.map((part) => `${plus(name)}=${plus(scalarText(part))}`)
}

/** RFC 7578, names escaped as in the WHATWG form encoding: no name or value can open a header or part. */
function multipart(fields: readonly SentField[], boundary: string): RequestBody {
  const chunks: Uint8Array[] = []
  for (const { field, value } of fields) {
    if (!isPresent(value)) continue
    const isList = Array.isArray(value) && !isJson(field.contentType)
    for (const part of isList ? value.filter(isPresent) : [value]) {
      const { disposition, type, bytes } = field.file
        ? filePart(field, part)
        : valuePart(field, part)
      const typeLine = type === undefined ? '' : `Content-Type: ${type}\r\n`
      const head = `--${boundary}\r\nContent-Disposition: form-data; ${disposition}\r\n${typeLine}\r\n`
      chunks.push(encoder.encode(head), bytes, encoder.encode('\r\n'))
    }
  }
  chunks.push(encoder.encode(`--${boundary}--\r\n`))
  return { contentType: `multipart/form-data; boundary=${boundary}`, bytes: joined(chunks) }
}

type Part = { disposition: string; type: string | undefined; bytes: Uint8Array }

function filePart(field: Field, value: unknown): Part {
  const file = fileFrom(value, field.key)
  const type = typeOfFile(file, field.contentType)
  const name = partName(field.name)
  const shown = file.name === undefined ? fileName(name, type) : partName(file.name)
  return { disposition: `name="${name}"; filename="${shown}"`, type, bytes: file.bytes }
}

function valuePart(field: Field, value: unknown): Part {
  const type = field.contentType ?? (isCompound(value) ? 'application/json' : undefined)
  const text = isJson(field.contentType) ? JSON.stringify(value) : scalarText(value)
  return { disposition: `name="${partName(field.name)}"`, type, bytes: encoder.encode(text) }
}

function partName(name: string): string {
  return name.toWellFormed().replaceAll('"', '%22').replaceAll('\r', '%0D').replaceAll('\n', '%0A')
}

function isJson(contentType: string | undefined): boolean {
  return contentType !== undefined && /[/+]json(?:\s*;|$)/i.test(contentType)
}

function withCharset(contentType: string): string {
  return /^text\//i.test(contentType) && !/charset=/i.test(contentType)
    ? `${contentType}; charset=utf-8`
    : contentType
}

function joined(chunks: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0))
  let at = 0
  for (const chunk of chunks) {
    bytes.set(chunk, at)
    at += chunk.length
  }
  return bytes
}
