/** The public keys that verify statements, asked from the secrets service and kept. */
import type { StatementService } from '@bmm/proto/secrets/v1/secrets_service'
import type { Client } from '@connectrpc/connect'

/** Public keys as SubjectPublicKeyInfo DER, by id. */
type StatementKeys = ReadonlyMap<string, Uint8Array>

/** Keys are asked for again after this long, so that a withdrawn one ends. */
const KEEP_MS = 10 * 60_000
/** Statements with unknown keys cause at most one question in this time. */
const ASK_AGAIN_MS = 2_000

export type StatementKeyring = {
  /** All keys, asked for anew when this id is not among them. Rejects when secrets does not answer. */
  keysFor(keyId: string): Promise<StatementKeys>
}

export function createStatementKeyring(options: {
  ask: () => Promise<StatementKeys>
  now: () => number
}): StatementKeyring {
  const { ask, now } = options
  let keys: StatementKeys = new Map()
  let askedAt = Number.NEGATIVE_INFINITY
  let asking: Promise<void> | undefined
  async function refresh() {
    keys = await ask()
    askedAt = now()
  }
  return {
    async keysFor(keyId) {
      const age = now() - askedAt
      if (age > KEEP_MS || (!keys.has(keyId) && age > ASK_AGAIN_MS)) {
        asking ??= refresh().finally(() => {
          asking = undefined
        })
        await asking
      }
      return keys
    },
  }
}

/** Asks for all keys. */
export async function askStatementKeys(
  statements: Pick<Client<typeof StatementService>, 'listStatementKeys'>,
): Promise<StatementKeys> {
  const { keys } = await statements.listStatementKeys({})
  return new Map(keys.map(({ keyId, publicKey }) => [keyId, publicKey]))
}
