/** All deployments, in memory by server and in Postgres: nothing on the call path asks the database. */
import { errorFrom, invalid } from '@bmm/lib/errors'
import type { Log } from '@bmm/lib/log'
import type { Sql } from '@bmm/lib/sql'
import type { StatementKeyring } from '@bmm/lib/statement-keys'
import type { ServeStatement, SignedStatement, Statement } from '@bmm/spec/statement'
import { CallFailure } from '../calls/call-failure.ts'
import {
  type DeploymentRow,
  deleteDeployment,
  findArtefacts,
  listDeployments,
  saveDeployment,
} from '../store.ts'
import { createArtefactCache } from './artefact-cache.ts'
import {
  type Artefacts,
  checkOwner,
  type Deployment,
  type LoadArtefact,
  ownSigned,
  type ServingDeployment,
  staleEpoch,
  standingOf,
  verifiedArtefacts,
  verifiedStatement,
} from './deployment.ts'

/** Rows hold whole artefacts. */
const PAGE_ROWS = 5

export type Deployments = {
  find(serverId: string): Deployment | undefined
  /** The verified content of a statement. Throws `statement_invalid`. */
  open(signed: SignedStatement): Promise<Statement>
  /** Serves a version from now on. Throws `statement_invalid`, `stale_epoch`, `digest_mismatch`, `spec_invalid`. */
  deploy(signed: SignedStatement, artefacts: Artefacts): Promise<void>
  /** Stops a server; answers how many sandboxes that ended. Throws `statement_invalid`, `stale_epoch`. */
  stop(signed: SignedStatement): Promise<number>
  /** Reads all rows once, verifying each like a fresh statement. */
  load(): Promise<void>
  readonly size: number
}

export function createDeployments(options: {
  sql: Sql
  keyring: StatementKeyring
  log: Log
  /** Told of every change at once; ends what no longer may run and answers how many sandboxes that were. */
  onChange: (deployment: Deployment) => number
  /** Deletes what a deleted server logged and what was counted of it. */
  forgetRuns: (serverId: string, orgId: string) => Promise<void>
  /** What may be kept in memory of all that sandboxes are loaded with. */
  artefactBytes?: number
}): Deployments {
  const { sql, keyring, log, onChange } = options
  const byServer = new Map<string, Deployment>()
  const artefacts = createArtefactCache(options.artefactBytes)
  const inTurn = turns()

  function put(deployment: Deployment): number {
    byServer.set(deployment.statement.serverId, deployment)
    return onChange(deployment)
  }
  async function opened(signed: SignedStatement) {
    return verifiedStatement(signed, await keyring.keysFor(signed.keyId))
  }

  function serve(
    signed: SignedStatement,
    statement: ServeStatement,
    { tools, artefact }: { tools: string[]; artefact: LoadArtefact },
  ): void {
    const { serverId } = statement
    const read = () => readArtefact(sql, statement)
    const deployment: ServingDeployment = {
      ...{ kind: 'serving', statement, signed: ownSigned(signed), tools },
      artefact: () =>
        byServer.get(serverId) === deployment ? artefacts.get(serverId, read) : read(),
    }
    artefacts.put(serverId, artefact)
    put(deployment)
  }

  async function deploy(signed: SignedStatement, wanted: Artefacts): Promise<void> {
    const statement = await opened(signed)
    if (statement.kind !== 'serve') {
      throw invalid('statement_invalid', 'A stop statement cannot be deployed.')
    }
    await inTurn(statement.serverId, async () => {
      const current = byServer.get(statement.serverId)
      checkOwner(statement, current)
      const standing = standingOf(signed, statement, current)
      if (standing === 'stale') throw staleEpoch(statement, current)
      const verified = verifiedArtefacts(statement, wanted)
      const row = { ...rowHead({ statement, signed }), artefacts: wanted }
      if (!(await saveDeployment(sql, row))) throw staleEpoch(statement, current)
      if (standing === 'newer') serve(signed, statement, verified)
    })
  }

  async function stop(signed: SignedStatement): Promise<number> {
    const statement = await opened(signed)
    if (statement.kind !== 'stop') {
      throw invalid('statement_invalid', 'A serve statement cannot stop a server.')
    }
    return inTurn(statement.serverId, async () => {
      const current = byServer.get(statement.serverId)
      checkOwner(statement, current)
      if (standingOf(signed, statement, current) === 'stale') throw staleEpoch(statement, current)
      // Sandboxes end before the row is written: a database that is away must not keep them alive.
      const stopped: Deployment = { kind: 'stopped', statement, signed: ownSigned(signed) }
      artefacts.forget(statement.serverId)
      const ended = put(stopped)
      const row = { ...rowHead(stopped), artefacts: undefined }
      if (!(await saveDeployment(sql, row))) throw staleEpoch(statement, current)
      if (statement.reason === 'deleted') {
        await options.forgetRuns(statement.serverId, statement.orgId)
      }
      return ended
    })
  }

  async function loadRow(row: DeploymentRow): Promise<void> {
    const statement = await opened(row.signed)
    const { serverId, orgId, epoch } = statement
    if (serverId !== row.serverId || orgId !== row.orgId || epoch !== row.epoch) {
      throw invalid('statement_invalid', 'The row says something else than its statement.')
    }
    if (statement.kind === 'stop') {
      put({ kind: 'stopped', statement, signed: ownSigned(row.signed) })
    } else {
      const stored = row.artefacts ?? { spec: new Uint8Array(), module: new Uint8Array() }
      serve(row.signed, statement, verifiedArtefacts(statement, stored))
    }
  }

  return {
    find: (serverId) => byServer.get(serverId),
    open: opened,
    deploy,
    stop,
    async load() {
      let after = ''
      for (;;) {
        const rows = await listDeployments(sql, after, PAGE_ROWS)
        for (const row of rows) {
          // Asked for outside of the catch: rows are not at fault when secrets does not answer.
          await keyring.keysFor(row.signed.keyId)
          try {
            await loadRow(row)
          } catch (error) {
            const { serverId } = row
            log.error({ err: errorFrom(error), serverId }, 'a stored deployment is not sound')
            await deleteDeployment(sql, row)
          }
        }
        const last = rows.at(-1)
        if (last === undefined || rows.length < PAGE_ROWS) return
        after = last.serverId
      }
    },
    get size() {
      return byServer.size
    },
  }
}

/** From the row, verified again. Rejects with CallFailure when it cannot be had. */
async function readArtefact(sql: Sql, statement: ServeStatement): Promise<LoadArtefact> {
  const { serverId, epoch } = statement
  const stored = await findArtefacts(sql, serverId, epoch).catch((cause: unknown) => {
    const message = 'The server sleeps and could not be read from the database. Try again shortly.'
    throw new CallFailure('busy', message, { cause })
  })
  if (stored === undefined) {
    throw new CallFailure('stale_epoch', 'A newer version of the server took over. Try again.')
  }
  return verifiedArtefacts(statement, stored).artefact
}

function rowHead({ statement, signed }: Pick<Deployment, 'statement' | 'signed'>) {
  const { serverId, orgId, epoch } = statement
  return { serverId, orgId, epoch, signed }
}

/** Runs work for one key one after another, and for different keys side by side. */
function turns() {
  const last = new Map<string, Promise<unknown>>()
  return async <Result>(key: string, work: () => Promise<Result>): Promise<Result> => {
    const before = last.get(key) ?? Promise.resolve()
    const mine = before.then(work, work)
    last.set(key, mine)
    try {
      return await mine
    } finally {
      if (last.get(key) === mine) last.delete(key)
    }
  }
}
