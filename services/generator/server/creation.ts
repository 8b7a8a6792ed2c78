/** Making a server from a confirmed draft: everything that can be refused is refused before anything is written. */
import { asUser } from '@bmm/lib/client'
import { conflict, denied, invalid, limited, notFound, precondition } from '@bmm/lib/errors'
import type { UserClaims } from '@bmm/lib/identity'
import { newId } from '@bmm/lib/ids'
import { inTransaction, type Sql } from '@bmm/lib/sql'
import { confirmationDigest } from '@bmm/spec/confirmation'
import { digestOf } from '@bmm/spec/digest'
import { slugReservation } from '@bmm/spec/reserved-words'
import { resourceUrl, slugFault } from '@bmm/spec/resource-url'
import { MAX_BUILD_TOOLS, MAX_SPEC_BYTES } from '@bmm/spec/server-spec'
import { type Access, accessSchema } from '@bmm/spec/statement'
import { type EnqueueOptions, enqueue, refuseManyBuilds } from '../build/build-queue.ts'
import { appendEvent, insertBuild } from '../build/build-store.ts'
import type { Downstream } from '../downstream.ts'
import { type DraftRow, findDraft } from '../draft/draft-store.ts'
import type { Hints } from '../hints.ts'
import { serverNameFault } from './server-name.ts'
import * as store from './server-store.ts'

const SHOWN_TAGS = 20
const MAX_SERVERS_OF_ORG = 200
/** A slug is used up for ever, so deleting gives none back. */
const MAX_DELETED_OF_ORG = 2_000

export type CreationWish = {
  draftId: string
  specDigest: string
  slug: string
  access: string
  idempotencyKey: string
}

export type Created = { serverId: string; buildId: string }

export type CreationOptions = EnqueueOptions & {
  sql: Sql
  statements: Downstream['statements']
  hints: Hints
  publicUrl: string
  now: () => Date
}

/** Throws `not_confirmed`, `draft_not_found`, `draft_changed`, `slug_invalid`, `slug_reserved`, `name_reserved`, `slug_taken`, `too_many_tools`, `no_tools`, `spec_too_large`, `access_invalid`, `idempotency_key_reused`, `too_many_servers`, `too_many_builds`. */
export async function createServer(
  options: CreationOptions,
  user: UserClaims,
  wish: CreationWish,
): Promise<Created> {
  const { sql, statements, hints, publicUrl } = options
  const requestDigest = digestOf(JSON.stringify(wish))
  const repeated = await findRepeated(sql, user, wish, requestDigest)
  if (repeated !== undefined) return repeated
  const rule = accessFrom(wish.access)
  const access = JSON.stringify(rule)
  const draft = await confirmedDraft(options, user, wish, rule)
  const fault = slugFault(wish.slug)
  if (fault !== undefined) throw invalid('slug_invalid', fault)
  refusePretence(wish.slug, draft.name)
  if (await store.isSlugTaken(sql, wish.slug)) {
    // Perhaps by this very request, sent twice at once.
    const twin = await findRepeated(sql, user, wish, requestDigest)
    if (twin !== undefined) return twin
    throw slugTaken(wish.slug)
  }
  await refuseTooMany(sql, user.orgId)
  await refuseManyBuilds(sql, user.orgId)
  const ids = { serverId: newId('srv'), buildId: newId('bld'), confirmationId: newId('cnf') }
  const url = resourceUrl(publicUrl, wish.slug)
  // Recorded before the server exists: a confirmation of a server that never came to be signs nothing.
  await statements.recordConfirmation(
    {
      confirmationId: ids.confirmationId,
      serverId: ids.serverId,
      specDigest: draft.specDigest,
      spec: draft.spec,
      resourceUrl: url,
      access,
    },
    asUser(user.token),
  )
  const created = await inTransaction(sql, async (transaction) => {
    if (wish.idempotencyKey !== '') {
      const row = { requestDigest, serverId: ids.serverId, buildId: ids.buildId }
      const taken = await store.takeIdempotencyKey(
        transaction,
        user.orgId,
        wish.idempotencyKey,
        row,
      )
      if (taken !== undefined) return sameRequest(taken, requestDigest)
    }
    await insertAll(transaction, user, draft, { ...ids, slug: wish.slug, access, url })
    return ids
  })
  hints.serverUpdated(created.serverId)
  await enqueue(options, created.buildId)
  return { serverId: created.serverId, buildId: created.buildId }
}

/** Throws `slug_reserved` or `name_reserved`. */
function refusePretence(slug: string, name: string): void {
  const reservation = slugReservation(slug)
  if (reservation !== undefined) throw invalid('slug_reserved', reservation)
  const claim = serverNameFault(name)
  if (claim !== undefined) throw invalid('name_reserved', claim)
}

async function refuseTooMany(sql: Sql, orgId: string): Promise<void> {
  const { present, deleted } = await store.countServers(sql, orgId)
  if (present >= MAX_SERVERS_OF_ORG) {
    throw limited(
      'too_many_servers',
      `An organisation has at most ${MAX_SERVERS_OF_ORG} servers. Delete one that is not needed.`,
    )
  }
  if (deleted >= MAX_DELETED_OF_ORG) {
    throw limited(
      'too_many_servers',
      `An organisation has deleted at most ${MAX_DELETED_OF_ORG} servers: slugs are never given away again.`,
    )
  }
}

async function findRepeated(
  sql: Sql,
  { orgId }: UserClaims,
  { idempotencyKey }: CreationWish,
  requestDigest: string,
): Promise<Created | undefined> {
  if (idempotencyKey === '') return undefined
  const taken = await store.findIdempotencyKey(sql, orgId, idempotencyKey)
  return taken === undefined ? undefined : sameRequest(taken, requestDigest)
}

function sameRequest(taken: store.RepeatedRow, requestDigest: string): Created {
  if (taken.requestDigest === requestDigest) return taken
  throw conflict('idempotency_key_reused', 'The idempotency key was used for another request.')
}

function accessFrom(text: string): Access {
  if (text === '') return { kind: 'org' }
  try {
    return accessSchema.parse(JSON.parse(text))
  } catch {
    throw invalid('access_invalid', 'The access rule is one of org, people and anyone.')
  }
}

async function confirmedDraft(
  { sql, now, publicUrl }: CreationOptions,
  user: UserClaims,
  wish: CreationWish,
  access: Access,
): Promise<DraftRow> {
  const confirmed = confirmationDigest({
    specDigest: wish.specDigest,
    resourceUrl: resourceUrl(publicUrl, wish.slug),
    access,
  })
  if (user.confirmDigest !== confirmed) {
    throw denied('not_confirmed', 'The person did not confirm this spec, slug and access.')
  }
  const draft = await findDraft(sql, user.orgId, wish.draftId, now())
  if (draft === undefined) {
    throw notFound('draft_not_found', 'There is no such draft, or it is older than 24 hours.')
  }
  if (draft.specDigest !== wish.specDigest || digestOf(draft.spec) !== wish.specDigest) {
    throw precondition('draft_changed', 'The draft is not the one that was confirmed.')
  }
  if (draft.tools === 0) throw invalid('no_tools', 'The draft has no tools.')
  if (draft.tools > MAX_BUILD_TOOLS) throw invalid('too_many_tools', tooManyTools(draft))
  if (draft.spec.length > MAX_SPEC_BYTES) {
    throw invalid('spec_too_large', 'The spec is larger than 8 MB. Choose a part of the API.')
  }
  return draft
}

/** With tags and counts, and how to filter. */
function tooManyTools({ tools, tags }: Pick<DraftRow, 'tools' | 'tags'>): string {
  const listed = tags.slice(0, SHOWN_TAGS).map((tag) => `${tag.name} (${tag.tools})`)
  const rest = tags.length > SHOWN_TAGS ? `, and ${tags.length - SHOWN_TAGS} more` : ''
  const choice = listed.length === 0 ? '' : ` Its tags: ${listed.join(', ')}${rest}.`
  return (
    `The draft has ${tools} tools; a server has ${MAX_BUILD_TOOLS} at most, because models fail on longer lists.` +
    `${choice} Draft again with a part of it: by tag (tag:NAME), by path (/path/*) or one by one (GET /path).`
  )
}

async function insertAll(
  transaction: Parameters<typeof appendEvent>[0],
  user: UserClaims,
  draft: DraftRow,
  chosen: {
    serverId: string
    buildId: string
    confirmationId: string
    slug: string
    access: string
    url: string
  },
): Promise<void> {
  const { serverId, buildId, confirmationId, slug, access, url } = chosen
  const inserted = await store.insertServer(transaction, {
    id: serverId,
    orgId: user.orgId,
    slug,
    name: draft.name,
    access,
    resourceUrl: url,
    latestBuildId: buildId,
    createdBy: user.userId,
  })
  if (!inserted) throw slugTaken(slug)
  await store.insertVersion(transaction, {
    serverId,
    version: 1,
    name: draft.name,
    tools: draft.tools,
    spec: draft.spec,
    specDigest: draft.specDigest,
    confirmationId,
    createdBy: user.userId,
  })
  const build = { id: buildId, serverId, orgId: user.orgId, version: 1, createdBy: user.userId }
  await insertBuild(transaction, build)
  await appendEvent(transaction, buildId, { state: 'queued', elapsedMs: 0 })
}

function slugTaken(slug: string) {
  return conflict(
    'slug_taken',
    `The slug "${slug}" is taken, or was once: slugs are never given away again. Choose another.`,
  )
}
