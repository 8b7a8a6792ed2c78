/** What a command prints: results on standard output, progress and faults on standard error. */
import { writeSync } from 'node:fs'
import { type CommandFault, failed } from './fault.ts'

const STDOUT = 1
const STDERR = 2

/** A line of the result. */
export function print(line: string): void {
  writeAll(STDOUT, `${line}\n`)
}

/** The result as one line of JSON. */
export function printJson(value: unknown): void {
  print(JSON.stringify(value))
}

/** A line of progress. */
export function note(line: string): void {
  writeAll(STDERR, `${line}\n`)
}

/** The fault as a sentence, and for scripts as one line of JSON on standard output. */
export function printFault(fault: CommandFault, json: boolean): void {
  const trail = fault.requestId === undefined ? '' : ` (request ${fault.requestId})`
  note(`bmm: ${fault.message}${trail}`)
  if (!json) return
  const { code, message, requestId } = fault
  printJson({ error: { code, message, ...(requestId === undefined ? {} : { requestId }) } })
}

/** Rows as columns, each as wide as its widest cell. */
export function table(rows: string[][]): string {
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
