/** Where a text stops being YAML: the fast native parser tells no position, so the slow one is asked. */
import { type Document, LineCounter, parseDocument } from 'yaml'
import { pointerTo } from './json.ts'
import { lineAndColumn, type TextFault } from './json-fault.ts'

/** The slow parser takes some 80 bytes of memory for each byte: larger texts are narrowed down first. */
const MAX_SLOW_PARSE = 1024 * 1024
const MAX_NARROWING = 8
const MAX_ALIASES = 1_000

export type SlowParse = { value: unknown } | { fault: TextFault }

/** Asks the parser that knows positions about a text that the native one refused. */
export function parseYamlSlowly(text: string): SlowParse {
  const section = narrowed(text)
  const lines = new LineCounter()
  const document = parseDocument(section.text, {
    lineCounter: lines,
    merge: true,
    logLevel: 'error',
  })
  const error = document.errors[0]
  if (error === undefined) {
    if (section.text === text) return resolvedValue(document, text)
    return { fault: { message: 'the YAML is malformed', line: section.line, column: 1, path: '' } }
  }
  const { line, col } = lines.linePos(error.pos[0])
  const whole = section.line - 1 + line
  return {
    fault: {
      message: sentence(error.message),
      line: whole,
      column: col,
      path: yamlPathAt(text, whole),
    },
  }
}

/** Aliases are resolved last: one without an anchor, or a thousand of one another, is found only here. */
function resolvedValue(document: Document.Parsed, text: string): SlowParse {
  try {
    return { value: document.toJS({ maxAliasCount: MAX_ALIASES }) }
  } catch (error) {
    if (!(error instanceof ReferenceError)) throw error
    const name = /: ([^\s:]+)$/.exec(error.message)?.[1]
    const index = name === undefined ? -1 : text.indexOf(`*${name}`)
    const at = lineAndColumn(text, Math.max(0, index))
    const message =
      index === -1 ? 'its aliases cannot be resolved' : 'an alias (*) has no anchor (&)'
    return { fault: { message, ...at, path: index === -1 ? '' : yamlPathAt(text, at.line) } }
  }
}

/** The keys that enclose a line, found by indentation: right for block YAML, the nearest key otherwise. */
function yamlPathAt(text: string, line: number): string {
  const lines = text.split('\n', line)
  const keys: string[] = []
  let limit = Number.POSITIVE_INFINITY
  for (let index = lines.length - 1; index >= 0 && limit > 0; index -= 1) {
    const match = /^((?:- |\s)*)(?:"([^"]*)"|'([^']*)'|([^\s#'"[{&*!|>%@`-][^:]*)):(?:\s|$)/.exec(
      lines[index] ?? '',
    )
    const indent = match?.[1]?.length ?? 0
    if (match === null || indent >= limit) continue
    limit = indent
    keys.unshift(match[2] ?? match[3] ?? match[4] ?? '')
  }
  return pointerTo('', ...keys)
}

type Section = { text: string; line: number }

/** The smallest block of lines that the native parser refuses by itself. */
function narrowed(text: string): Section {
  let section: Section = { text, line: 1 }
  for (let round = 0; round < MAX_NARROWING && section.text.length > MAX_SLOW_PARSE; round += 1) {
    const faulty = partsOf(section).find((part) => !nativelyParsed(part.text))
    if (faulty === undefined) return section
    section = faulty
  }
  return section
}

/** Splits at the lines with the least indentation; a part that is one key is opened, so that the next round can split it. */
function partsOf(section: Section): Section[] {
  const lines = section.text.split('\n')
  const indents = lines.map((line) => (/^\s*(?:#|$)/.test(line) ? undefined : line.search(/\S/)))
  const known = indents.filter((indent) => indent !== undefined)
  const least = known.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY)
  const starts = indents.flatMap((indent, index) => (indent === least ? [index] : []))
  if (starts.length === 1) {
    const from = (starts[0] ?? 0) + 1
    return [{ text: lines.slice(from).join('\n'), line: section.line + from }]
  }
  return starts.map((start, index) => ({
    text: lines.slice(start, starts[index + 1] ?? lines.length).join('\n'),
    line: section.line + start,
  }))
}

function nativelyParsed(text: string): boolean {
  try {
    Bun.YAML.parse(text)
    return true
  } catch {
    return false
  }
}

/** The parser's message goes on with an excerpt of the document: only its first line is wanted. */
function sentence(message: string): string {
  const first = message.split('\n', 1)[0] ?? message
  return first.replace(/ at line \d+, column \d+:?$/, '').slice(0, 200)
}
