/** Processor time of a process, as the kernel tells everyone. */
import { readFileSync } from 'node:fs'

/** USER_HZ is 100 on every machine that Linux shows to programs. */
const TICK_MS = 10
/** Fields 14 and 15, counted behind the name, which may hold anything and ends at the last parenthesis. */
const [USER_FIELD, SYSTEM_FIELD] = [11, 12]

/** Of all its threads; undefined when there is no such process to be seen from here. */
export function processUsedMs(pid: number | string): number | undefined {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? []
    return (Number(fields[USER_FIELD]) + Number(fields[SYSTEM_FIELD])) * TICK_MS
  } catch {
    return undefined
  }
}
