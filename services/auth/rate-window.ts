/** Fixed windows of rate limits, aligned to the epoch, and whom they count. */
import { createHash } from 'node:crypto'

/** The window that holds the moment. */
export function rateWindow(
  now: number,
  lengthMs: number,
): { start: Date; end: Date; secondsLeft: number } {
  const start = now - (now % lengthMs)
  const end = start + lengthMs
  return {
    start: new Date(start),
    end: new Date(end),
    secondsLeft: Math.max(1, Math.ceil((end - now) / 1000)),
  }
}

/** How a subject is stored in a counter: counters need no addresses in clear. */
export function subjectDigest(subject: string): string {
  return createHash('sha256').update(subject).digest('base64url')
}
