/** Attempts on the frames by which a sandbox talks to the runner: forged, broken, repeated, too many. */
import { FRAME, MAX_FRAME_BYTES } from '@bmm/lib/frames'
import type { Attempt, Group } from './attempt.ts'

/** A sandbox's first call. */
const OWN = 1
const protocol = { ends: ['protocol'] } as const
const message = 'The sandbox ended in the middle of its work.'

/** Frames that no sandbox may send; each ends it at once. */
const forged: readonly [string, string][] = [
  ["answer another person's call", `frame(${FRAME.RESULT_END}, 4000)`],
  [
    'fail a call of somebody else',
    `frame(${FRAME.FAILED}, 4000, '{"code":"deadline","message":""}')`,
  ],
  ['answer the call with number nought', `frame(${FRAME.RESULT_END}, 0)`],
  ['say hello again as somebody else', `frame(${FRAME.HELLO}, 0, '{"token":"x","protocol":1}')`],
  ['say again that it is sealed', `frame(${FRAME.SEALED}, 0)`],
  ['say again what it has loaded', `frame(${FRAME.LOADED}, 0, '{"tools":["admin"]}')`],
  ['give the keeper an order', `frame(${FRAME.KEEPER_START}, 1, '{"class":"standard","slot":9}')`],
  ['have the broker assign it a server', `frame(${FRAME.ASSIGN}, 1, '{}')`],
  [
    'ask the runner what only the broker may ask',
    `frame(${FRAME.IN_FLIGHT}, 1, '{"slot":3,"call":1}')`,
  ],
  ['call a tool of its own', `frame(${FRAME.CALL}, 1, '{}')`],
  ['answer a ping that nobody sent', `frame(${FRAME.PONG}, 77)`],
  ['send a type of frame that does not exist', 'frame(200, 1)'],
  ['send a log line that is not JSON', `frame(${FRAME.LOG}, ${OWN}, '{')`],
  ['write to the log of another call', `frame(${FRAME.LOG}, 99, '{"line":"x"}')`],
  ['report progress that is no number', `frame(${FRAME.PROGRESS}, ${OWN}, '{"progress":"NaN"}')`],
  [
    "fail with a code that is not a sandbox's",
    `frame(${FRAME.FAILED}, ${OWN}, '{"code":"unknown_server","message":""}')`,
  ],
  [
    'fail with a sentence of a megabyte',
    `frame(${FRAME.FAILED}, ${OWN}, JSON.stringify({ code: 'sandbox_failed', message: 'x'.repeat(60000) }))`,
  ],
  ['send JSON that is nested too deep', `frame(${FRAME.LOG}, ${OWN}, '['.repeat(20000))`],
  [
    'send text that is not UTF-8',
    `Buffer.concat([frame(${FRAME.LOG}, ${OWN}, 'xxxx').subarray(0, 9), Buffer.from([0xff, 0xfe, 0xc0, 0x80])])`,
  ],
  ['announce a frame of four gigabytes', 'Buffer.from([0xff, 0xff, 0xff, 0xff, 21, 0, 0, 0, 1])'],
  [
    'announce a frame that is one byte too large',
    `(() => { const head = frame(${FRAME.RESULT_PART}, ${OWN}); head.writeUInt32BE(${MAX_FRAME_BYTES + 1}); return head })()`,
  ],
  ['announce a frame without room for its type', 'Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 0])'],
  ['send garbage', 'Buffer.alloc(500, 0xee)'],
]

const byHand: readonly Attempt[] = [
  {
    intent: 'write to every descriptor that it has',
    code: `for (let fd = 0; fd < 64; fd++) { try { fs.writeSync(fd, frame(${FRAME.RESULT_END}, 4000)) } catch {} }
      await forever()`,
    // The broker's socket is one of them: whichever of the two is quicker.
    seen: { ends: ['protocol', 'exited'] },
    alone: true,
  },
  {
    intent: 'answer its call twice',
    code: `toRunner(frame(${FRAME.RESULT_PART}, ${OWN}, '{"content":[]}'), frame(${FRAME.RESULT_END}, ${OWN}), frame(${FRAME.RESULT_END}, ${OWN}))
      await forever()`,
    seen: { ...protocol, detail: /which is not known/ },
    alone: true,
  },
  {
    intent: 'go on answering after its call has failed',
    code: `toRunner(frame(${FRAME.FAILED}, ${OWN}, '{"code":"cancelled","message":""}'), frame(${FRAME.RESULT_PART}, ${OWN}, 'x'))
      await forever()`,
    seen: { ...protocol, detail: /which is not known/ },
    alone: true,
  },
  {
    intent: 'keep the runner waiting for the rest of a frame',
    code: `toRunner(frame(${FRAME.LOG}, ${OWN}, 'x'.repeat(100)).subarray(0, 50))
      await forever()`,
    seen: { ...protocol, detail: /did not arrive whole within 5000 ms/ },
    alone: true,
  },
  {
    intent: 'send a frame byte by byte for ever',
    code: `const bytes = frame(${FRAME.LOG}, ${OWN}, 'x'.repeat(60000))
      for (const byte of bytes) { toRunner(Buffer.from([byte])); await Bun.sleep(20) }`,
    seen: { ...protocol, detail: /did not arrive whole within 5000 ms/ },
    alone: true,
  },
  {
    intent: 'flood the runner with log lines',
    code: `const lines = Buffer.concat(Array.from({ length: 50 }, () => frame(${FRAME.LOG}, ${OWN}, '{"line":"x"}')))
      for (;;) { try { toRunner(lines) } catch {} await Bun.sleep(0) }`,
    seen: { ...protocol, detail: /too much progress or log/ },
    alone: true,
  },
  {
    intent: 'flood the runner with steps of progress',
    code: `const steps = Buffer.concat(Array.from({ length: 50 }, () => frame(${FRAME.PROGRESS}, ${OWN}, '{"progress":1}')))
      for (;;) { try { toRunner(steps) } catch {} await Bun.sleep(0) }`,
    seen: { ...protocol, detail: /too much progress or log/ },
    alone: true,
  },
  {
    intent: 'send a result in a million pieces',
    code: `const pieces = Buffer.concat(Array.from({ length: 40 }, () => frame(${FRAME.RESULT_PART}, ${OWN}, 'x')))
      toRunner(pieces)
      await forever()`,
    seen: { ...protocol, detail: /too large/ },
    alone: true,
  },
  {
    intent: 'send more of a result than is allowed',
    code: `const part = frame(${FRAME.RESULT_PART}, ${OWN}, Buffer.alloc(1024 * 1024))
      for (let n = 0; n < 9; n++) for (let at = 0; at < part.length; ) { try { at += fs.writeSync(runnerSocket(), part, at) } catch { await Bun.sleep(1) } }
      await forever()`,
    seen: { ...protocol, detail: /too large/ },
    alone: true,
  },
  {
    intent: 'hang up on the runner and live on',
    code: `fs.closeSync(runnerSocket())
      await forever()`,
    seen: { ends: ['protocol', 'exited'] },
    alone: true,
  },
]

export const frames: Group = {
  name: 'frames',
  attempts: [
    ...forged.map(
      ([intent, bytes]): Attempt => ({
        intent,
        code: `toRunner(${bytes})\n await forever()`,
        seen: { ...protocol, message },
        alone: true,
      }),
    ),
    ...byHand,
  ],
}
