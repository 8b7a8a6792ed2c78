/** All SQL of drafts. */
import type { Querying } from '@bmm/lib/sql'
import type postgres from 'postgres'

export type DraftNote = { refused: boolean; path: string; message: string }
export type DraftTag = { name: string; tools: number }

export type DraftRow = {
  id: string
  orgId: string
  createdBy: string
  name: string
  tools: number
  spec: Uint8Array
  specDigest: string
  notes: DraftNote[]
  tags: DraftTag[]
  expiresAt: Date
}

export async function insertDraft(sql: Querying, draft: DraftRow): Promise<void> {
  await sql`
    insert into drafts (id, org_id, created_by, name, tools, spec, spec_digest, notes, tags, expires_at)
    values (${draft.id}, ${draft.orgId}, ${draft.createdBy}, ${draft.name}, ${draft.tools},
      ${Buffer.from(draft.spec)}, ${draft.specDigest}, ${json(sql, draft.notes)},
      ${json(sql, draft.tags)}, ${draft.expiresAt})`
}

/** A draft of that organisation that has not expired. */
export async function findDraft(
  sql: Querying,
  orgId: string,
  id: string,
  now: Date,
): Promise<DraftRow | undefined> {
  const [row] = await sql<DraftRow[]>`
    select id, org_id as "orgId", created_by as "createdBy", name, tools, spec,
      spec_digest as "specDigest", notes, tags, expires_at as "expiresAt"
    from drafts where id = ${id} and org_id = ${orgId} and expires_at > ${now}`
  return row
}

/** Forgets all but the newest drafts of an organisation, and of these what is more than so many bytes; never the newest. */
export async function trimDrafts(
  sql: Querying,
  orgId: string,
  keep: { drafts: number; bytes: number },
): Promise<void> {
  await sql`
    delete from drafts using (
      select id, row_number() over newest_first as place, sum(length(spec)) over newest_first as bytes
      from drafts where org_id = ${orgId}
      window newest_first as (order by created_at desc, id desc)
    ) as ranked
    where drafts.org_id = ${orgId} and drafts.id = ranked.id and place > 1
      and (place > ${keep.drafts} or bytes > ${keep.bytes})`
}

export async function deleteExpiredDrafts(sql: Querying, now: Date, limit: number): Promise<void> {
  await sql`
    delete from drafts where id in (select id from drafts where expires_at <= ${now} limit ${limit})`
}

function json(sql: Querying, value: postgres.JSONValue) {
  return sql.json(value)
}
