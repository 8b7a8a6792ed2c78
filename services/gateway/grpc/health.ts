/** Health as gRPC asks for it (grpc.health.v1): the gateway’s own readiness, for clients and load balancers. */
import { limited, notFound } from '@bmm/lib/errors'
import { pause } from '@bmm/lib/pause'
import { visitorOf } from '@bmm/lib/visitor'
import {
  type Health,
  type HealthCheckResponse_ServingStatus,
  HealthCheckResponse_ServingStatus as Status,
} from '@bmm/proto/grpc/health/v1/health'
import type { ServiceImpl } from '@connectrpc/connect'
import { type Checks, findFaults } from '../health.ts'
import { arrivalOf } from './gate.ts'

/** However many ask, the parts behind are asked once in this time. */
const REMEMBER_MS = 2_000
const WATCH_EVERY_MS = 3_000
const MAX_WATCHERS = 64
const MAX_WATCHERS_OF_VISITOR = 8

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
  const watchers = new Map<string, number>()

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
    async *watch({ service }, context) {
      const { signal } = context
      const leave = enter(watchers, visitorOf(arrivalOf(context).clientIp))
      if (leave === undefined) throw limited('too_many_watchers', 'Ask with Check instead.')
      try {
        let told: HealthCheckResponse_ServingStatus | undefined
        while (!signal.aborted) {
          const current = names.has(service) ? await status() : Status.SERVICE_UNKNOWN
          if (current !== told) yield { status: current }
          told = current
          await pause(watchEveryMs, signal)
        }
      } finally {
        leave()
      }
    },
  }
}

/** Counts a watcher; undefined when there are too many, or too many of this visitor's. */
function enter(watchers: Map<string, number>, visitor: string): (() => void) | undefined {
  const own = watchers.get(visitor) ?? 0
  const all = [...watchers.values()].reduce((sum, count) => sum + count, 0)
  if (all >= MAX_WATCHERS || own >= MAX_WATCHERS_OF_VISITOR) return undefined
  watchers.set(visitor, own + 1)
  return () => {
    const left = (watchers.get(visitor) ?? 1) - 1
    if (left > 0) watchers.set(visitor, left)
    else watchers.delete(visitor)
  }
}
