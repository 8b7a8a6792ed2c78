/** The operator's private targets: which host and port which organisation may reach, in memory and in Postgres. */
import { isIP } from 'node:net'
import { invalid, limited, notFound } from '@bmm/lib/errors'
import type { Log } from '@bmm/lib/log'
import { addressReach, nameReach } from '@bmm/lib/public-address'
import { startRounds } from '@bmm/lib/rounds'
import type { Sql } from '@bmm/lib/sql'
import { FetchFailure } from './outgoing.ts'
import * as store from './store.ts'

/** A change made through another broker acts within this time. */
const RELOAD_MS = 1_000
/** Who cannot read the allowances goes on with the last ones for so long: a database that restarts is no change. */
const KEEP_MS = 10_000

export type Target = { host: string; port: number; orgId: string }

export type Targets = AsyncDisposable & {
  /** Throws FetchFailure `targets_unknown` when it was, and nobody can say whether it still is. */
  isAllowed(orgId: string, host: string, port: number): boolean
  allow(target: Target): Promise<store.TargetRow>
  list(): Promise<store.TargetRow[]>
  remove(target: Target): Promise<void>
}

/** Loads the targets and keeps them current. Rejects when they cannot be loaded at first. */
export async function openTargets(options: {
  sql: Sql
  log: Log
  /** Milliseconds; for tests. */
  keepMs?: number
}): Promise<Targets> {
  const { sql, log, keepMs = KEEP_MS } = options
  let allowed = await load(sql)
  let loadedAt = performance.now()
  const reloading = startRounds({
    ...{ name: 'reading the allowed targets', everyMs: RELOAD_MS, log },
    async round() {
      const askedAt = performance.now()
      allowed = await load(sql)
      loadedAt = askedAt
    },
  })
  return {
    isAllowed(orgId, host, port) {
      const isKnown =
        allowed.has(keyOf({ host, port, orgId: '' })) || allowed.has(keyOf({ host, port, orgId }))
      // An allowance that nobody can take back any more is none.
      if (isKnown && performance.now() - loadedAt > keepMs) throw unknown(host, port)
      return isKnown
    },
    async allow(target) {
      const { port, orgId } = target
      const host = hostFrom(target.host)
      if ((await store.countTargets(sql)) >= store.MAX_TARGETS) {
        throw limited(
          'too_many_targets',
          `There are ${store.MAX_TARGETS} targets already. Remove one first: ./bmm targets remove HOST:PORT.`,
        )
      }
      const row = await store.putTarget(sql, { host, port, orgId })
      if (row === undefined) throw new Error('the target was not stored')
      allowed = await load(sql)
      return row
    },
    list: () => store.listTargets(sql),
    async remove({ host, port, orgId }) {
      const removed = await store.deleteTarget(sql, { host: hostFrom(host), port, orgId })
      allowed = await load(sql)
      if (removed === 0)
        throw notFound('target_not_found', `${host}:${port} is not in the list of allowed targets.`)
    },
    [Symbol.asyncDispose]: () => reloading[Symbol.asyncDispose](),
  }
}

function unknown(host: string, port: number): FetchFailure {
  return new FetchFailure(
    'targets_unknown',
    `Whether ${host}:${port} is still allowed cannot be looked up right now. Try again in a moment.`,
    host,
    false,
  )
}

/** The host as `new URL` prints it, without brackets. Throws `target_invalid` for what could never be reached. */
function hostFrom(text: string): string {
  const bare = text.replace(/^\[|\]$/g, '')
  const candidate = `http://${isIP(bare) === 6 ? `[${bare}]` : bare}/`
  const url = /[/?#@:\s]/.test(isIP(bare) === 6 ? '' : bare) ? undefined : URL.parse(candidate)
  const host = url?.hostname.replace(/^\[|\]$/g, '')
  if (host === undefined || host === '') {
    throw invalid('target_invalid', 'A target is HOST:PORT, with a host name or an IP address.')
  }
  const reach = isIP(host) === 0 ? nameReach(host) : addressReach(host)
  if (reach === 'forbidden') {
    throw invalid('target_invalid', `${host} is never reachable, so it cannot be allowed.`)
  }
  return host
}

async function load(sql: Sql): Promise<ReadonlySet<string>> {
  return new Set((await store.listTargets(sql)).map(keyOf))
}

function keyOf({ host, port, orgId }: Target): string {
  return `${orgId} ${host} ${port}`
}
