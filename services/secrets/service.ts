/** The RPCs of the secrets service: who calls, decode, domain, encode. */

import { findSchemeName, schemeFrom } from '@bmm/lib/credential-scheme'
import { notFound } from '@bmm/lib/errors'
import { userOf } from '@bmm/lib/identity'
import type { Sql } from '@bmm/lib/sql'
import type { Scheme } from '@bmm/proto/secrets/v1/secret'
import { SecretsService, StatementService, StopReason } from '@bmm/proto/secrets/v1/secrets_service'
import type { StopStatement } from '@bmm/spec/statement'
import { timestampFromDate } from '@bufbuild/protobuf/wkt'
import type { ConnectRouter, ServiceImpl } from '@connectrpc/connect'
import type { Changes } from './changes.ts'
import type { Keyring } from './keyring.ts'
import type { Ledger } from './ledger.ts'
import { type Destination, destinationFrom } from './secret.ts'
import {
  deleteServerSecrets,
  getConfirmed,
  recordConfirmation,
  signServe,
  signStop,
} from './signing.ts'
import * as store from './store.ts'
import { getOwnServer, openSecrets, putSecret } from './vault.ts'

export type Dependencies = {
  sql: Sql
  keyring: Keyring
  ledger: Ledger
  changes: Changes
  now: () => Date
}

/** Registers both services. */
export function secretsRoutes(dependencies: Dependencies) {
  return (router: ConnectRouter): void => {
    router.service(SecretsService, secretsService(dependencies))
    router.service(StatementService, statementService(dependencies))
  }
}

function secretsService(dependencies: Dependencies): ServiceImpl<typeof SecretsService> {
  const { sql, keyring, ledger, changes } = dependencies
  return {
    async putSecret(request, context) {
      const user = userOf(context)
      const { serverId, name, value } = request
      const destination = decodeDestination(request.destination)
      const row = await putSecret(dependencies, user, { serverId, name, value, destination })
      changes.announce(serverId)
      return { secret: encodeSecret(row) }
    },
    async listSecrets({ serverId }, context) {
      const user = userOf(context)
      await getOwnServer(ledger.findServer, sql, user, serverId)
      const rows = await store.listSecrets(sql, user.orgId, serverId)
      return { secrets: rows.map(encodeSecret) }
    },
    async deleteSecret({ serverId, name }, context) {
      const { orgId } = userOf(context)
      if ((await store.deleteSecret(sql, orgId, serverId, name)) === 0) {
        throw notFound('secret_not_found', `The server has no secret named ${name}.`)
      }
      changes.announce(serverId)
      return {}
    },
    async deleteServerSecrets({ serverId }) {
      const deleted = await deleteServerSecrets(dependencies, serverId)
      changes.announce(serverId)
      return { deleted }
    },
    async openSecrets({ statement }) {
      const opened = await openSecrets(dependencies, signedOf(statement))
      return {
        secrets: opened.map(({ name, value, destination }) => ({
          name,
          value,
          destination: encodeDestination(destination),
        })),
      }
    },
    async *watchSecrets(_, { signal }) {
      for await (const serverId of changes.watch(signal)) yield { serverId }
    },
    async rotateDataKey() {
      const version = await keyring.rotate('operator')
      return { key: (await listKeys(sql)).find((key) => key.version === version) }
    },
    async listDataKeys() {
      return { keys: await listKeys(sql) }
    },
  }
}

function statementService(dependencies: Dependencies): ServiceImpl<typeof StatementService> {
  const { keyring, now } = dependencies
  return {
    async recordConfirmation(request, context) {
      await recordConfirmation(dependencies, userOf(context), request)
      return {}
    },
    async signServe({ confirmationId, version, moduleDigest }) {
      const input = { confirmationId, version, moduleDigest, now: now() }
      const { statement, epoch } = await signServe(dependencies, input)
      return { statement, epoch: BigInt(epoch) }
    },
    async signStop({ serverId, reason }, context) {
      const input = { serverId, reason: decodeReason(reason), now: now() }
      const { statement, epoch } = await signStop(dependencies, userOf(context), input)
      return { statement, epoch: BigInt(epoch) }
    },
    async getConfirmed({ serverId }, context) {
      const { specDigest, resourceUrl, access } = await getConfirmed(
        dependencies,
        userOf(context),
        serverId,
      )
      return { specDigest, resourceUrl, access: JSON.stringify(access) }
    },
    async listStatementKeys() {
      const keys = [...keyring.statementKeys]
      return { keys: keys.map(([keyId, publicKey]) => ({ keyId, publicKey })) }
    },
  }
}

async function listKeys(sql: Sql) {
  const [rows, counts] = [await store.listDataKeys(sql), await store.countSecretsByKey(sql)]
  return rows.map(({ version, active, createdBy, createdAt }) => ({
    version,
    active,
    createdBy,
    createdAt: timestampFromDate(createdAt),
    secrets: counts.get(version) ?? 0n,
  }))
}

function encodeSecret(row: store.SecretRow) {
  const { serverId, name, lastFour, valueVersion, keyVersion, updatedBy } = row
  return {
    serverId,
    name,
    lastFour,
    valueVersion,
    keyVersion,
    updatedBy,
    destination: encodeDestination(destinationFrom(row.destination)),
    updatedAt: timestampFromDate(row.updatedAt),
  }
}

function encodeDestination({ scheme, parameter, origins }: Destination) {
  return { scheme: schemeFrom[scheme], parameter, origins }
}

/** The rules of the contract exclude a missing destination and an unspecified scheme. */
function decodeDestination(
  destination: { scheme: Scheme; parameter: string; origins: string[] } | undefined,
): Destination {
  const scheme = destination && findSchemeName(destination.scheme)
  if (destination === undefined || scheme === undefined) {
    throw new Error('validation let a request without a destination pass')
  }
  const { parameter, origins } = destination
  return { scheme, parameter, origins }
}

function decodeReason(reason: StopReason): StopStatement['reason'] {
  switch (reason) {
    case StopReason.PAUSED:
      return 'paused'
    case StopReason.DELETED:
      return 'deleted'
    case StopReason.TAKEDOWN:
      return 'takedown'
    case StopReason.UNSPECIFIED:
      throw new Error('validation let an unspecified reason pass')
    default:
      return reason satisfies never
  }
}

function signedOf<Signed>(statement: Signed | undefined): Signed {
  if (statement === undefined) throw new Error('validation let a missing statement pass')
  return statement
}
