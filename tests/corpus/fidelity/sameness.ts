/** Whether what was read from a request is what was given: texts of a URL or form stand for numbers, JSON is compared exactly. */
import { Bytes, type ReadBody } from './body-reader.ts'
import { isObject } from './json.ts'

const decoder = new TextDecoder()

export function sameBody(sent: unknown, read: ReadBody): boolean {
  if (read.kind === 'opaque') {
    const text = typeof sent === 'string' ? sent : JSON.stringify(sent)
    return text === decoder.decode(read.bytes) || isBase64Of(fileOf(sent), read.bytes)
  }
  return read.texts ? sameValue(sent, read.value) : Bun.deepEquals(sent, read.value)
}

/** Nothing, null and an empty list or object leave nothing behind in a URL. */
export function sameValue(sent: unknown, read: unknown): boolean {
  if (isNothing(sent)) return isNothing(read) || read === ''
  if (sent === '') return read === undefined || read === ''
  if (read instanceof Bytes) return isBase64Of(fileOf(sent), read.data)
  if (typeof sent !== 'object' || sent === null) {
    if (Array.isArray(read)) return read.length === 1 && sameValue(sent, read[0])
    return read !== undefined && String(sent).trim() === String(read).trim()
  }
  if (typeof read === 'string') {
    if (Array.isArray(sent) && sent.length === 1 && sameValue(sent[0], read)) return true
    return sameJson(sent, read)
  }
  if (Array.isArray(sent)) {
    const present = sent.filter((part) => part !== null)
    const list = Array.isArray(read) ? read : isObject(read) ? Object.values(read) : [read]
    return (
      list.length === present.length && present.every((part, index) => sameValue(part, list[index]))
    )
  }
  if (!isObject(read)) return false
  const keys = new Set([...Object.keys(sent), ...Object.keys(read)])
  return [...keys].every((key) => sameValue(isObject(sent) ? sent[key] : undefined, read[key]))
}

function isNothing(value: unknown): boolean {
  if (value === undefined || value === null) return true
  if (Array.isArray(value)) return value.every(isNothing)
  return isObject(value) && Object.values(value).every(isNothing)
}

function sameJson(sent: unknown, text: string): boolean {
  try {
    return Bun.deepEquals(sent, JSON.parse(text))
  } catch {
    return false
  }
}

/** A file is given as base64, alone or beside its name and type. */
function fileOf(sent: unknown): unknown {
  return isObject(sent) && 'data' in sent ? sent.data : sent
}

function isBase64Of(sent: unknown, bytes: Uint8Array): boolean {
  if (typeof sent !== 'string') return false
  const bare = sent
    .replace(/^data:[^,]*,/, '')
    .replaceAll('-', '+')
    .replaceAll('_', '/')
    .replaceAll('=', '')
  return bare === bytes.toBase64().replaceAll('=', '')
}
