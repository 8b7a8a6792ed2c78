/** Opened secrets in memory: asked from the secrets service, kept for seconds, dropped when nobody needs them. */
import { reasonOf } from '@bmm/lib/errors'
import type { OpenedSecret, SecretsService } from '@bmm/proto/secrets/v1/secrets_service'
import { type Client, ConnectError } from '@connectrpc/connect'
import { guardedTexts } from './binding.ts'
import type { Contract } from './contract.ts'
import { type Scrubber, scrubber } from './scrub.ts'

/** A changed or deleted value acts within this time even when nobody says so (secret-watch.ts does, at once). */
const KEEP_MS = 30_000
/** A value that was missing, or that an API did not take, may have been entered anew since. */
const ASK_AGAIN_MS = 1_000
const TIMEOUT_MS = 5_000

export type Opened = {
  byName: ReadonlyMap<string, OpenedSecret>
  /** Finds any of these values in an answer. */
  scrubber: Scrubber
}

/** The vault refuses or does not answer; the message is a sentence for the tool. */
export class VaultError extends Error {
  override readonly name = 'VaultError'

  constructor(
    readonly code: 'statement_superseded' | 'secret_unreadable' | 'vault_unavailable',
    message: string,
  ) {
    super(message)
  }
}

export type Vault = {
  /** The contract's secrets; asked anew soon when one of these names is missing or in doubt. Throws VaultError. */
  secretsOf(contract: Contract, names: readonly string[]): Promise<Opened>
  /** An API did not take what was opened for the contract. */
  doubt(contract: Contract): void
  /** Forgets what was opened for the contract. */
  drop(contract: Contract): void
  /** Forgets what was opened for a server, or for all of them. */
  forget(serverId: string | undefined): void
}

type Entry = { askedAt: number; opened: Promise<Opened>; isDoubted: boolean }

export function createVault(options: {
  secrets: Pick<Client<typeof SecretsService>, 'openSecrets'>
  now: () => number
}): Vault {
  const { secrets, now } = options
  const entries = new Map<string, Entry>()

  function ask(contract: Contract): Promise<Opened> {
    const key = keyOf(contract)
    const opened = openSecrets(secrets, contract)
    const entry: Entry = { askedAt: now(), opened, isDoubted: false }
    entries.set(key, entry)
    entry.opened.catch(() => {
      if (entries.get(key) === entry) entries.delete(key)
    })
    return entry.opened
  }

  return {
    async secretsOf(contract, names) {
      const entry = entries.get(keyOf(contract))
      if (entry === undefined || now() - entry.askedAt > KEEP_MS) return ask(contract)
      const opened = await entry.opened
      const isStale = entry.isDoubted || names.some((name) => !opened.byName.has(name))
      return isStale && now() - entry.askedAt > ASK_AGAIN_MS ? ask(contract) : opened
    },
    doubt(contract) {
      const entry = entries.get(keyOf(contract))
      if (entry !== undefined) entry.isDoubted = true
    },
    drop(contract) {
      entries.delete(keyOf(contract))
    },
    forget(serverId) {
      // What is being opened right now was perhaps read before the change.
      for (const key of entries.keys()) {
        if (serverId === undefined || key.startsWith(`${serverId} `)) entries.delete(key)
      }
    },
  }
}

async function openSecrets(
  secrets: Pick<Client<typeof SecretsService>, 'openSecrets'>,
  { signed }: Contract,
): Promise<Opened> {
  try {
    const answer = await secrets.openSecrets({ statement: signed }, { timeoutMs: TIMEOUT_MS })
    return {
      byName: new Map(answer.secrets.map((secret) => [secret.name, secret])),
      scrubber: scrubber(answer.secrets.flatMap(guardedTexts)),
    }
  } catch (error) {
    throw failureOf(error)
  }
}

function failureOf(error: unknown): VaultError {
  switch (reasonOf(error)) {
    case 'statement_superseded':
    case 'statement_invalid':
      return new VaultError('statement_superseded', 'This version of the server has been replaced.')
    case 'secret_unreadable':
      return new VaultError(
        'secret_unreadable',
        error instanceof ConnectError ? error.rawMessage : 'A credential cannot be opened.',
      )
    default:
      return new VaultError('vault_unavailable', 'The credentials cannot be opened at the moment.')
  }
}

function keyOf({ statement }: Contract): string {
  return `${statement.serverId} ${statement.epoch}`
}
