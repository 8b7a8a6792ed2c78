/** Health as gRPC asks for it (grpc.health.v1): the gateway’s own readiness, for clients and load balancers. */
import { limited, notFound } from '@bmm/lib/errors'
import {
  type Health,
  type HealthCheckResponse_ServingStatus,
  HealthCheckResponse_ServingStatus as Status,
} from '@bmm/proto/grpc/health/v1/health'
import type { ServiceImpl } from '@connectrpc/connect'
import { type Checks, findFaults } from '../health.ts'

/** However many ask, the parts behind are asked once in this time. */
const REMEMBER_MS = 2_000
const WATCH_EVERY_MS = 3_000
const MAX_WATCHERS = 64

export type HealthOptions = {
  checks: Checks
  /** Names that can be asked for beside ''. */
  services: readonly string[]
  now?: () => number
  watchEveryMs?: number
}

export function health(options: HealthOptions): ServiceImpl<typeof Health> {
  const { now = Date.now, watchEveryMs = WATCH_EVERY_MS } = options
  const names = new Set(['', ...options.services])
  let latest: { status: Promise<HealthCheckResponse_ServingStatus>; at: number } | undefined
  let watchers = 0

  function status(): Promise<HealthCheckResponse_ServingStatus> {
    if (latest === undefined || now() - latest.at > REMEMBER_MS) {
      const found = findFaults(options.checks)
      const asked = found.then((faults) =>
        Object.keys(faults).length === 0 ? Status.SERVING : Status.NOT_SERVING,
      )
      latest = { status: asked, at: now() }
    }
    return latest.status
  }

  return {
    async check({ service }) {
      if (!names.has(service)) throw notFound('service_unknown', 'There is no such service here.')
      return { status: await status() }
    },
    async list() {
      const current = { status: await status() }
      return { statuses: Object.fromEntries([...names].map((name) => [name, current])) }
    },
    async *watch({ service }, { signal }) {
      if (watchers >= MAX_WATCHERS) throw limited('too_many_watchers', 'Ask with Check instead.')
      watchers++
      try {
        let told: HealthCheckResponse_ServingStatus | undefined
        while (!signal.aborted) {
          const current = names.has(service) ? await status() : Status.SERVICE_UNKNOWN
          if (current !== told) yield { status: current }
          told = current
          await pause(watchEveryMs, signal)
        }
      } finally {
        watchers--
      }
    },
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal.addEventListener('abort', done, { once: true })
  })
}
