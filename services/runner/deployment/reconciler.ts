/** The reconciler: makes what runs here match the generator's feed of signed statements, whatever was missed. */
import { errorFrom } from '@bmm/lib/errors'
import type { Log } from '@bmm/lib/log'
import type { SignedStatement } from '@bmm/spec/statement'
import type { Artefacts } from './deployment.ts'
import type { Deployments } from './deployments.ts'

const ROUND_MS = 3_000
/** A poke brings the next round forward, but rounds keep this distance. */
const POKE_DISTANCE_MS = 200
/** Changes that commit out of order lie this close together. */
const OVERLAP = 100n
const MAX_PAGES = 1_000
const FIRST_RETRY_MS = 3_000
const LONGEST_RETRY_MS = 5 * 60_000

/** What the feed says of one server. */
export type ServingNotice = {
  serverId: string
  signed: SignedStatement
  epoch: number
  seq: bigint
}

export type ServingFeed = {
  /** Changes after a position, oldest first, and whether there may be more. */
  list(afterSeq: bigint): Promise<{ notices: ServingNotice[]; more: boolean }>
  artefacts(serverId: string, specDigest: string, moduleDigest: string): Promise<Artefacts>
}

export type Reconciler = {
  /** Rounds from now on. */
  start(): void
  /** Looks at the feed soon. */
  poke(): void
  /** One round now; rejects when the feed does not answer. */
  round(): Promise<void>
  /** The first complete reading has been applied. */
  readonly caughtUp: boolean
  stop(): Promise<void>
}

export function createReconciler(options: {
  feed: ServingFeed
  deployments: Deployments
  /** Run after each round: removes what nobody knows. */
  sweep: () => Promise<void>
  now: () => number
  log: Log
}): Reconciler {
  const { feed, deployments, log, now } = options
  const failed = new Map<string, { notice: ServingNotice; tries: number; nextAt: number }>()
  let cursor = 0n
  let caughtUp = false
  let reachable = true
  let started = false
  let stopped = false
  let running: Promise<void> | undefined
  let timer: ReturnType<typeof setTimeout> | undefined
  let dueAt = 0

  async function apply(notice: ServingNotice): Promise<void> {
    const known = deployments.find(notice.serverId)
    if (known !== undefined && known.statement.epoch >= notice.epoch) return
    const statement = await deployments.open(notice.signed)
    if (statement.kind === 'stop') {
      await deployments.stop(notice.signed)
    } else {
      const { serverId, specDigest, moduleDigest } = statement
      const artefacts = await feed.artefacts(serverId, specDigest, moduleDigest)
      await deployments.deploy(notice.signed, artefacts)
    }
    log.info({ serverId: notice.serverId, epoch: notice.epoch }, 'caught up with a server')
  }

  /** One server that cannot be brought up to date holds nobody else up; it is tried again, ever later. */
  async function tryApply(notice: ServingNotice): Promise<void> {
    const { serverId } = notice
    try {
      await apply(notice)
      failed.delete(serverId)
    } catch (error) {
      const tries = (failed.get(serverId)?.tries ?? 0) + 1
      const waitMs = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** (tries - 1))
      failed.set(serverId, { notice, tries, nextAt: now() + waitMs })
      log.warn(
        { err: errorFrom(error), serverId, tries },
        'a server could not be brought up to date',
      )
    }
  }

  async function read(): Promise<void> {
    for (let page = 0; page < MAX_PAGES && !stopped; page++) {
      const { notices, more } = await feed.list(cursor)
      for (const notice of notices) {
        const before = failed.get(notice.serverId)
        if (before === undefined || before.notice.epoch < notice.epoch) await tryApply(notice)
        if (notice.seq > cursor) cursor = notice.seq
      }
      if (!more) break
    }
    cursor = cursor > OVERLAP ? cursor - OVERLAP : 0n
    for (const { notice, nextAt } of [...failed.values()]) {
      if (nextAt <= now()) await tryApply(notice)
    }
  }

  async function work(): Promise<void> {
    try {
      await read()
      if (!reachable) log.info('the feed of the generator answers again')
      reachable = true
      caughtUp = true
    } catch (error) {
      // Whatever was missed meanwhile: read all of it again.
      cursor = 0n
      if (reachable)
        log.warn({ err: errorFrom(error) }, 'the feed of the generator does not answer')
      reachable = false
      throw error
    } finally {
      await options.sweep()
    }
  }

  function round(): Promise<void> {
    running ??= work().finally(() => {
      running = undefined
      schedule(ROUND_MS)
    })
    return running
  }
  /** Never puts off what is due sooner: pokes may come faster than rounds. */
  function schedule(delayMs: number) {
    if (!started || stopped || (timer !== undefined && dueAt <= now() + delayMs)) return
    clearTimeout(timer)
    dueAt = now() + delayMs
    timer = setTimeout(() => {
      timer = undefined
      void round().catch(() => {})
    }, delayMs)
  }

  return {
    start() {
      started = true
      schedule(0)
    },
    poke() {
      if (running === undefined) schedule(POKE_DISTANCE_MS)
    },
    round,
    get caughtUp() {
      return caughtUp
    },
    async stop() {
      stopped = true
      clearTimeout(timer)
      await running?.catch(() => {})
    },
  }
}
