/** Answers that may never end: streams of events or lines, which give what came until a limit. */
import type http from 'node:http'

/** What ended a stream of which only the beginning came back. */
export type Cut = 'time' | 'size'

/** Types of answers that are read as they come, and may never end. */
const streamTypes =
  /^(?:text\/event-stream|application\/(?:(?:x-)?ndjson|(?:x-)?jsonl|(?:x-)?jsonlines|(?:x-)?json-seq|stream\+json|json-stream))\s*(?:;|$)/i

/**
 * For an answer that may never end: cut at its time, or when asked to. `endsAt` is on the clock of `performance`; without
 * it nothing is cut. What is compressed cannot be read in part.
 */
export function endlessStream(
  { statusCode, headers }: http.IncomingMessage,
  endsAt: number | undefined,
  onCut: (why: Cut) => void,
): { cut: (why: Cut) => void; forget: () => void } | undefined {
  const isStream = streamTypes.test(headers['content-type'] ?? '')
  const isReadable = headers['content-encoding'] === undefined && statusCode === 200
  if (endsAt === undefined || !isStream || !isReadable) return undefined
  const timer = setTimeout(() => onCut('time'), Math.max(0, endsAt - performance.now()))
  return { cut: onCut, forget: () => clearTimeout(timer) }
}
