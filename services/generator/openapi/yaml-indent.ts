/** Quoted texts of YAML whose lines stand too far left: against YAML 1.2.2 section 7.3.1, but most readers take them. */

/** A line that opens a quoted value: its indentation with dashes, an optional key, the quote. */
const opening =
  /^((?:[ ]|- )*)(?:(?:"(?:[^"\\]|\\.)*"|'[^']*'|[^\s#'"[{&*!|>%@`-][^:#]*):[ ]+)?(["'])/
/** A line that opens a block text, in which quotes mean nothing. */
const block = /^((?:[ ]|- )*)(?:\S.*:[ ]+|- )?[|>][+-]?\d?[+-]?[ ]*(?:#.*)?$/

/** The same text with such lines indented, which changes no value; the text itself where there are none. */
export function withIndentedQuotes(text: string): string {
  const lines = text.split('\n')
  let isChanged = false
  for (let index = 0; index < lines.length; index += 1) {
    const line = lines[index] ?? ''
    const blockIndent = block.exec(line)?.[1]?.length
    if (blockIndent !== undefined) {
      while (isInBlock(lines[index + 1], blockIndent)) index += 1
      continue
    }
    const match = opening.exec(line)
    const quote = match?.[2]
    if (match === null || quote === undefined) continue
    if (closes(line.slice(match[0].length), quote)) continue
    const indent = ' '.repeat((match[1] ?? '').length + 1)
    for (index += 1; index < lines.length; index += 1) {
      const own = lines[index] ?? ''
      if (own.trim() !== '' && !own.startsWith(indent)) {
        lines[index] = `${indent}${own.trimStart()}`
        isChanged = true
      }
      if (closes(own, quote)) break
    }
  }
  return isChanged ? lines.join('\n') : text
}

function isInBlock(line: string | undefined, indent: number): boolean {
  if (line === undefined) return false
  return line.trim() === '' || line.search(/\S/) > indent
}

/** Whether the quoted text ends in this line. */
function closes(line: string, quote: string): boolean {
  const rest = quote === '"' ? line.replaceAll(/\\./g, '') : line.replaceAll("''", '')
  return rest.includes(quote)
}
