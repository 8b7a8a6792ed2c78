/** SQL of ended grants, and of taking away rows that are over. */
import type { Querying } from '@bmm/lib/sql'

/** Which grants to end. */
export type GrantChoice = { grantId: string } | { serverId: string } | { clientId: string }

/** Marks live grants as ended; their ids. */
export async function endGrants(
  sql: Querying,
  choice: GrantChoice,
  because: string,
  now: Date,
  limit: number,
): Promise<string[]> {
  const chosen = chosenGrants(sql, choice)
  const rows = await sql<{ id: string }[]>`
    update grants set revoked_at = ${now}, revoked_because = ${because}
    where id in (select id from grants where ${chosen} and revoked_at is null limit ${limit})
      and revoked_at is null
    returning id`
  return rows.map((row) => row.id)
}

function chosenGrants(sql: Querying, choice: GrantChoice) {
  if ('grantId' in choice) return sql`id = ${choice.grantId}`
  if ('serverId' in choice) return sql`server_id = ${choice.serverId}`
  return sql`client_id = ${choice.clientId}`
}

/**
 * Writes the revocations. The lock is held from before the numbers are drawn until the commit, so positions
 * become visible in their order and a reader's cursor never passes one that is still on its way.
 */
export async function createRevocations(
  sql: Querying,
  endedIds: readonly string[],
  now: Date,
): Promise<void> {
  await sql`select pg_advisory_xact_lock(hashtext('bmm-auth-revocations'))`
  await sql`
    insert into revocations (grant_id, revoked_at)
    select id, ${now} from unnest(${[...endedIds]}::text[]) as id
    on conflict (grant_id) do nothing`
}

export type RevocationRow = { position: string; grantId: string; revokedAt: Date }

/** Revocations after the position that happened after the time, oldest first. */
export async function listRevocations(
  sql: Querying,
  after: { position: bigint; time: Date },
  limit: number,
): Promise<RevocationRow[]> {
  return sql<RevocationRow[]>`
    select position, grant_id as "grantId", revoked_at as "revokedAt" from revocations
    where position > ${after.position.toString()} and revoked_at > ${after.time}
    order by position limit ${limit}`
}

/** The greatest position ever given, 0 before the first. */
export async function lastRevocationPosition(sql: Querying): Promise<bigint> {
  const [row] = await sql<{ last: string }[]>`
    select coalesce(pg_sequence_last_value(
      pg_get_serial_sequence('revocations', 'position')::regclass), 0)::text as last`
  return BigInt(row?.last ?? '0')
}

/** Tables whose rows are over once `expires_at` has passed; deleting a grant takes its tokens along. */
const expiring = [
  'rate_counts',
  'magic_links',
  'consent_requests',
  'sessions',
  'service_tokens',
  'grants',
] as const

export type Leftover =
  | (typeof expiring)[number]
  | 'refresh_tokens'
  | 'revocations'
  | 'signing_keys'
  | 'oauth_clients'

/** Everything that is cleaned, in an order that frees clients last. */
export const leftovers: readonly Leftover[] = [
  ...expiring,
  'refresh_tokens',
  'revocations',
  'signing_keys',
  'oauth_clients',
]

/** Deletes at most `limit` rows that were over before the time; how many went. */
export async function deleteLeftovers(
  sql: Querying,
  table: Leftover,
  before: Date,
  limit: number,
): Promise<number> {
  const result = await sql`
    delete from ${sql(table)} where ctid in (
      select ctid from ${sql(table)} where ${isOver(sql, table, before)}
      limit ${limit} for update skip locked)`
  return result.count
}

function isOver(sql: Querying, table: Leftover, before: Date) {
  switch (table) {
    case 'revocations':
      return sql`revoked_at < ${before}`
    case 'signing_keys':
      return sql`verifies_until < ${before}`
    case 'oauth_clients':
      // A client that ever got a grant may come back with its saved id.
      return sql`created_at < ${before} and granted_at is null and not by_operator`
    default:
      return sql`expires_at < ${before}`
  }
}
