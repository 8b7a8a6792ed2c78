/** SQL of service tokens. */
import type { Querying } from '@bmm/lib/sql'
import type { ServiceToken } from './service-token.ts'

/** Held until the transaction ends, so that two makers cannot both be the last one within the limit. */
export async function lockServiceTokens(sql: Querying, orgId: string): Promise<void> {
  await sql`select pg_advisory_xact_lock(hashtext(${`bmm-service-tokens ${orgId}`}))`
}

export async function countServiceTokens(sql: Querying, orgId: string, now: Date): Promise<number> {
  const [row] = await sql<{ count: number }[]>`
    select count(*)::int as count from service_tokens
    where org_id = ${orgId} and revoked_at is null and expires_at > ${now}`
  return row?.count ?? 0
}

export async function createServiceToken(
  sql: Querying,
  row: Pick<
    ServiceToken,
    'id' | 'orgId' | 'userId' | 'name' | 'scopes' | 'createdAt' | 'expiresAt'
  > & {
    tokenHash: Buffer
  },
): Promise<void> {
  await sql`
    insert into service_tokens
      (id, token_hash, org_id, user_id, name, scopes, created_at, expires_at)
    values (${row.id}, ${row.tokenHash}, ${row.orgId}, ${row.userId}, ${row.name}, ${row.scopes},
      ${row.createdAt}, ${row.expiresAt})`
}

/** The live tokens of an organisation, or of one member, newest first. */
export async function listServiceTokens(
  sql: Querying,
  of: { orgId: string; userId?: string },
  now: Date,
  limit: number,
): Promise<ServiceToken[]> {
  const own = of.userId === undefined ? sql`` : sql`and t.user_id = ${of.userId}`
  return sql<ServiceToken[]>`
    select t.id, t.org_id as "orgId", t.user_id as "userId", u.email, t.name, t.scopes,
      t.created_at as "createdAt", t.expires_at as "expiresAt", t.last_used_at as "lastUsedAt"
    from service_tokens t join users u on u.id = t.user_id
    where t.org_id = ${of.orgId} and t.revoked_at is null and t.expires_at > ${now} ${own}
    order by t.id desc limit ${limit}`
}

type KnownToken = ServiceToken & { role: string; orgName: string }

/** The live token behind a value, with the role that its person has now; undefined when there is none. */
export async function findServiceToken(
  sql: Querying,
  tokenHash: Buffer,
  now: Date,
): Promise<KnownToken | undefined> {
  const [row] = await sql<KnownToken[]>`
    select t.id, t.org_id as "orgId", t.user_id as "userId", u.email, t.name, t.scopes,
      t.created_at as "createdAt", t.expires_at as "expiresAt", t.last_used_at as "lastUsedAt",
      m.role, o.name as "orgName"
    from service_tokens t
    join users u on u.id = t.user_id
    join orgs o on o.id = t.org_id
    join members m on m.org_id = t.org_id and m.user_id = t.user_id
    where t.token_hash = ${tokenHash} and t.revoked_at is null and t.expires_at > ${now}`
  return row
}

/** Ends a live token of the organisation, or of one member; false when there is no such one. */
export async function revokeServiceToken(
  sql: Querying,
  of: { id: string; orgId: string; userId?: string },
  now: Date,
): Promise<boolean> {
  const own = of.userId === undefined ? sql`` : sql`and user_id = ${of.userId}`
  const rows = await sql`
    update service_tokens set revoked_at = ${now}
    where id = ${of.id} and org_id = ${of.orgId} and revoked_at is null and expires_at > ${now}
      ${own}
    returning id`
  return rows.length > 0
}

/** Nothing when it was marked after `unless` already. */
export async function markServiceTokenUsed(
  sql: Querying,
  id: string,
  now: Date,
  unless: Date,
): Promise<void> {
  await sql`
    update service_tokens set last_used_at = ${now}
    where id = ${id} and (last_used_at is null or last_used_at < ${unless})`
}
