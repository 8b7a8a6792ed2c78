/** Working on builds: claim, keep the lease alive, run the pipeline, and write down how it ended. Safe to call twice for one build. */
import type { Log } from '@bmm/lib/log'
import { type Tally, tally } from '@bmm/lib/metrics'
import type { Hints } from '../hints.ts'
import { BuildFailure, BuildLetGo } from './build.ts'
import { type PipelineOptions, runPipeline } from './build-pipeline.ts'
import { type BuildRecord, buildRecord } from './build-record.ts'
import * as store from './build-store.ts'

/** How long a step waits for a service that is away. */
export const PATIENCE_MS = 60_000

export type BuildTimes = {
  /** A worker that is silent for this long has lost its build. */
  leaseMs: number
  /** How often the lease is renewed and a cancellation looked for. */
  beatMs: number
  /** One worker's whole attempt. */
  timeoutMs: number
}

const buildTimes: BuildTimes = { leaseMs: 6_000, beatMs: 1_000, timeoutMs: 300_000 }
/** Every claim but the first means that a worker died or let go: past this the build is what kills them. */
const MAX_CLAIMS = 5

export type BuildWorkerOptions = PipelineOptions & {
  hints: Hints
  log: Log
  times?: Partial<BuildTimes>
}

export type BuildWorker = {
  /** Works on one build until it is finished or someone else's. Rejects when this worker cannot go on; another will. */
  work(buildId: string): Promise<void>
  /** Lets go of every build at once, for others to take. */
  stop(): void
  /** How builds ended here. */
  readonly outcomes: Tally
}

export function buildWorker(options: BuildWorkerOptions): BuildWorker {
  const { sql, hints, log } = options
  const times = { ...buildTimes, ...options.times }
  const stopping = new AbortController()
  const outcomes = tally()

  async function work(buildId: string): Promise<void> {
    if (stopping.signal.aborted) return
    const owner = crypto.randomUUID()
    const build = await store.claimBuild(sql, buildId, owner, times.leaseMs)
    if (build === undefined) return
    const steps = await store.listSteps(sql, buildId)
    const record = buildRecord({ sql, hints, build, owner, steps })
    await using lease = keepLease(build, owner)
    const { signal } = lease
    try {
      await announce(build, record)
      await runPipeline(options, { build, owner, record, signal })
      log.info({ buildId, serverId: build.serverId }, 'a build succeeded')
      outcomes.add('succeeded')
    } catch (error) {
      await settle(build, owner, record, error).catch((again: unknown) => {
        if (!(again instanceof BuildLetGo)) throw again
        log.warn({ buildId }, 'another worker has this build now')
      })
    }
  }

  async function announce(build: store.BuildRow, record: BuildRecord): Promise<void> {
    if (build.claims > MAX_CLAIMS) {
      throw new BuildFailure('build_crashed', 'The build ended its worker several times.')
    }
    if (build.cancelRequested && !build.deploying) throw new BuildLetGo('cancelled')
    if (build.claims > 1) await record.line('The build goes on after an interruption.')
  }

  /** Writes down how it ended, or leaves the build to the next worker. */
  async function settle(
    build: store.BuildRow,
    owner: string,
    record: BuildRecord,
    error: unknown,
  ): Promise<void> {
    const end = async (ended: Parameters<BuildRecord['end']>[0]) => {
      await record.end(ended)
      outcomes.add(ended.state)
    }
    if (error instanceof BuildFailure) {
      log.info({ buildId: build.id, reason: error.reason }, 'a build failed')
      return end({ state: 'failed', reason: error.reason, message: error.message })
    }
    if (!(error instanceof BuildLetGo)) throw error
    switch (error.why) {
      case 'cancelled':
        return end({ state: 'cancelled', reason: 'cancelled', message: 'Cancelled.' })
      case 'timed_out': {
        const message = `The build took longer than ${times.timeoutMs / 1_000} s.`
        return end({ state: 'failed', reason: 'build_timeout', message })
      }
      case 'stopping':
        return store.releaseLease(sql, build.id, owner)
      case 'lease_lost':
        throw error
      default:
        error.why satisfies never
    }
  }

  /** Renews the lease; its signal says why to let go. */
  function keepLease(build: store.BuildRow, owner: string) {
    const controller = new AbortController()
    const letGo = (why: BuildLetGo['why']) => controller.abort(new BuildLetGo(why))
    const onStop = () => letGo('stopping')
    stopping.signal.addEventListener('abort', onStop)
    const timer = setTimeout(() => letGo('timed_out'), times.timeoutMs)
    const bell = hints.buildBell(build.id)
    let renewedAt = performance.now()
    async function beat(): Promise<void> {
      while (!controller.signal.aborted) {
        await bell.wait(times.beatMs, controller.signal)
        if (controller.signal.aborted) return
        try {
          const held = await store.extendLease(sql, build.id, owner, times.leaseMs)
          if (held === undefined) letGo('lease_lost')
          else if (held.cancelRequested) letGo('cancelled')
          renewedAt = performance.now()
        } catch (error) {
          log.warn({ err: error, buildId: build.id }, 'the lease of a build was not renewed')
          if (performance.now() - renewedAt > times.leaseMs) letGo('lease_lost')
        }
      }
    }
    const beating = beat()
    return {
      signal: controller.signal,
      async [Symbol.asyncDispose]() {
        controller.abort(new BuildLetGo('lease_lost'))
        clearTimeout(timer)
        stopping.signal.removeEventListener('abort', onStop)
        bell.close()
        await beating
      },
    }
  }

  return { work, outcomes, stop: () => stopping.abort() }
}
