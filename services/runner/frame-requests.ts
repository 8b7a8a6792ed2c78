/** Questions and answers over a frame connection: each question has a call id, and one answer or a time limit. */
import type { FrameConnection } from '@bmm/lib/frame-connection'
import { callIds, type Frame, FrameFault, type FrameType } from '@bmm/lib/frames'

export type FrameRequests = {
  /** Sends a control frame; resolves with the answering frame (its payload copied), rejects after the time limit. */
  ask(type: FrameType, value: unknown, timeoutMs: number): Promise<Frame>
  /** Hands an answer to its question; throws FrameFault when nobody asked. */
  answer(frame: Frame): void
  /** Rejects everything unanswered. */
  end(reason: string): void
}

/** Late answers that are still waited for; past this the peer is not answering at all. */
const MAX_LATE = 1_000

type Question = {
  resolve(frame: Frame): void
  reject(error: Error): void
  timer: ReturnType<typeof setTimeout>
}

export function createFrameRequests(connection: FrameConnection): FrameRequests {
  const ids = callIds()
  const open = new Map<number, Question>()
  /** Questions that ran out of time: their late answers are no fault. */
  const late = new Set<number>()
  return {
    ask(type, value, timeoutMs) {
      const call = ids.next()
      if (!connection.sendControl(type, call, value)) {
        return Promise.reject(new Error('the connection has ended or is not being read'))
      }
      return new Promise((resolve, reject) => {
        const timer = setTimeout(() => {
          open.delete(call)
          late.add(call)
          if (late.size > MAX_LATE) connection.end('too many questions were not answered')
          reject(new Error(`no answer came within ${timeoutMs} ms`))
        }, timeoutMs)
        open.set(call, { resolve, reject, timer })
      })
    },
    answer(frame) {
      const question = open.get(frame.call)
      if (question === undefined) {
        if (late.delete(frame.call)) return
        throw new FrameFault(`nobody asked question ${frame.call}`)
      }
      open.delete(frame.call)
      clearTimeout(question.timer)
      question.resolve({ ...frame, payload: frame.payload.slice() })
    },
    end(reason) {
      for (const question of open.values()) {
        clearTimeout(question.timer)
        question.reject(new Error(reason))
      }
      open.clear()
    },
  }
}
