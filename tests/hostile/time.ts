/** Attempts on time: never answering, not hearing, streaming for ever, and looking dead while living on. */
import { currentArchitecture } from '@bmm/runner/sandbox/seccomp.ts'
import { syscallNumber } from '@bmm/runner/sandbox/syscalls.ts'
import type { Attempt, Group } from './attempt.ts'

const exit = syscallNumber('exit', currentArchitecture())

const attempts: readonly Attempt[] = [
  {
    intent: 'never answer',
    code: 'await forever()',
    seen: { fails: 'deadline' },
    timeoutMs: 500,
  },
  {
    intent: 'never answer, but look busy',
    code: 'for (;;) await Bun.sleep(1)',
    seen: { fails: 'deadline' },
    timeoutMs: 500,
  },
  {
    intent: 'not hear that it is cancelled',
    code: "ctx.signal.addEventListener('abort', (event) => event.stopImmediatePropagation()); await forever()",
    seen: { fails: 'cancelled' },
    cancelAfterMs: 100,
  },
  {
    intent: 'spin on when it is cancelled',
    code: 'for (;;) {}',
    seen: { ends: ['deadline'] },
    cancelAfterMs: 100,
  },
  {
    intent: 'spin past its deadline',
    code: 'for (;;) {}',
    seen: { ends: ['deadline'] },
    timeoutMs: 300,
  },
  {
    intent: 'report progress for ever',
    code: 'for (let n = 0; ; n++) { ctx.progress(n); await Bun.sleep(0) }',
    seen: { fails: 'deadline' },
    timeoutMs: 1_500,
  },
  {
    intent: 'miss every heartbeat, with a deadline that is far away',
    code: 'for (;;) {}',
    seen: { ends: ['heartbeat'] },
    timeoutMs: 100_000,
    options: { times: { heartbeatMs: 2_000 } },
  },
  {
    intent: 'look dead: end its first thread and go on in the others',
    code: `new Worker('/app/rehearsal.js')
      await Bun.sleep(300)
      call(${exit}, 0)`,
    seen: { ends: ['deadline'] },
    timeoutMs: 1_500,
  },
  {
    intent: 'freeze: stop itself, so that it hears nothing',
    code: "process.kill(process.pid, 'SIGSTOP'); await forever()",
    seen: { fails: 'deadline' },
    timeoutMs: 500,
  },
  {
    intent: 'read what it was sent so slowly that the runner must keep it',
    code: 'const until = Date.now() + 1000; while (Date.now() < until); return input.text.length > 0',
    seen: { answer: true },
  },
]

export const time: Group = {
  name: 'time',
  attempts: attempts.map((attempt) => ({ ...attempt, alone: true })),
}
