/** Log files of a stack's processes: they write to them by themselves, here they are kept bounded. */
import {
  closeSync,
  copyFileSync,
  mkdirSync,
  openSync,
  readFileSync,
  statSync,
  truncateSync,
} from 'node:fs'
import { join } from 'node:path'
import { errorFrom } from '@bmm/lib/errors'

const LIMIT_BYTES = 16 * 1024 * 1024
const CHECK_EVERY_MS = 5_000
const TAIL_BYTES = 4_000

/** Path of a process's log. */
export function logFile(folder: string, name: string): string {
  return join(folder, `${name}.log`)
}

/** A descriptor that appends, so that truncating the file under its writer leaves no hole. */
export function openLog(folder: string, name: string): number {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  return openSync(logFile(folder, name), 'a', 0o600)
}

/** The last lines, for a message that says why something did not start. */
export function tailOf(folder: string, name: string, lines = 12): string {
  try {
    const text = readFileSync(logFile(folder, name), 'utf8')
    return text.slice(-TAIL_BYTES).trimEnd().split('\n').slice(-lines).join('\n')
  } catch {
    return ''
  }
}

/** Keeps each log under 16 MiB, with one older part beside it, until disposed. */
export function rotateLogs(
  folder: string,
  names: readonly string[],
  onFault: (fault: string) => void,
): Disposable {
  const timer = setInterval(() => {
    for (const name of names) {
      try {
        rotate(logFile(folder, name))
      } catch (error) {
        onFault(`the log of ${name} cannot be moved aside: ${errorFrom(error).message}`)
      }
    }
  }, CHECK_EVERY_MS)
  return { [Symbol.dispose]: () => clearInterval(timer) }
}

/** Copies and truncates: the writer keeps its descriptor. Lines of the instant between the two may be lost. */
export function rotate(path: string, limitBytes = LIMIT_BYTES): void {
  const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0
  if (size < limitBytes) return
  try {
    copyFileSync(path, `${path}.1`)
  } finally {
    // On a full disk the older lines are given up: the log itself would take what little room there is.
    truncateSync(path)
  }
}

/** Closes a descriptor that a child has inherited by now. */
export function closeQuietly(descriptor: number): void {
  try {
    closeSync(descriptor)
  } catch {
    // Closed already.
  }
}
