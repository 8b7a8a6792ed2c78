/** The public keys that verify access tokens, cached from the authorization server. */
import { type CryptoKey, importJWK } from 'jose'
import { z } from 'zod'

/** The one algorithm that the authorization server signs with: a token never chooses. */
const TOKEN_ALGORITHM = 'ES256'
const MAX_AGE_MS = 60_000
/** Unknown kids cost the authorization server at most one question in this time. */
const REFRESH_FLOOR_MS = 2_000
/** Sooner after a question that was not answered: until then nobody's token can be told good or bad. */
const RETRY_FLOOR_MS = 200
const MAX_KEYS = 20

export type KeySet = {
  algorithm: string
  /** The key of a kid; asks again when it is unknown. Rejects when nobody can be asked and nothing is known. */
  find(kid: string): Promise<CryptoKey | undefined>
}

const jwksSchema = z.object({
  keys: z
    .array(z.looseObject({ kid: z.string(), kty: z.string(), alg: z.string().optional() }))
    .max(MAX_KEYS),
})

/** `fetchJwks` answers the bytes of a JWK set (RFC 7517). */
export function keySet(options: {
  fetchJwks: () => Promise<Uint8Array>
  now?: () => number
}): KeySet {
  const { now = Date.now } = options
  let keys = new Map<string, CryptoKey>()
  let fetchedAt = Number.NEGATIVE_INFINITY
  let triedAt = Number.NEGATIVE_INFINITY
  let pending: Promise<void> | undefined
  /** Why the newest question was not answered. */
  let fault: unknown

  async function refresh(): Promise<void> {
    triedAt = now()
    try {
      keys = await importKeys(await options.fetchJwks())
      fault = undefined
    } catch (error) {
      fault = error
      return
    }
    fetchedAt = now()
  }

  return {
    algorithm: TOKEN_ALGORITHM,
    async find(kid) {
      const due = !keys.has(kid) || now() - fetchedAt > MAX_AGE_MS
      const floorMs = fault === undefined ? REFRESH_FLOOR_MS : RETRY_FLOOR_MS
      if (due && (pending !== undefined || now() - triedAt >= floorMs)) {
        pending ??= refresh().finally(() => {
          pending = undefined
        })
        await pending
      }
      // A key that is known stays good while the authorization server restarts; an unknown one is then not bad.
      if (fault !== undefined && !keys.has(kid)) throw fault
      return keys.get(kid)
    },
  }
}

/** Only public keys of our algorithm: a symmetric or foreign key in the set would verify what we never signed. */
async function importKeys(jwks: Uint8Array): Promise<Map<string, CryptoKey>> {
  const { keys } = jwksSchema.parse(JSON.parse(new TextDecoder().decode(jwks)))
  const imported = new Map<string, CryptoKey>()
  for (const jwk of keys) {
    const { kid, kty, crv, x, y } = jwk
    if (kty !== 'EC' || crv !== 'P-256' || typeof x !== 'string' || typeof y !== 'string') continue
    const key = await importJWK({ kty, crv, x, y }, TOKEN_ALGORITHM)
    if (!(key instanceof Uint8Array)) imported.set(kid, key)
  }
  return imported
}
