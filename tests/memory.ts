/** The memory of a process as root of the machine sees it: every page that is there, searched for texts. */
import { closeSync, openSync, readFileSync, readSync } from 'node:fs'

const PAGE = 4_096
const PART = 1 << 20
/** A needle may lie across two parts. */
const OVERLAP = 512
/** Bytes of one entry in /proc/PID/pagemap; its highest bits say present and swapped. */
const ENTRY = 8
const PRESENT_OR_SWAPPED = 0xc0

/** How often each needle stands in it, and how many pages were read. Regions that cannot be read are passed over. */
export function searchMemory(
  pid: number,
  needles: readonly Buffer[],
): { counts: number[]; pages: number } {
  const counts = needles.map(() => 0)
  let pages = 0
  const memory = openSync(`/proc/${pid}/mem`, 'r')
  const map = openSync(`/proc/${pid}/pagemap`, 'r')
  try {
    for (const { start, length } of runsOf(pid, map)) {
      const bytes = readAt(memory, start, length + OVERLAP) ?? readAt(memory, start, length)
      if (bytes === undefined) continue
      pages += length / PAGE
      for (const [index, needle] of needles.entries()) {
        const found = occurrences(bytes, needle, length)
        counts[index] = (counts[index] ?? 0) + found
      }
    }
  } finally {
    closeSync(memory)
    closeSync(map)
  }
  return { counts, pages }
}

/** Stretches of present pages, of at most `PART` bytes each. */
function* runsOf(pid: number, map: number): Generator<{ start: number; length: number }> {
  for (const line of readFileSync(`/proc/${pid}/maps`, 'utf8').split('\n')) {
    const [, from, to, mode] = /^([0-9a-f]+)-([0-9a-f]+) (\S+)/.exec(line) ?? []
    if (from === undefined || to === undefined || !mode?.startsWith('r')) continue
    const end = Number.parseInt(to, 16)
    for (let part = Number.parseInt(from, 16); part < end; part += PART) {
      const count = Math.min(PART, end - part) / PAGE
      const flags = readAt(map, (part / PAGE) * ENTRY, count * ENTRY)
      if (flags === undefined) continue
      let run = 0
      for (let page = 0; page <= count; page++) {
        const highest = page < count ? (flags[page * ENTRY + ENTRY - 1] ?? 0) : 0
        if ((highest & PRESENT_OR_SWAPPED) !== 0) run++
        else if (run > 0) {
          yield { start: part + (page - run) * PAGE, length: run * PAGE }
          run = 0
        }
      }
    }
  }
}

function readAt(file: number, at: number, length: number): Buffer | undefined {
  const bytes = Buffer.alloc(length)
  try {
    return bytes.subarray(0, readSync(file, bytes, 0, length, at))
  } catch {
    return undefined
  }
}

/** Those that begin within the first `length` bytes. */
function occurrences(bytes: Buffer, needle: Buffer, length: number): number {
  let count = 0
  for (let at = bytes.indexOf(needle); at !== -1 && at < length; at = bytes.indexOf(needle, at + 1))
    count++
  return count
}
