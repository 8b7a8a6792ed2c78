/** Text hidden in base64: words that a model can decode and a person does not read. */

/** Shorter runs are ids, keys and hashes. */
const MIN_RUN = 24
/** Characters of readable text in base64 that prose has no use for; shorter samples are common in documentation. */
const MAX_READABLE = 120
/** Characters of any base64 in prose; certificates, images and tokens in documentation are broken into lines or named as data. */
const MAX_BLOB = 4_096
const RUN = /(?:[A-Za-z0-9+/]{24,}|[A-Za-z0-9_-]{24,})={0,2}/g
const DATA_URL = /data:[a-z]+\/[a-z0-9.+-]+;base64,[A-Za-z0-9+/=]*/gi

export type EncodedText = {
  /** The decoded words, for the scan of prose; empty when it is not text. */
  decoded: string
  /** Too much to be a sample. */
  tooLong: boolean
}

/** Every base64 run of a text that may hide something. */
export function encodedTexts(text: string): EncodedText[] {
  if (text.length < MIN_RUN) return []
  const found: EncodedText[] = []
  for (const [run] of text.replace(DATA_URL, ' ').matchAll(RUN)) {
    if (!isMixed(run)) continue
    const decoded = readable(run)
    const tooLong = run.length > (decoded === '' ? MAX_BLOB : MAX_READABLE)
    if (decoded !== '' || tooLong) found.push({ decoded, tooLong })
  }
  return found
}

/** Base64 of anything has upper and lower case and digits or signs; hex, paths and identifiers mostly lack one. */
function isMixed(run: string): boolean {
  return (
    /[A-Z]/.test(run) && /[a-z]/.test(run) && /[0-9+/=]/.test(run) && !/^[0-9a-fA-F]+$/.test(run)
  )
}

/** The run as words with spaces between them, or empty: JSON of tokens, keys and images are none. */
function readable(run: string): string {
  const bytes = Buffer.from(run, 'base64')
  const text = bytes.toString('utf8')
  const spaces = text.split(' ').length - 1
  const strange = text.replace(/[\p{L}\p{N}\p{P}\p{Zs}\n\r\t$+<=>^`|~]/gu, '').length
  return strange === 0 && spaces >= 2 && spaces * 14 >= text.length ? text : ''
}
