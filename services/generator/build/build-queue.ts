/** The queue of builds: row ids only, and never the only place that knows of a build. */
import { errorFrom, limited } from '@bmm/lib/errors'
import type { JobQueue } from '@bmm/lib/jobs'
import type { Log } from '@bmm/lib/log'
import type { Querying } from '@bmm/lib/sql'
import { countUnfinished } from './build-store.ts'

export const BUILD_QUEUE = 'builds'
export const BUILDS_AT_ONCE = 4
/** The queue is served in order: one organisation's builds must not stand before everybody's. */
const MAX_UNFINISHED_OF_ORG = 12
const RETRY_AFTER_SECONDS = 5

export type EnqueueOptions = { builds: JobQueue; log: Log }

/**
 * The queue of builds; those that it does not take because it is away are worked on here, a few at a time, and the rest
 * when the sweep asks again. Should the queue have taken one after all, its second worker finds it claimed.
 */
export function buildQueue(
  queue: JobQueue,
  { work, log }: { work: (buildId: string) => Promise<void>; log: Log },
): JobQueue {
  const here = new Set<Promise<void>>()
  return {
    async add(buildId) {
      try {
        await queue.add(buildId)
      } catch (error) {
        if (here.size >= BUILDS_AT_ONCE) throw error
        log.warn({ fault: errorFrom(error).message, buildId }, 'a build goes without the queue')
        const working: Promise<void> = work(buildId)
          .catch((fault: unknown) =>
            log.warn({ err: errorFrom(fault), buildId }, 'a build goes on later'),
          )
          .finally(() => here.delete(working))
        here.add(working)
      }
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(here)
      await queue[Symbol.asyncDispose]()
    },
  }
}

/** A build without a job is found by the sweep: a queue that is away delays it, nothing more. */
export async function enqueue({ builds, log }: EnqueueOptions, buildId: string): Promise<void> {
  try {
    await builds.add(buildId)
  } catch (error) {
    log.warn({ err: errorFrom(error), buildId }, 'a build waits for the sweep')
  }
}

/** Throws `too_many_builds`. */
export async function refuseManyBuilds(sql: Querying, orgId: string): Promise<void> {
  if ((await countUnfinished(sql, orgId)) < MAX_UNFINISHED_OF_ORG) return
  throw limited(
    'too_many_builds',
    `${MAX_UNFINISHED_OF_ORG} builds of the organisation wait or run. Wait for one to end.`,
    { retryAfterSeconds: RETRY_AFTER_SECONDS },
  )
}
