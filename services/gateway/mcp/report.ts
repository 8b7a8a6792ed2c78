/** What a tool reports while it works, as its client wants to hear it: as progress, or in the earlier era as log messages. */
import type { Progress } from '@bmm/lib/call-frames'
import type { ToolCall } from './decision.ts'
import type { RequestId } from './message.ts'

/** What `ctx.progress` says is said at this level. */
const LEVEL = 'info'
/** From the most talkative on. */
const levels = ['debug', LEVEL, 'notice', 'warning', 'error', 'critical', 'alert', 'emergency']

/** Whether a client that asks for this level wants what tools report; undefined for a word that is no level. */
export function wantsReports(level: unknown): boolean | undefined {
  const index = typeof level === 'string' ? levels.indexOf(level) : -1
  return index < 0 ? undefined : index <= levels.indexOf(LEVEL)
}

/**
 * Turns reports into notifications. `isListening` is asked at the first report of a call without a progress token; what
 * `ctx.log` writes never comes here, it is the owner's.
 */
export function reporter(
  call: ToolCall,
  isListening: (() => Promise<boolean>) | undefined,
  say: (notification: string) => void,
): (progress: Progress) => void {
  const { progressToken, tool } = call
  if (progressToken !== undefined) return (step) => say(progressText(progressToken, step))
  let listening: Promise<boolean> | undefined
  return ({ message }) => {
    if (message === undefined || isListening === undefined) return
    listening ??= isListening()
    void listening.then((yes) => {
      if (yes) say(logText(tool, message))
    })
  }
}

function progressText(progressToken: RequestId, progress: Progress): string {
  return JSON.stringify({
    jsonrpc: '2.0',
    method: 'notifications/progress',
    params: { progressToken, ...progress },
  })
}

function logText(logger: string, data: string): string {
  return JSON.stringify({
    jsonrpc: '2.0',
    method: 'notifications/message',
    params: { level: LEVEL, logger, data },
  })
}
