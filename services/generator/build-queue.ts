/** The queue of builds: row ids only, and never the only place that knows of a build. */
import { errorFrom } from '@bmm/lib/errors'
import type { JobQueue } from '@bmm/lib/jobs'
import type { Log } from '@bmm/lib/log'

export const BUILD_QUEUE = 'builds'
export const BUILDS_AT_ONCE = 4

export type EnqueueOptions = { builds: JobQueue; log: Log }

/** A build without a job is found by the sweep: a queue that is away delays it, nothing more. */
export async function enqueue({ builds, log }: EnqueueOptions, buildId: string): Promise<void> {
  try {
    await builds.add(buildId)
  } catch (error) {
    log.warn({ err: errorFrom(error), buildId }, 'a build waits for the sweep')
  }
}
