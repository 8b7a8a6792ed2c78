/** Answers that may never end: streams of events or lines, which give what came until a limit. */
import type http from 'node:http'

/** What ended a stream of which only the beginning came back. */
export type Cut = 'time' | 'size'

/** Types of answers that are read as they come, and may never end. */
const streamTypes =
  /^(?:text\/event-stream|application\/(?:(?:x-)?ndjson|(?:x-)?jsonl|(?:x-)?jsonlines|(?:x-)?json-seq|stream\+json|json-stream))\s*(?:;|$)/i
/** Logs that are followed and watched lists come as these, without saying how long they are. */
const textTypes = /^(?:text\/|application\/(?:[\w.-]+\+)?json\s*(?:;|$))/i

/** An answer that may never end. */
export type OpenAnswer = {
  /** Gives what came; undefined where a part would be taken for the whole. */
  cut: ((why: Cut) => void) | undefined
  forget: () => void
}

/**
 * Watches an answer that may never end, and cuts it at its time. `endsAt` is on the clock of `performance`; without it
 * nothing is cut. What is compressed cannot be read in part.
 */
export function openAnswer(
  { statusCode, headers }: http.IncomingMessage,
  endsAt: number | undefined,
  onCut: (why: Cut) => void,
): OpenAnswer | undefined {
  const type = headers['content-type'] ?? ''
  const isStream = streamTypes.test(type)
  const isOpen = isStream || (headers['content-length'] === undefined && textTypes.test(type))
  const isReadable = headers['content-encoding'] === undefined && statusCode === 200
  if (endsAt === undefined || !isOpen || !isReadable) return undefined
  const timer = setTimeout(() => onCut('time'), Math.max(0, endsAt - performance.now()))
  return { cut: isStream ? onCut : undefined, forget: () => clearTimeout(timer) }
}
