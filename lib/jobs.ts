/** Queue jobs that carry row ids only: Postgres says what is to be done, the queue says when to look. */
import { Queue, Worker } from 'bullmq'
import { z } from 'zod'
import { errorFrom } from './errors.ts'
import type { Log } from './log.ts'
import { isOutage } from './outage.ts'
import { openRedis } from './redis.ts'

const KEEP_FINISHED = 1_000
const STALLED_INTERVAL_MS = 5_000
const LOCK_MS = 15_000
/** How often a job may lose its worker: the owner of the row knows better when it is the job that ends them. */
const MAX_STALLS = 20
const payloadSchema = z.strictObject({ id: z.string().max(100) })

export type JobQueue = AsyncDisposable & {
  /** Asks for one row to be worked on; asking again while it waits changes nothing. */
  add(id: string): Promise<void>
}

/** Opens the sending side of a queue. */
export function openQueue(name: string, redisUrl: string, log: Log): JobQueue {
  const connection = openRedis(redisUrl, { log })
  const queue = new Queue(name, { connection })
  queue.on('error', (error) => log.warn({ fault: error.message, queue: name }, 'queue'))
  return {
    async add(id) {
      await queue.add(
        name,
        { id },
        {
          jobId: `${id}-${crypto.randomUUID()}`,
          removeOnComplete: KEEP_FINISHED,
          removeOnFail: KEEP_FINISHED,
        },
      )
    },
    async [Symbol.asyncDispose]() {
      await queue.close()
      connection.disconnect()
    },
  }
}

/**
 * Works on queued rows. A job whose worker was killed is handed to another, so the handler must be
 * idempotent; what it throws is logged and left to the owner's sweep of unfinished rows.
 */
export function openWorker(
  name: string,
  redisUrl: string,
  log: Log,
  concurrency: number,
  handler: (id: string) => Promise<void>,
): AsyncDisposable {
  const connection = openRedis(redisUrl, { log, blocking: true })
  const worker = new Worker(name, async (job) => handler(payloadSchema.parse(job.data).id), {
    connection,
    concurrency,
    stalledInterval: STALLED_INTERVAL_MS,
    maxStalledCount: MAX_STALLS,
    lockDuration: LOCK_MS,
  })
  worker.on('error', (error) => log.warn({ fault: error.message, queue: name }, 'worker'))
  worker.on('failed', (_job, error) => {
    if (isOutage(error)) log.warn({ fault: error.message, queue: name }, 'a job goes on later')
    else log.error({ err: errorFrom(error), queue: name }, 'job failed')
  })
  return {
    async [Symbol.asyncDispose]() {
      await worker.close()
      connection.disconnect()
    },
  }
}
