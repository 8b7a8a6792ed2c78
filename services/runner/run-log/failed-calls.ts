/** What the run log says of calls that failed: kind and tool, never an input, and bounded for each server. */
import type { ServingDeployment } from '../deployment/deployment.ts'

/** A tool in a loop of failures must not push everything else out of its log. */
const MAX_LINES_PER_MINUTE = 60
const MINUTE_MS = 60_000
const MAX_SERVERS = 10_000

export type FailedCall = {
  tool: string
  requestId: string
  /** A sentence that says how it failed. */
  message: string
}

/** Called for each failure; writes its line, or counts it for one that says how many had none. */
export function failedCallLines(options: {
  now: () => number
  write: (
    deployment: ServingDeployment,
    line: { level: string; tool: string; message: string; requestId: string },
  ) => void
}): (deployment: ServingDeployment, call: FailedCall) => void {
  const { now, write } = options
  const minutes = new Map<string, { since: number; lines: number }>()

  return (deployment, { tool, requestId, message }) => {
    const { serverId } = deployment.statement
    const at = now()
    const minute = minutes.get(serverId)
    if (minute === undefined || at - minute.since >= MINUTE_MS) {
      const unsaid = (minute?.lines ?? 0) - MAX_LINES_PER_MINUTE
      if (unsaid > 0) {
        const note = `${unsaid} more calls failed in the minute before, without a line each.`
        write(deployment, { level: 'platform', tool: '', message: note, requestId: '' })
      }
      if (minutes.size >= MAX_SERVERS) minutes.clear()
      minutes.set(serverId, { since: at, lines: 1 })
    } else if (++minute.lines > MAX_LINES_PER_MINUTE) return
    write(deployment, { level: 'platform', tool, message, requestId })
  }
}
