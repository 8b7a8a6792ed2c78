/** SQL of people: users, organisations, sessions, sign-in links and rate counters. */
import type { Querying } from '@bmm/lib/sql'
import type { Session } from './session.ts'

const MAX_LISTED_SESSIONS = 100
const MAX_LISTED_ORGS = 1_000

/** Counts one more of a subject in its window; how many there are now. */
export async function countOne(
  sql: Querying,
  row: { kind: string; subject: string; windowStart: Date; expiresAt: Date },
): Promise<number> {
  const [counted] = await sql<{ count: number }[]>`
    insert into rate_counts (kind, subject, window_start, expires_at, count)
    values (${row.kind}, ${row.subject}, ${row.windowStart}, ${row.expiresAt}, 1)
    on conflict (kind, subject, window_start) do update set count = rate_counts.count + 1
    returning count`
  if (counted === undefined) throw new Error('the count was not stored')
  return counted.count
}

export async function createMagicLink(
  sql: Querying,
  row: {
    tokenHash: Buffer
    email: string
    returnTo: string
    browserHash: Buffer | null
    createdAt: Date
    expiresAt: Date
  },
): Promise<void> {
  await sql`
    insert into magic_links (token_hash, email, return_to, browser_hash, created_at, expires_at)
    values (${row.tokenHash}, ${row.email}, ${row.returnTo}, ${row.browserHash}, ${row.createdAt},
      ${row.expiresAt})`
}

/** Uses up the link; undefined when it is unknown, used or over. The way back is that of the browser that asked. */
export async function consumeMagicLink(
  sql: Querying,
  { tokenHash, browserHash, now }: { tokenHash: Buffer; browserHash: Buffer | null; now: Date },
): Promise<{ email: string; returnTo: string } | undefined> {
  const [row] = await sql<{ email: string; returnTo: string }[]>`
    update magic_links set consumed_at = ${now}
    where token_hash = ${tokenHash} and consumed_at is null and expires_at > ${now}
    returning email,
      case when browser_hash = ${browserHash} then return_to else '' end as "returnTo"`
  return row
}

/** Inserts unless the address is known; the id that the address has in either case. */
export async function ensureUser(
  sql: Querying,
  row: { id: string; email: string; createdAt: Date },
): Promise<string> {
  const [user] = await sql<{ id: string }[]>`
    insert into users (id, email, created_at) values (${row.id}, ${row.email}, ${row.createdAt})
    on conflict (email) do update set email = excluded.email
    returning id`
  if (user === undefined) throw new Error('the user was not stored')
  return user.id
}

/** Inserts the personal organisation with its owner unless there is one; its id in either case. */
export async function ensurePersonalOrg(
  sql: Querying,
  row: { id: string; name: string; userId: string; createdAt: Date },
): Promise<string> {
  const [org] = await sql<{ id: string }[]>`
    insert into orgs (id, name, personal_of, created_at)
    values (${row.id}, ${row.name}, ${row.userId}, ${row.createdAt})
    on conflict (personal_of) do update set personal_of = excluded.personal_of
    returning id`
  if (org === undefined) throw new Error('the organisation was not stored')
  await sql`
    insert into members (org_id, user_id, role, created_at)
    values (${org.id}, ${row.userId}, 'owner', ${row.createdAt})
    on conflict (org_id, user_id) do nothing`
  return org.id
}

export async function createSession(
  sql: Querying,
  row: {
    id: string
    tokenHash: Buffer
    userId: string
    orgId: string
    userAgent: string
    createdAt: Date
    expiresAt: Date
  },
): Promise<void> {
  await sql`
    insert into sessions (id, token_hash, user_id, org_id, user_agent, created_at, expires_at)
    values (${row.id}, ${row.tokenHash}, ${row.userId}, ${row.orgId}, ${row.userAgent},
      ${row.createdAt}, ${row.expiresAt})`
}

/** The live session behind a token, with the role that the person has now; undefined when there is none. */
export async function findSession(
  sql: Querying,
  tokenHash: Buffer,
  now: Date,
): Promise<Session | undefined> {
  const [row] = await sql<Session[]>`
    select s.id, s.user_id as "userId", u.email, s.org_id as "orgId", o.name as "orgName",
      m.role, s.expires_at as "expiresAt"
    from sessions s
    join users u on u.id = s.user_id
    join orgs o on o.id = s.org_id
    join members m on m.org_id = s.org_id and m.user_id = s.user_id
    where s.token_hash = ${tokenHash} and s.revoked_at is null and s.expires_at > ${now}`
  return row
}

export async function revokeSession(sql: Querying, tokenHash: Buffer, now: Date): Promise<void> {
  await sql`
    update sessions set revoked_at = ${now} where token_hash = ${tokenHash} and revoked_at is null`
}

export type OwnSession = { id: string; userAgent: string; createdAt: Date; expiresAt: Date }

/** The live sessions of a person, newest first. */
export async function listSessions(
  sql: Querying,
  userId: string,
  now: Date,
): Promise<OwnSession[]> {
  return sql<OwnSession[]>`
    select id, user_agent as "userAgent", created_at as "createdAt", expires_at as "expiresAt"
    from sessions where user_id = ${userId} and revoked_at is null and expires_at > ${now}
    order by created_at desc, id limit ${MAX_LISTED_SESSIONS}`
}

/** Ends one of a person's live sessions; false when there is no such one. */
export async function endSession(
  sql: Querying,
  key: { id: string; userId: string; now: Date },
): Promise<boolean> {
  const result = await sql`
    update sessions set revoked_at = ${key.now}
    where id = ${key.id} and user_id = ${key.userId} and revoked_at is null and expires_at > ${key.now}`
  return result.count === 1
}

/** The organisations that a person belongs to. */
export async function listOrgIdsOfUser(sql: Querying, userId: string): Promise<string[]> {
  const rows = await sql<{ orgId: string }[]>`
    select org_id as "orgId" from members where user_id = ${userId} order by org_id limit ${MAX_LISTED_ORGS}`
  return rows.map((row) => row.orgId)
}

/** The whole address of the organisation's first owner: its name is free to choose, a mailed link proves an address. */
export async function findOwnerEmail(sql: Querying, orgId: string): Promise<string | undefined> {
  const [row] = await sql<{ email: string }[]>`
    select u.email from members m join users u on u.id = m.user_id
    where m.org_id = ${orgId} and m.role = 'owner' order by m.created_at, u.id limit 1`
  return row?.email
}
