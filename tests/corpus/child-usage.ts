/** What the children of a process use while somebody watches: memory and processor time. */
import { readdirSync, readFileSync } from 'node:fs'

const WATCH_MS = 5
/** Linux shows times in hundredths of a second, whatever the kernel's own clock is. */
const TICK_MS = 10
/** Of /proc/PID/stat after the name in brackets, which is the second field (proc(5)). */
const USER_TIME_FIELD = 11
const SYSTEM_TIME_FIELD = 12

export type ChildUsage = Disposable & {
  /** The most memory that any child had. */
  peakBytes(): number
  /** The most that any child worked; all of its threads counted. */
  processorMs(): number
}

/** The kernel keeps each child's marks: only what it used in its last milliseconds can be missed. */
export function watchChildren(parent: number): ChildUsage {
  let peak = 0
  let processor = 0
  const look = () => {
    for (const child of childrenOf(parent)) {
      peak = Math.max(peak, highWaterMark(child))
      processor = Math.max(processor, processorTime(child))
    }
  }
  const timer = setInterval(look, WATCH_MS)
  return {
    peakBytes: () => peak,
    processorMs: () => processor,
    [Symbol.dispose]: () => clearInterval(timer),
  }
}

function childrenOf(parent: number): number[] {
  const tasks = `/proc/${parent}/task`
  return readdirSync(tasks).flatMap((task) =>
    textOf(`${tasks}/${task}/children`).split(' ').filter(Boolean).map(Number),
  )
}

function highWaterMark(pid: number): number {
  return Number(/VmHWM:\s+(\d+) kB/.exec(textOf(`/proc/${pid}/status`))?.[1] ?? '0') * 1024
}

function processorTime(pid: number): number {
  const stat = textOf(`/proc/${pid}/stat`)
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const ticks = Number(fields[USER_TIME_FIELD] ?? 0) + Number(fields[SYSTEM_TIME_FIELD] ?? 0)
  return ticks * TICK_MS
}

/** Empty when the process is gone. */
function textOf(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}
