/** The keys of access tokens: ES256, private halves wrapped at rest, one active, retired ones verifying on. */
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { openNamed, SealBroken, sealNamed } from '@bmm/lib/envelope'
import { inTransaction, type Sql } from '@bmm/lib/sql'
import { calculateJwkThumbprint, exportJWK, type JWK } from 'jose'
import {
  createSigningKey,
  findActiveSigningKey,
  listVerifyingKeys,
  lockSigningKeys,
  retireSigningKeys,
  type StoredSigningKey,
} from './key-store.ts'
import { ACCESS_TOKEN_TTL_MS } from './oauth/grant.ts'

/** After its last token has ended a key verifies a little longer: clocks differ, and caches live. */
const OVERLAP_MARGIN_MS = 5 * 60_000
/** Verifying keys are read anew after this; an unknown `kid` reads them at once. */
const VERIFY_CACHE_MS = 10_000

export type SigningKey = { kid: string; key: KeyObject }

export type SigningKeys = {
  /** The key that signs now, as Postgres says: a rotation by another process counts at once. */
  active(): Promise<SigningKey>
  /** The public key under this thumbprint while it verifies, else undefined. */
  findVerifying(kid: string): Promise<KeyObject | undefined>
  /** The JWK set: active and overlapping keys. */
  jwks(): Promise<{ keys: JWK[] }>
  /** Makes a new key and retires the old one; its thumbprint. */
  rotate(): Promise<string>
}

export type SigningKeysOptions = { sql: Sql; kek: Buffer; now: () => number }

/** Makes the first key when there is none. Throws when the key-encryption key is not the one of the stored keys. */
export async function openSigningKeys(options: SigningKeysOptions): Promise<SigningKeys> {
  const { sql, kek, now } = options
  const opened = new Map<string, KeyObject>()
  let verifying: { keys: Map<string, KeyObject>; at: number } = { keys: new Map(), at: 0 }

  const open = (stored: StoredSigningKey): SigningKey => {
    const known = opened.get(stored.kid)
    if (known !== undefined) return { kid: stored.kid, key: known }
    const der = unwrapKey(kek, stored)
    const key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
    opened.clear()
    opened.set(stored.kid, key)
    return { kid: stored.kid, key }
  }
  const readVerifying = async () => {
    const rows = await listVerifyingKeys(sql, new Date(now()))
    const keys = new Map(
      rows.map((row) => [row.kid, createPublicKey({ key: row.publicJwk, format: 'jwk' })]),
    )
    verifying = { keys, at: now() }
    return keys
  }

  await createFirstKey(options)
  const keys: SigningKeys = {
    async active() {
      const stored = await findActiveSigningKey(sql)
      if (stored === undefined) throw new Error('there is no active signing key')
      return open(stored)
    },
    async findVerifying(kid) {
      const fresh = now() - verifying.at < VERIFY_CACHE_MS && verifying.keys.has(kid)
      return (fresh ? verifying.keys : await readVerifying()).get(kid)
    },
    async jwks() {
      const rows = await listVerifyingKeys(sql, new Date(now()))
      return { keys: rows.map((row) => row.publicJwk) }
    },
    async rotate() {
      return inTransaction(sql, async (transaction) => {
        await lockSigningKeys(transaction)
        const at = new Date(now())
        const until = new Date(at.getTime() + ACCESS_TOKEN_TTL_MS + OVERLAP_MARGIN_MS)
        await retireSigningKeys(transaction, at, until)
        const key = await generate(kek)
        await createSigningKey(transaction, { ...key, createdAt: at })
        return key.kid
      })
    },
  }
  await keys.active()
  return keys
}

async function createFirstKey({ sql, kek, now }: SigningKeysOptions): Promise<void> {
  await inTransaction(sql, async (transaction) => {
    await lockSigningKeys(transaction)
    if ((await findActiveSigningKey(transaction)) !== undefined) return
    await createSigningKey(transaction, { ...(await generate(kek)), createdAt: new Date(now()) })
  })
}

async function generate(kek: Buffer) {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const { x = '', y = '' } = await exportJWK(publicKey)
  const jwk = { kty: 'EC', crv: 'P-256', x, y }
  const kid = await calculateJwkThumbprint(jwk, 'sha256')
  const der = privateKey.export({ format: 'der', type: 'pkcs8' })
  return {
    kid,
    publicJwk: { ...jwk, kid, alg: 'ES256', use: 'sig' },
    wrappedPrivateKey: Buffer.from(sealNamed(kek, der, wrapName(kid))),
  }
}

function unwrapKey(kek: Buffer, stored: StoredSigningKey): Buffer {
  try {
    return Buffer.from(openNamed(kek, stored.wrappedPrivateKey, wrapName(stored.kid)))
  } catch (cause) {
    if (!(cause instanceof SealBroken)) throw cause
    throw new Error('BMM_AUTH_KEK is not the key that wrapped the stored signing key', { cause })
  }
}

function wrapName(kid: string): string {
  return `bmm-auth-signing-key-v1 ${kid}`
}
