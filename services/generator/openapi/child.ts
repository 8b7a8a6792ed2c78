/** The disposable child: one document comes in on stdin, its draft or the fault goes out on stdout. */

import { type OpenApiDocument, readDocument } from './document.ts'
import { draftInParts, type ImportOptions } from './draft.ts'
import { ImportError } from './import-error.ts'

const PART_CHARACTERS = 1_000_000
const COLLECT_EVERY_PARTS = 4

/** The document is not named here, so that its bytes can be collected while the draft is made. */
if (import.meta.main) {
  for (const part of answerTo(new Uint8Array(await Bun.stdin.arrayBuffer()))) {
    await Bun.write(Bun.stdout, part)
  }
}

/** In: one line of JSON options, then the document's bytes. Out: `{"draft"}` or `{"fault"}`, as one JSON text in parts. */
function answerTo(input: Uint8Array): string[] {
  try {
    const end = input.indexOf(0x0a)
    const options: ImportOptions = JSON.parse(new TextDecoder().decode(input.subarray(0, end)))
    return draftParts(readDocument(decoded(input.subarray(end + 1))), options)
  } catch (error) {
    if (error instanceof ImportError) return [JSON.stringify({ fault: error.fault })]
    throw error
  }
}

function draftParts(document: OpenApiDocument, options: ImportOptions): string[] {
  const parts: string[] = []
  let part = ''
  let separator = ''
  const { spec, ...rest } = draftInParts(document, options, (tool) => {
    part += `${separator}${JSON.stringify(tool)}`
    separator = ','
    if (part.length < PART_CHARACTERS) return
    parts.push(part)
    part = ''
    // The engine would let garbage grow to the size of what lives: for the largest documents that is too much.
    if (parts.length % COLLECT_EVERY_PARTS === 0) Bun.gc(true)
  })
  const [head, tail] = [JSON.stringify(spec).slice(0, -1), JSON.stringify(rest).slice(1)]
  return [`{"draft":{"spec":${head},"tools":[`, ...parts, part, `]},${tail}}`]
}

function decoded(bytes: Uint8Array): string {
  const encoding = bytes[0] === 0xff && bytes[1] === 0xfe ? 'utf-16le' : 'utf-8'
  try {
    return new TextDecoder(encoding, { fatal: true }).decode(bytes)
  } catch {
    throw new ImportError({
      code: 'document_malformed',
      message: 'The document is not UTF-8 text; it may be an archive or use an older encoding.',
    })
  }
}
