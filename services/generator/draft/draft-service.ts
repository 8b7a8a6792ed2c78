/** The RPCs of drafts: who calls, decode, domain, encode. */
import { notFound } from '@bmm/lib/errors'
import { userOf } from '@bmm/lib/identity'
import type { Sql } from '@bmm/lib/sql'
import type { CreateDraftRequest, DraftService } from '@bmm/proto/generator/v1/generator_service'
import type { DraftSchema } from '@bmm/proto/generator/v1/server'
import { digestOf } from '@bmm/spec/digest'
import type { MessageInitShape } from '@bufbuild/protobuf'
import { timestampFromDate } from '@bufbuild/protobuf/wkt'
import type { ServiceImpl } from '@connectrpc/connect'
import { type DraftRow, findDraft } from './draft-store.ts'
import type { Drafting, DraftSource } from './drafting.ts'

export type DraftServiceOptions = { sql: Sql; draft: Drafting; now: () => Date }

export function draftService({
  sql,
  draft,
  now,
}: DraftServiceOptions): ServiceImpl<typeof DraftService> {
  return {
    async createDraft(request, context) {
      const user = userOf(context)
      const { baseUrl, only, name } = request
      const wish = { source: decodeSource(request.source), baseUrl, only, name }
      return { draft: encodeDraft(await draft(user, wish, context.signal)) }
    },
    async getDraft({ draftId }, context) {
      const { orgId } = userOf(context)
      const row = await findDraft(sql, orgId, draftId, now())
      // A changed row is no longer what anybody saw: as good as none.
      if (row === undefined || digestOf(row.spec) !== row.specDigest) {
        throw notFound('draft_not_found', 'There is no such draft, or it is older than 24 hours.')
      }
      return { draft: encodeDraft(row) }
    },
  }
}

function decodeSource(source: CreateDraftRequest['source']): DraftSource {
  switch (source.case) {
    case 'document':
      return { kind: 'document', document: source.value }
    case 'url':
      return { kind: 'url', url: source.value }
    case 'spec':
      return { kind: 'spec', spec: source.value }
    case undefined:
      throw new Error('validation let a draft without a source pass')
    default:
      return source satisfies never
  }
}

function encodeDraft(row: DraftRow): MessageInitShape<typeof DraftSchema> {
  const { id, spec, specDigest, notes, tags, tools } = row
  return { id, spec, specDigest, notes, tags, tools, expiresAt: timestampFromDate(row.expiresAt) }
}
