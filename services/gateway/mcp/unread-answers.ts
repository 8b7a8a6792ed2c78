/** Large answers that their clients have not taken yet: bounded for each person and in all, because they lie in memory. */
import type { Room, RoomLimits } from '../limits/room.ts'

/** Smaller answers fit into the buffers of a connection. */
const LARGE_CHARACTERS = 64 * 1024
/** What an event stream counts beside the event that it is just giving. */
const STREAM_BYTES = 64 * 1024
const PART_BYTES = 256 * 1024
/** What unread answers may take, by MCP and gRPC together. */
export const unreadLimits: RoomLimits = {
  perPerson: 64 * 1024 * 1024,
  total: 512 * 1024 * 1024,
}

export type UnreadAnswers = {
  /** The answer, given as fast as it is read; undefined when too much of this person's lies unread. */
  guard(userId: string, response: Response): Response | undefined
}

const largeTexts = new WeakMap<Response, string>()
const streams = new WeakSet<Response>()

/** Remembers the text of a large answer, so that `guard` knows it without reading it. */
export function markLarge(response: Response, text: string): Response {
  if (text.length >= LARGE_CHARACTERS) largeTexts.set(response, text)
  return response
}

/** Remembers that the answer is a stream of events: to look at its headers would cost every answer. */
export function markStream(response: Response): Response {
  streams.add(response)
  return response
}

export function unreadAnswers(room: Room): UnreadAnswers {
  return {
    guard(userId, response) {
      const text = largeTexts.get(response)
      if (text === undefined && !streams.has(response)) return response
      const { status, headers } = response
      if (text !== undefined) {
        const bytes = new TextEncoder().encode(text)
        const release = room.reserve(userId, bytes.length)
        return release && new Response(inParts(bytes, release), { status, headers })
      }
      const release = room.reserve(userId, STREAM_BYTES)
      if (release !== undefined) {
        const body = passedOn(response.body, release, (more) => room.reserve(userId, more))
        return new Response(body, { status, headers })
      }
      // That ends the call of the stream.
      void response.body?.cancel()
      return undefined
    },
  }
}

function inParts(bytes: Uint8Array, release: () => void): ReadableStream<Uint8Array> {
  let at = 0
  return new ReadableStream({
    pull(controller) {
      controller.enqueue(bytes.subarray(at, at + PART_BYTES))
      at += PART_BYTES
      if (at < bytes.length) return
      controller.close()
      release()
    },
    cancel: release,
  })
}

/** Each event counts until the next one is asked for; one that finds no room ends the stream. */
function passedOn(
  body: ReadableStream<Uint8Array> | null,
  release: () => void,
  reserve: (bytes: number) => (() => void) | undefined,
): ReadableStream<Uint8Array> | null {
  const reader = body?.getReader()
  let given = () => {}
  const end = () => {
    given()
    release()
  }
  return new ReadableStream({
    async pull(controller) {
      given()
      const next = await reader?.read()
      if (next?.value === undefined) {
        end()
        return controller.close()
      }
      const room = reserve(next.value.length)
      if (room === undefined) {
        end()
        await reader?.cancel()
        return controller.error(new Error('too much lies unread'))
      }
      given = room
      controller.enqueue(next.value)
    },
    cancel(reason) {
      end()
      return reader?.cancel(reason)
    },
  })
}
