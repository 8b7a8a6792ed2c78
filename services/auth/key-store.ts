/** SQL of the keys that sign access tokens. */
import type { Querying } from '@bmm/lib/sql'
import type { JWK } from 'jose'

export type StoredSigningKey = { kid: string; wrappedPrivateKey: Uint8Array }

/** The JWK is a plain object of strings; the driver wants that said. */
type JsonText = Record<string, string>

const MAX_VERIFYING_KEYS = 100

/** Held to the end of the transaction by whoever makes or retires keys. */
export async function lockSigningKeys(sql: Querying): Promise<void> {
  await sql`select pg_advisory_xact_lock(hashtext('bmm-auth-signing-keys'))`
}

export async function findActiveSigningKey(sql: Querying): Promise<StoredSigningKey | undefined> {
  const [row] = await sql<StoredSigningKey[]>`
    select kid, wrapped_private_key as "wrappedPrivateKey"
    from signing_keys where retired_at is null`
  return row
}

/** The active key first, then those that still verify. */
export async function listVerifyingKeys(
  sql: Querying,
  now: Date,
): Promise<{ kid: string; publicJwk: JWK }[]> {
  return sql<{ kid: string; publicJwk: JWK }[]>`
    select kid, public_jwk as "publicJwk" from signing_keys
    where retired_at is null or verifies_until > ${now}
    order by retired_at desc nulls first limit ${MAX_VERIFYING_KEYS}`
}

export async function createSigningKey(
  sql: Querying,
  row: { kid: string; publicJwk: JsonText; wrappedPrivateKey: Buffer; createdAt: Date },
): Promise<void> {
  await sql`
    insert into signing_keys (kid, public_jwk, wrapped_private_key, created_at)
    values (${row.kid}, ${sql.json(row.publicJwk)}, ${row.wrappedPrivateKey}, ${row.createdAt})`
}

/** Retires the active key and erases its private half: from now on it can only verify. */
export async function retireSigningKeys(sql: Querying, at: Date, until: Date): Promise<void> {
  await sql`
    update signing_keys
    set retired_at = ${at}, verifies_until = ${until}, wrapped_private_key = null
    where retired_at is null`
}
