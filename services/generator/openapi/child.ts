/** The disposable child: one document comes in on stdin, its draft or the fault goes out on stdout. */
import { writeSync } from 'node:fs'
import { type OpenApiDocument, readDocument } from './document.ts'
import { documentText } from './document-text.ts'
import { draftInParts, type ImportOptions } from './draft.ts'
import { ImportError } from './import-error.ts'

const STDOUT = 1
const PART_CHARACTERS = 1_000_000
/** From this size on, what is garbage after reading a document is collected before the draft is made. */
const LARGE_BYTES = 4 * 1024 * 1024

/**
 * In: one line of JSON options, then the document's bytes. Out, as one JSON text: `{"tools":[…],` and then
 * `"draft"` without its tools, or `"fault"`. The tools of large documents leave while the rest is being made.
 */
async function main(): Promise<void> {
  say('{"tools":[')
  try {
    const { document, options, size } = opened(await Bun.stdin.arrayBuffer())
    if (size > LARGE_BYTES) Bun.gc(true)
    say(`],"draft":${JSON.stringify(draftHead(document, options))}}`)
  } catch (error) {
    if (!(error instanceof ImportError)) throw error
    say(`],"fault":${JSON.stringify(error.fault)}}`)
  }
}

// Not awaited at the top level: a program with that cannot be compiled ahead.
if (import.meta.main) void main()

/** Empties `buffer`: what looks like a pointer to it may stand on the stack until the end. */
function opened(buffer: ArrayBuffer) {
  const input = new Uint8Array(buffer)
  const size = input.length
  const end = input.indexOf(0x0a)
  const options: ImportOptions = JSON.parse(new TextDecoder().decode(input.subarray(0, end)))
  const { text, encoding } = documentText(input.subarray(end + 1))
  buffer.transfer(0)
  const document = { ...readDocument(text), isLatin: encoding === 'windows-1252' }
  return { document, options, size }
}

function draftHead(document: OpenApiDocument, options: ImportOptions) {
  let part = ''
  let separator = ''
  const head = draftInParts(document, options, (tool) => {
    part += `${separator}${JSON.stringify(tool)}`
    separator = ','
    if (part.length < PART_CHARACTERS) return
    say(part)
    part = ''
  })
  say(part)
  return head
}

function say(text: string): void {
  const bytes = Buffer.from(text)
  for (let at = 0; at < bytes.length; ) at += writeSync(STDOUT, bytes, at)
}
