/** The whole run: documents are judged by two processes, and what came of them is added up. */
import { join } from 'node:path'
import { type Outcome, outcomeSchema, type Task } from './outcome.ts'

const PROCESSES = 2
const TELL_EVERY = 100
/** What a larger document is judged in parts of. */
const PART_BYTES = 6_000_000

export type Source = { name: string; path: string; bytes: number }
type Waiting = Task & { bytes: number }

/** In the order in which they end. The largest documents come first, so that no process is left alone with one. */
export async function judgeAll(
  sources: readonly Source[],
  say: (line: string) => void = () => {},
): Promise<Outcome[]> {
  const waiting = sources.flatMap(inParts).sort((a, b) => a.bytes - b.bytes)
  const shares = await Promise.all(Array.from({ length: PROCESSES }, () => judgeFrom(waiting, say)))
  return shares.flat()
}

function inParts({ name, path, bytes }: Source): Waiting[] {
  const of = Math.ceil(bytes / PART_BYTES)
  return Array.from({ length: of }, (_, index) => ({ name, path, bytes, part: { index, of } }))
}

/** Has a process of its own judge what is waiting, the last one first, until nothing is. */
async function judgeFrom(waiting: Waiting[], say: (line: string) => void): Promise<Outcome[]> {
  const outcomes: Outcome[] = []
  const ended = Promise.withResolvers<void>()
  let now = ''
  const judge = Bun.spawn(
    [process.execPath, '--no-env-file', '--no-install', join(import.meta.dir, 'worker.ts')],
    {
      stdio: ['ignore', 'ignore', 'inherit'],
      ipc(message) {
        const outcome = outcomeSchema.safeParse(message)
        if (!outcome.success) {
          ended.reject(outcome.error)
          return
        }
        outcomes.push(outcome.data)
        next()
      },
      onExit() {
        // After the last document it is ended from here, and nothing waits any more.
        waiting.length = 0
        ended.reject(new Error(`A process that judges documents has ended at ${now}.`))
      },
    },
  )
  const next = () => {
    const task = waiting.pop()
    if (waiting.length % TELL_EVERY === 0 && waiting.length > 0)
      say(`${waiting.length} documents are left`)
    if (task === undefined) {
      ended.resolve()
      return
    }
    now = task.name
    judge.send({ name: task.name, path: task.path, part: task.part })
  }
  try {
    next()
    await ended.promise
    return outcomes
  } finally {
    judge.kill()
    await judge.exited
  }
}
