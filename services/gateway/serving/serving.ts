/** What is served under which slug: signed statements followed from the generator, verified, never downgraded. */
import { createHash } from 'node:crypto'
import { errorFrom, reasonOf } from '@bmm/lib/errors'
import type { Log } from '@bmm/lib/log'
import {
  askStatementKeys,
  createStatementKeyring,
  type StatementKeyring,
} from '@bmm/lib/statement-keys'
import type { ServingService } from '@bmm/proto/generator/v1/generator_service'
import type { Serving } from '@bmm/proto/generator/v1/server'
import type { StatementService } from '@bmm/proto/secrets/v1/secrets_service'
import { resourceUrl, slugFromResource } from '@bmm/spec/resource-url'
import {
  openStatement,
  type ServeStatement,
  type SignedStatement,
  type StopStatement,
} from '@bmm/spec/statement'
import type { Client } from '@connectrpc/connect'
import { FEED_TIMEOUT_MS, type Feed, openFeed } from '../feed.ts'

const PAGE = 500
/** Questions overlap by this many changes, in case two of them became visible out of order. */
const OVERLAP_CHANGES = 100n
const MISS_TTL_MS = 3_000
const MAX_MISSES = 10_000

/** Live ones as signed, but for the `resourceUrl`: it is that of now also where the platform has moved since. */
export type Served = { slug: string; serverId: string; epoch: number } & (
  | { state: 'live'; statement: ServeStatement }
  | { state: 'stopped'; reason: StopStatement['reason'] }
)

export type Servings = AsyncDisposable & {
  /** What is known of a slug, asking the generator when nothing is. Rejects when it cannot be asked. */
  find(slug: string): Promise<Served | undefined>
  /** What is known by now, without asking. */
  known(slug: string): Served | undefined
  /** The same by `srv_…`. */
  knownServer(serverId: string): Served | undefined
  hint(): Promise<void>
  /** Milliseconds since the generator last answered. */
  ageMs(): number
}

export type ServingsOptions = {
  serving: Pick<Client<typeof ServingService>, 'listServings' | 'getServing'>
  statements: Pick<Client<typeof StatementService>, 'listStatementKeys'>
  publicUrl: string
  /** Origins that the platform had before it moved. */
  formerUrls?: readonly string[]
  log: Log
  now?: () => number
  intervalMs?: number
}

/** Resolves after the first question, answered or not. */
export async function openServings(options: ServingsOptions): Promise<Servings> {
  const { serving, log, now = Date.now } = options
  const keys = statementKeys(options)
  const byServer = new Map<string, Served & { digest: string }>()
  const serverBySlug = new Map<string, string>()
  const misses = new Map<string, number>()
  const questions = new Map<string, Promise<Served | undefined>>()
  let cursor = 0n

  async function admit(candidate: Serving): Promise<void> {
    const signed = candidate.statement
    if (signed === undefined) return
    const digest = createHash('sha256').update(signed.bytes).digest('base64')
    const current = byServer.get(candidate.serverId)
    if (current?.digest === digest) return
    const served = await openServed(candidate, signed, keys, options)
    if (served === undefined) {
      log.error({ serverId: candidate.serverId }, 'a statement is not valid and is not served')
      return
    }
    // Read again: another admission may have come first while the keys were asked for.
    const newest = byServer.get(served.serverId)
    if (newest !== undefined && newest.epoch >= served.epoch) {
      if (newest.epoch > served.epoch) {
        log.warn({ serverId: served.serverId }, 'an older statement was offered and is not served')
      }
      return
    }
    const slug = newest?.slug ?? served.slug
    byServer.set(served.serverId, { ...served, slug, digest })
    bindSlug(slug, served)
  }

  /** A stop of an earlier server never hides the live one that has its slug now. */
  function bindSlug(slug: string, served: Served): void {
    const holder = byServer.get(serverBySlug.get(slug) ?? '')
    const keeps = holder?.state === 'live' && holder.serverId !== served.serverId
    if (keeps && served.state === 'stopped') return
    if (keeps) log.error({ serverId: served.serverId }, 'two live servers claim one slug')
    else serverBySlug.set(slug, served.serverId)
    misses.delete(slug)
  }

  async function pull(signal: AbortSignal): Promise<void> {
    let after = cursor > OVERLAP_CHANGES ? cursor - OVERLAP_CHANGES : 0n
    for (;;) {
      const { servings } = await serving.listServings(
        { afterSeq: after },
        { signal, timeoutMs: FEED_TIMEOUT_MS },
      )
      for (const candidate of servings) {
        await admit(candidate)
        if (candidate.seq > after) after = candidate.seq
      }
      if (servings.length < PAGE) break
    }
    if (after > cursor) cursor = after
  }

  function known(slug: string): Served | undefined {
    const serverId = serverBySlug.get(slug)
    return serverId === undefined ? undefined : byServer.get(serverId)
  }

  async function ask(slug: string): Promise<Served | undefined> {
    try {
      const { serving: found } = await serving.getServing({ slug })
      if (found !== undefined) await admit(found)
    } catch (error) {
      if (reasonOf(error) !== 'server_not_found') throw error
    }
    const served = known(slug)
    if (served === undefined) rememberMiss(misses, slug, now())
    return served
  }

  /** One question a slug at a time, however many wait for its answer. */
  function askOnce(slug: string): Promise<Served | undefined> {
    if ((misses.get(slug) ?? 0) > now()) return Promise.resolve(undefined)
    const asking = questions.get(slug) ?? ask(slug).finally(() => questions.delete(slug))
    questions.set(slug, asking)
    return asking
  }

  const feed: Feed = openFeed({
    name: 'servings',
    pull,
    log,
    now,
    ...(options.intervalMs === undefined ? {} : { intervalMs: options.intervalMs }),
  })
  await feed.hint()
  return {
    known,
    knownServer: (serverId) => byServer.get(serverId),
    find: async (slug) => known(slug) ?? (await askOnce(slug)),
    hint: () => feed.hint(),
    ageMs: () => feed.ageMs(),
    [Symbol.asyncDispose]: () => feed[Symbol.asyncDispose](),
  }
}

function rememberMiss(misses: Map<string, number>, slug: string, now: number): void {
  misses.set(slug, now + MISS_TTL_MS)
  if (misses.size <= MAX_MISSES) return
  for (const oldest of misses.keys()) {
    misses.delete(oldest)
    return
  }
}

/** What a verified statement says; undefined when signature, server, epoch or address do not fit. */
async function openServed(
  candidate: Serving,
  signed: SignedStatement,
  keys: StatementKeyring,
  { publicUrl, formerUrls = [] }: ServingsOptions,
): Promise<Served | undefined> {
  const statement = openStatement(signed, await keys.keysFor(signed.keyId))
  if (statement === undefined || statement.serverId !== candidate.serverId) return undefined
  const { serverId, epoch } = statement
  if (statement.kind === 'stop') {
    return { slug: candidate.slug, serverId, epoch, state: 'stopped', reason: statement.reason }
  }
  // The operator decides which origins are the platform's; which slug a server has, only who confirmed it.
  const origin = [publicUrl, ...formerUrls].find(
    (each) => slugFromResource(each, statement.resourceUrl) === candidate.slug,
  )
  if (origin === undefined) return undefined
  const { slug } = candidate
  const moved = { ...statement, resourceUrl: resourceUrl(publicUrl, slug) }
  return { slug, serverId, epoch, state: 'live', statement: moved }
}

/** The signer's public keys; that they cannot be had is said here, once for each try. */
function statementKeys({ statements, log, now = Date.now }: ServingsOptions): StatementKeyring {
  return createStatementKeyring({
    now,
    ask: () =>
      askStatementKeys(statements).catch((thrown: unknown) => {
        log.warn({ fault: errorFrom(thrown).message }, 'the statement keys cannot be had')
        throw thrown
      }),
  })
}
