/** Whether an answer's bytes are text, and which: charset by byte order mark, header, XML declaration or HTML meta (WHATWG Encoding). */

export type AnswerText = {
  text: string
  /** Why the letters may be wrong; a sentence for the model. */
  note?: string
}

/** Names in use that the standard's list does not have. */
const otherLabels: Readonly<Record<string, string>> = {
  cp932: 'shift_jis',
  ms932: 'shift_jis',
  cp936: 'gbk',
  ms936: 'gbk',
  cp949: 'euc-kr',
  ms949: 'euc-kr',
  uhc: 'euc-kr',
  cp950: 'big5',
  eucjp: 'euc-jp',
  euckr: 'euc-kr',
  'latin-1': 'windows-1252',
  latin9: 'iso-8859-15',
  'win-1251': 'windows-1251',
  koi8r: 'koi8-r',
}
/** Where a document may say its own charset; HTML asks for the first kibibyte, some pages need more. */
const DECLARATION_BYTES = 4096
const MAX_LABEL = 40
const xmlDeclaration = /^\s*<\?xml[^>]{0,200}?\sencoding\s*=\s*["']([\w:.-]+)["']/
const htmlDeclaration = /<meta\s[^>]{0,500}?charset\s*=\s*["']?\s*([\w:.-]+)/i
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what text has none of
const controls = /[\u0000-\u0008\u000e-\u001a\u001c-\u001f]/
const binaryTypes =
  /^(?:(?:image|audio|video|font)\/|application\/(?:pdf|zip|gzip|x-(?:gzip|tar|7z-compressed|bzip2|rar-compressed)|wasm|vnd\.rar|msword|vnd\.(?:ms-|openxmlformats|oasis)))/

/** Undefined for what is no text. `contentType` is the header as it came; `mimeType` its type, where it has a usable one. */
export function answerText(
  body: Uint8Array,
  contentType: string,
  mimeType: string | undefined,
): AnswerText | undefined {
  const isNamedText = isTextual(mimeType)
  if (!isNamedText && mimeType !== undefined && binaryTypes.test(mimeType)) return undefined
  const declared = charsetIn(contentType)
  const label = markOf(body) ?? declared ?? declaredInside(body, mimeType)
  const encoding = label === undefined ? unmarkedUtf16(body, isNamedText) : encodingOf(label)
  if (encoding !== undefined) {
    const text = decoderOf(endianness(encoding, body)).decode(body)
    return isNamedText || !controls.test(text) ? { text } : undefined
  }
  const unknown =
    label === undefined ? 'No charset is declared' : `The charset "${label}" is not known here`
  const utf8 = strictUtf8(body)
  if (utf8 !== undefined) {
    if (!isNamedText && controls.test(utf8)) return undefined
    return label === undefined
      ? { text: utf8 }
      : { text: utf8, note: `(${unknown}: read as UTF-8.)` }
  }
  const western = new TextDecoder('windows-1252').decode(body)
  if (!isNamedText || controls.test(western)) return undefined
  return { text: western, note: `(${unknown}, and the text is no UTF-8: read as windows-1252.)` }
}

/** SVG is text: clients that show images do not show it, and models can read it. */
export function isTextual(mimeType: string | undefined): boolean {
  return (
    mimeType !== undefined &&
    (mimeType.startsWith('text/') ||
      /[/+](?:json|xml|yaml|x-yaml|javascript|ecmascript|x-ndjson|ndjson|jsonl|json-seq|graphql|sql|csv|x-www-form-urlencoded|toml|markdown)$/.test(
        mimeType,
      ))
  )
}

function charsetIn(contentType: string): string | undefined {
  const match = /;\s*charset\s*=\s*(?:"([^"]*)"|'([^']*)'|([^;\s"']+))/i.exec(contentType)
  const label = (match?.[1] ?? match?.[2] ?? match?.[3])?.trim().toLowerCase().slice(0, MAX_LABEL)
  return label === '' ? undefined : label?.replaceAll(/[^\w:.-]/g, '')
}

function markOf(body: Uint8Array): string | undefined {
  const [a, b, c] = body
  if (a === 0xef && b === 0xbb && c === 0xbf) return 'utf-8'
  if (a === 0xfe && b === 0xff) return 'utf-16be'
  return a === 0xff && b === 0xfe ? 'utf-16le' : undefined
}

function declaredInside(body: Uint8Array, mimeType: string | undefined): string | undefined {
  const pattern =
    mimeType === 'text/html'
      ? htmlDeclaration
      : mimeType === undefined || /[/+]xml$/.test(mimeType)
        ? xmlDeclaration
        : undefined
  if (pattern === undefined) return undefined
  const start = new TextDecoder('windows-1252').decode(body.subarray(0, DECLARATION_BYTES))
  const label = (pattern.exec(start) ?? xmlDeclaration.exec(start))?.[1]?.toLowerCase()
  // Written in single bytes, it cannot be UTF-16 (HTML section 13.2.3.2).
  return label?.startsWith('utf-16') ? 'utf-8' : label
}

/** JSON and XML without a mark show themselves by where their first zero bytes stand (RFC 4627 section 3). */
function unmarkedUtf16(body: Uint8Array, isNamedText: boolean): string | undefined {
  const [a, b, c, d] = body
  if (!isNamedText || body.length < 4 || body.length % 2 === 1) return undefined
  if (a === 0 && b !== 0 && c === 0 && d !== 0) return 'utf-16be'
  return a !== 0 && b === 0 && c !== 0 && d === 0 ? 'utf-16le' : undefined
}

/** `utf-16` alone says no order of bytes; the first character of most texts is below U+0100 and does. */
function endianness(encoding: string, body: Uint8Array): string {
  if (encoding !== 'utf-16le' || markOf(body) !== undefined) return encoding
  return body[0] === 0 && body[1] !== 0 ? 'utf-16be' : encoding
}

function encodingOf(label: string): string | undefined {
  try {
    return decoderOf(otherLabels[label] ?? label).encoding
  } catch {
    return undefined
  }
}

/** The runtime takes every label of the standard, though its types name three encodings. Throws for others. */
function decoderOf(label: string): TextDecoder {
  return new TextDecoder(label as ConstructorParameters<typeof TextDecoder>[0])
}

function strictUtf8(body: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(body)
  } catch {
    return undefined
  }
}
