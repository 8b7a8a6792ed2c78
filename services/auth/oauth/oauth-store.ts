/** SQL of the authorization server: clients, consent requests, grants, codes and refresh tokens. */
import type { Querying, Transaction } from '@bmm/lib/sql'
import type { AuthorizationRequest } from './authorization-request.ts'
import type { OAuthClient } from './client-registration.ts'
import type { AuthorizationCode, Grant, RefreshToken } from './grant.ts'

export async function createClient(sql: Querying, client: OAuthClient): Promise<void> {
  await sql`
    insert into oauth_clients
      (id, secret_hash, auth_method, name, redirect_uris, grant_types, by_operator, created_at)
    values (${client.id}, ${client.secretHash}, ${client.authMethod}, ${client.name},
      ${client.redirectUris}, ${client.grantTypes}, ${client.byOperator}, ${client.createdAt})`
}

const clientColumns = (sql: Querying) => sql`
  id, secret_hash as "secretHash", auth_method as "authMethod", name,
  redirect_uris as "redirectUris", grant_types as "grantTypes", by_operator as "byOperator",
  created_at as "createdAt"`

export async function findClient(sql: Querying, id: string): Promise<OAuthClient | undefined> {
  const [row] = await sql<OAuthClient[]>`
    select ${clientColumns(sql)} from oauth_clients where id = ${id}`
  return row
}

/** The clients that the operator registered, oldest first. */
export async function listOperatorClients(sql: Querying, limit: number): Promise<OAuthClient[]> {
  return sql<OAuthClient[]>`
    select ${clientColumns(sql)} from oauth_clients where by_operator
    order by created_at, id limit ${limit}`
}

/** Whether there is such a client of the operator's; from here to the end of the transaction it gets no grant. */
export async function lockOperatorClient(sql: Transaction, id: string): Promise<boolean> {
  const rows = await sql`
    select 1 from oauth_clients where id = ${id} and by_operator for update`
  return rows.length > 0
}

/** Takes its grants and their tokens along. */
export async function deleteClient(sql: Querying, id: string): Promise<void> {
  await sql`delete from oauth_clients where id = ${id}`
}

export type ConsentRequest = AuthorizationRequest & { id: string }

export async function createConsentRequest(
  sql: Querying,
  row: ConsentRequest & {
    sessionId: string
    csrfHash: Buffer
    createdAt: Date
    expiresAt: Date
  },
): Promise<void> {
  await sql`
    insert into consent_requests (id, session_id, csrf_hash, client_id, redirect_uri, state,
      scopes, code_challenge, server_id, resource_url, created_at, expires_at)
    values (${row.id}, ${row.sessionId}, ${row.csrfHash}, ${row.clientId}, ${row.redirectUri},
      ${row.state ?? null}, ${row.scopes}, ${row.codeChallenge}, ${row.serverId},
      ${row.resourceUrl}, ${row.createdAt}, ${row.expiresAt})`
}

/** Keeps only the newest open requests of a session, so that reloading a page fills nothing. */
export async function trimConsentRequests(
  sql: Querying,
  sessionId: string,
  keep: number,
): Promise<void> {
  await sql`
    delete from consent_requests where id in (
      select id from consent_requests where session_id = ${sessionId} and decided_at is null
      order by created_at desc, id desc offset ${keep})`
}

/** Uses up a request of this session with this CSRF token; undefined when there is no such open one. */
export async function consumeConsentRequest(
  sql: Querying,
  key: { id: string; sessionId: string; csrfHash: Buffer; now: Date },
): Promise<ConsentRequest | undefined> {
  const [row] = await sql<(Omit<ConsentRequest, 'state'> & { state: string | null })[]>`
    update consent_requests set decided_at = ${key.now}
    where id = ${key.id} and session_id = ${key.sessionId} and csrf_hash = ${key.csrfHash}
      and decided_at is null and expires_at > ${key.now}
    returning id, client_id as "clientId", redirect_uri as "redirectUri", state, scopes,
      code_challenge as "codeChallenge", server_id as "serverId", resource_url as "resourceUrl"`
  return row === undefined ? undefined : { ...row, state: row.state ?? undefined }
}

export async function createGrant(sql: Querying, grant: Omit<Grant, 'revokedAt'>): Promise<void> {
  await sql`
    insert into grants (id, client_id, user_id, org_id, server_id, resource_url, scopes,
      created_at, expires_at)
    values (${grant.id}, ${grant.clientId}, ${grant.userId}, ${grant.orgId}, ${grant.serverId},
      ${grant.resourceUrl}, ${grant.scopes}, ${grant.createdAt}, ${grant.expiresAt})`
  await sql`
    update oauth_clients set granted_at = ${grant.createdAt}
    where id = ${grant.clientId} and granted_at is null`
}

const grantColumns = (sql: Querying) => sql`
  g.id, g.client_id as "clientId", g.user_id as "userId", g.org_id as "orgId",
  g.server_id as "serverId", g.resource_url as "resourceUrl", g.scopes,
  g.created_at as "createdAt", g.expires_at as "expiresAt", g.revoked_at as "revokedAt"`

export async function findGrant(sql: Querying, id: string): Promise<Grant | undefined> {
  const [row] = await sql<Grant[]>`
    select ${grantColumns(sql)} from grants g where g.id = ${id}`
  return row
}

/** Whether the person allows this client anything now. */
export async function hasLiveGrant(
  sql: Querying,
  { clientId, userId, now }: { clientId: string; userId: string; now: Date },
): Promise<boolean> {
  const [row] = await sql<{ found: boolean }[]>`
    select exists (select from grants where client_id = ${clientId} and user_id = ${userId}
      and revoked_at is null and expires_at > ${now}) as found`
  return row?.found === true
}

/** Moves the end of a grant's last token; false when the grant was ended meanwhile. */
export async function extendGrant(sql: Querying, id: string, expiresAt: Date): Promise<boolean> {
  const result = await sql`
    update grants set expires_at = greatest(expires_at, ${expiresAt})
    where id = ${id} and revoked_at is null`
  return result.count === 1
}

export async function createCode(
  sql: Querying,
  row: {
    codeHash: Buffer
    grantId: string
    redirectUri: string
    codeChallenge: string
    createdAt: Date
    expiresAt: Date
  },
): Promise<void> {
  await sql`
    insert into authorization_codes
      (code_hash, grant_id, redirect_uri, code_challenge, created_at, expires_at)
    values (${row.codeHash}, ${row.grantId}, ${row.redirectUri}, ${row.codeChallenge},
      ${row.createdAt}, ${row.expiresAt})`
}

export async function findCode(
  sql: Querying,
  codeHash: Buffer,
): Promise<{ code: AuthorizationCode; grant: Grant } | undefined> {
  const [row] = await sql<(Grant & AuthorizationCode & { codeExpiresAt: Date })[]>`
    select ${grantColumns(sql)}, c.redirect_uri as "redirectUri",
      c.code_challenge as "codeChallenge", c.expires_at as "codeExpiresAt",
      c.consumed_at as "consumedAt"
    from authorization_codes c join grants g on g.id = c.grant_id
    where c.code_hash = ${codeHash}`
  if (row === undefined) return undefined
  const { redirectUri, codeChallenge, codeExpiresAt, consumedAt, ...grant } = row
  return {
    code: { redirectUri, codeChallenge, expiresAt: codeExpiresAt, consumedAt },
    grant,
  }
}

/** The one statement that uses up a code; false when somebody else did, or it is over. */
export async function consumeCode(sql: Querying, codeHash: Buffer, now: Date): Promise<boolean> {
  const result = await sql`
    update authorization_codes set consumed_at = ${now}
    where code_hash = ${codeHash} and consumed_at is null and expires_at > ${now}`
  return result.count === 1
}

export async function createRefreshToken(
  sql: Querying,
  row: { tokenHash: Buffer; grantId: string; createdAt: Date; expiresAt: Date },
): Promise<void> {
  await sql`
    insert into refresh_tokens (token_hash, grant_id, created_at, expires_at)
    values (${row.tokenHash}, ${row.grantId}, ${row.createdAt}, ${row.expiresAt})`
}

/** The token with its grant and, once it was used, the state of its successor. */
export async function findRefreshToken(
  sql: Querying,
  tokenHash: Buffer,
  successorHash: Buffer,
): Promise<{ token: RefreshToken; successor: RefreshToken | undefined; grant: Grant } | undefined> {
  type Row = Grant & {
    tokenExpiresAt: Date
    consumedAt: Date | null
    successorExpiresAt: Date | null
    successorConsumedAt: Date | null
  }
  const [row] = await sql<Row[]>`
    select ${grantColumns(sql)}, t.expires_at as "tokenExpiresAt", t.consumed_at as "consumedAt",
      n.expires_at as "successorExpiresAt", n.consumed_at as "successorConsumedAt"
    from refresh_tokens t
    join grants g on g.id = t.grant_id
    left join refresh_tokens n on n.token_hash = ${successorHash} and n.grant_id = t.grant_id
    where t.token_hash = ${tokenHash}`
  if (row === undefined) return undefined
  const { tokenExpiresAt, consumedAt, successorExpiresAt, successorConsumedAt, ...grant } = row
  const successor =
    successorExpiresAt === null
      ? undefined
      : { expiresAt: successorExpiresAt, consumedAt: successorConsumedAt }
  return { token: { expiresAt: tokenExpiresAt, consumedAt }, successor, grant }
}

/** The one statement that uses up a refresh token; false when somebody else did, or it is over. */
export async function consumeRefreshToken(
  sql: Querying,
  tokenHash: Buffer,
  now: Date,
): Promise<boolean> {
  const result = await sql`
    update refresh_tokens set consumed_at = ${now}
    where token_hash = ${tokenHash} and consumed_at is null and expires_at > ${now}`
  return result.count === 1
}
