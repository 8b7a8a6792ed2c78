/** What a server may do outside: its verified statement, compiled once for all sandboxes that serve it. */
import { createHash } from 'node:crypto'
import { errorFrom } from '@bmm/lib/errors'
import type { Log } from '@bmm/lib/log'
import type { Sql } from '@bmm/lib/sql'
import type { StatementKeyring } from '@bmm/lib/statement-keys'
import { openStatement, type ServeStatement, type SignedStatement } from '@bmm/spec/statement'
import { type OperationRules, operationRules } from './operation-match.ts'
import * as store from './store.ts'

const MAX_KEPT = 256

export type Contract = {
  statement: ServeStatement
  signed: SignedStatement
  /** By origin. */
  rules: ReadonlyMap<string, OperationRules>
}

/** The statement is not one to act by; the message is for the runner's log. */
class ContractError extends Error {
  override readonly name = 'ContractError'
}

export type Contracts = {
  /** Verifies and compiles. Throws ContractError for what is not a signed, current serve statement. */
  open(signed: SignedStatement): Promise<Contract>
  /** Whether no newer statement of the server has been accepted since. */
  isCurrent(contract: Contract): boolean
}

/** Remembers the highest epoch of each server across restarts. Rejects when those cannot be read. */
export async function openContracts(options: {
  sql: Sql
  keyring: StatementKeyring
  log: Log
}): Promise<Contracts> {
  const { sql, keyring, log } = options
  const epochs = await store.listEpochs(sql)
  const kept = new Map<string, Contract>()

  function admit({ serverId, epoch }: ServeStatement): void {
    const highest = epochs.get(serverId) ?? 0
    if (epoch < highest) throw new ContractError('the statement is older than one seen before')
    if (epoch === highest) return
    epochs.set(serverId, epoch)
    store.raiseEpoch(sql, serverId, epoch).catch((error) => {
      log.warn({ fault: errorFrom(error).message, serverId }, 'the epoch could not be stored')
    })
  }

  return {
    async open(signed) {
      const id = idOf(signed)
      // Asked each time: a key that was withdrawn verifies nothing any more.
      const keys = await keyring.keysFor(signed.keyId)
      const contract = keys.has(signed.keyId) ? kept.get(id) : undefined
      const opened = contract ?? compile(signed, openStatement(signed, keys))
      admit(opened.statement)
      kept.delete(id)
      kept.set(id, opened)
      const oldest = kept.size > MAX_KEPT ? kept.keys().next().value : undefined
      if (oldest !== undefined) kept.delete(oldest)
      return opened
    },
    isCurrent: ({ statement }) => statement.epoch >= (epochs.get(statement.serverId) ?? 0),
  }
}

function compile(signed: SignedStatement, statement: ReturnType<typeof openStatement>): Contract {
  if (statement === undefined) throw new ContractError('the statement is not validly signed')
  if (statement.kind !== 'serve') throw new ContractError('the statement stops the server')
  const rules = new Map(statement.egress.map((each) => [each.origin, operationRules(each)]))
  return { statement, signed, rules }
}

function idOf({ bytes, signature, keyId }: SignedStatement): string {
  return createHash('sha256')
    .update(keyId)
    .update('\n')
    .update(signature)
    .update(bytes)
    .digest('hex')
}
