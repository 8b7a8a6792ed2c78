/** How a child's answers lie in its output: lines of JSON, then bytes; or, anywhere, why it said no. */

/** Stands in no answer's first place: those are JSON. */
export const REFUSAL_MARK = '!'
const NEWLINE = 0x0a

/** A listener that hands over the first `count` lines of an output, each as soon as it is whole. */
export function firstLines(
  count: number,
  onLine: (line: string, index: number) => void,
): (chunk: Uint8Array) => void {
  let pending: Uint8Array = new Uint8Array()
  let index = 0
  return (chunk) => {
    if (index >= count) return
    pending = Buffer.concat([pending, chunk])
    for (let end = pending.indexOf(NEWLINE); end >= 0; end = pending.indexOf(NEWLINE)) {
      onLine(textOf(pending.subarray(0, end)), index)
      pending = pending.subarray(end + 1)
      index += 1
      if (index >= count) return
    }
  }
}

/** What follows the first `count` lines. */
export function afterLines(output: Uint8Array, count: number): Uint8Array {
  let rest = output
  for (let line = 0; line < count; line += 1) rest = rest.subarray(rest.indexOf(NEWLINE) + 1)
  return rest
}

/** The JSON of the refusal that an output ends with. */
export function refusalIn(output: Uint8Array): unknown {
  const last = textOf(output).split('\n').at(-1) ?? ''
  return JSON.parse(last.slice(REFUSAL_MARK.length))
}

export function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8')
}
