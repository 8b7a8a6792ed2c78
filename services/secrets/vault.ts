/** Putting secrets in and opening them: who may, and what a current statement opens. */
import { open, seal } from '@bmm/lib/envelope'
import { invalid, limited, notFound, precondition } from '@bmm/lib/errors'
import type { UserClaims } from '@bmm/lib/identity'
import { inTransaction, type Querying, type Sql } from '@bmm/lib/sql'
import { MAX_CREDENTIALS } from '@bmm/spec/server-spec'
import { openStatement, type SignedStatement } from '@bmm/spec/statement'
import type { Keyring } from './keyring.ts'
import type { Ledger } from './ledger.ts'
import {
  type Destination,
  destinationFault,
  destinationFrom,
  destinationText,
  lastFour,
  namesToOpen,
  secretBinding,
} from './secret.ts'
import { refuseDeleted } from './standing.ts'
import * as store from './store.ts'

export type VaultOptions = { sql: Sql; keyring: Keyring; ledger: Ledger }

export type OpenedSecret = { name: string; value: Uint8Array; destination: Destination }

/** Seals a value under the active key. Throws `server_not_found`, `server_deleted`, `destination_invalid`, `value_invalid`, `too_many_secrets`. */
export async function putSecret(
  { sql, keyring, ledger }: VaultOptions,
  user: UserClaims,
  input: { serverId: string; name: string; value: Uint8Array; destination: Destination },
): Promise<store.SecretRow> {
  const fault = destinationFault(input.destination)
  if (fault !== undefined) throw invalid('destination_invalid', fault)
  const text = valueText(input.value)
  const { serverId, name } = input
  const destination = destinationText(input.destination)
  return inTransaction(sql, async (transaction) => {
    // Behind the lock: a value that comes while the server is deleted would outlive it.
    refuseDeleted(await getOwnServer(ledger.lockServer, transaction, user, serverId), keyring)
    const rows = await store.listSecrets(transaction, user.orgId, serverId)
    const earlier = rows.find((row) => row.name === name)
    if (earlier === undefined && rows.length >= MAX_CREDENTIALS) {
      throw limited('too_many_secrets', `A server has at most ${MAX_CREDENTIALS} secrets.`)
    }
    const { version: keyVersion, key } = keyring.active()
    // Never again that of a deleted value, whose sealed bytes would open in place of this one's.
    const before =
      earlier?.valueVersion ?? (await store.findForgottenVersion(transaction, serverId))
    const valueVersion = before + 1
    const binding = { orgId: user.orgId, serverId, name, destination, keyVersion, valueVersion }
    const row = {
      serverId,
      name,
      destination,
      sealed: seal(key, input.value, secretBinding(binding)),
      keyVersion,
      valueVersion,
      lastFour: lastFour(text),
      updatedBy: user.userId,
    }
    return { ...row, updatedAt: await store.putSecret(transaction, row) }
  })
}

/**
 * The values that a server's newest statement names, each with the destination that it was stored with: a
 * later version can name other origins, but no stored value follows it there. Throws `statement_invalid`,
 * `statement_superseded`, `secret_unreadable`.
 */
export async function openSecrets(
  { sql, keyring, ledger }: VaultOptions,
  signed: SignedStatement,
): Promise<OpenedSecret[]> {
  const statement = openStatement(signed, keyring.statementKeys)
  if (statement?.kind !== 'serve') {
    throw precondition('statement_invalid', 'This is not a serve statement signed here.')
  }
  const { serverId, orgId, epoch } = statement
  const server = await ledger.findServer(sql, serverId)
  if (server?.epoch !== epoch || server.orgId !== orgId) {
    throw precondition('statement_superseded', 'A newer statement of this server exists.')
  }
  const names = namesToOpen(statement)
  const rows = await store.listSecrets(sql, orgId, serverId)
  const opened: OpenedSecret[] = []
  for (const row of rows.filter((candidate) => names.has(candidate.name))) {
    const value = await openRow(keyring, orgId, row)
    opened.push({ name: row.name, value, destination: destinationFrom(row.destination) })
  }
  return opened
}

/** The server when it is the person's organisation's; one of another organisation looks like none. */
export async function getOwnServer(
  find: Ledger['findServer'],
  sql: Querying,
  user: UserClaims,
  serverId: string,
): Promise<store.ServerRow> {
  const server = await find(sql, serverId)
  if (server?.orgId !== user.orgId) {
    throw notFound('server_not_found', 'There is no such server in this organisation.')
  }
  return server
}

async function openRow(keyring: Keyring, orgId: string, row: store.SecretRow): Promise<Uint8Array> {
  try {
    const key = await keyring.get(row.keyVersion)
    return open(key, row.sealed, secretBinding({ ...row, orgId }))
  } catch (error) {
    throw precondition(
      'secret_unreadable',
      `The secret ${row.name} does not open as it is stored. Enter its value again.`,
      { cause: error },
    )
  }
}

/** UTF-8 without control characters: a value goes into a header or a URL. */
function valueText(value: Uint8Array): string {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(value)
    // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
    if (!/[\u0000-\u001f\u007f]/.test(text)) return text
  } catch {
    // Told below, in the same words.
  }
  throw invalid('value_invalid', 'A value is UTF-8 text without control characters or line breaks.')
}
