/** What a command prints: results on standard output, progress and faults on standard error. */
import { writeSync } from 'node:fs'
import { isatty } from 'node:tty'
import { type CommandFault, failed } from './fault.ts'
import { bmm } from './hint.ts'

const STDOUT = 1
const STDERR = 2

/** A line of the result: as it is for pipes and files, harmless for terminals. */
export function print(line: string): void {
  writeAll(STDOUT, `${isatty(STDOUT) ? visible(line) : line}\n`)
}

/** The result as one line of JSON. */
export function printJson(value: unknown): void {
  print(JSON.stringify(value))
}

/** A line of progress. */
export function note(line: string): void {
  writeAll(STDERR, `${visible(line)}\n`)
}

/** Control and direction characters spelled out: a terminal would act on those that strangers put in names and logs. */
export function visible(text: string): string {
  return text.replace(/[\p{Cc}\p{Bidi_Control}\u2028\u2029]/gu, (character) =>
    character === '\n' || character === '\t' ? character : spelledOut(character),
  )
}

/** The same on one line, so that no text of a stranger looks like a line of ours. */
export function oneLine(text: string): string {
  return visible(text).replaceAll(/[\n\t]/g, spelledOut)
}

function spelledOut(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
}

/** The fault as a sentence, and for scripts as one line of JSON on standard output. */
export function printFault(
  fault: CommandFault,
  { json, data }: { json: boolean; data?: string | undefined },
): void {
  const { code, requestId, next } = fault
  const [sentence, ...places] = fault.message.split('\n')
  const hint = next === undefined ? '' : ` (${bmm(next, data)})`
  const message = [`${sentence}${hint}`, ...places].join('\n')
  const trail = requestId === undefined ? '' : ` (request ${requestId})`
  note(`bmm: ${message}${trail}`)
  if (!json) return
  printJson({ error: { code, message, ...(requestId === undefined ? {} : { requestId }) } })
}

/** Rows as columns, each as wide as its widest cell. */
export function table(cells: string[][]): string {
  const rows = cells.map((row) => row.map(oneLine))
  const widths: number[] = []
  for (const row of rows) {
    for (const [index, cell] of row.entries()) {
      widths[index] = Math.max(widths[index] ?? 0, cell.length)
    }
  }
  return rows
    .map((row) => row.map((cell, index) => cell.padEnd(widths[index] ?? 0)).join('  '))
    .map((line) => line.trimEnd())
    .join('\n')
}

/** Writes it whole: a pipe takes large texts in parts, and says EAGAIN while it is full. */
function writeAll(descriptor: number, text: string): void {
  let rest = Buffer.from(text)
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(descriptor, rest))
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : undefined
      if (code === 'EAGAIN') Bun.sleepSync(1)
      else if (code === 'EPIPE') return
      else throw failed('output_broken', 'The output could not be written.')
    }
  }
}
