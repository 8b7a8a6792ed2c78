/** The RPCs of the broker: who calls, decode, domain, encode. */
import { userOf } from '@bmm/lib/identity'
import type { Sql } from '@bmm/lib/sql'
import { RefusalService, TargetService } from '@bmm/proto/broker/v1/broker_service'
import { timestampFromDate } from '@bufbuild/protobuf/wkt'
import type { ConnectRouter, ServiceImpl } from '@connectrpc/connect'
import * as store from './store.ts'
import type { Targets } from './targets.ts'

export type Dependencies = { sql: Sql; targets: Targets; flushRefusals: () => Promise<void> }

/** Registers both services. */
export function brokerRoutes(dependencies: Dependencies) {
  return (router: ConnectRouter): void => {
    router.service(TargetService, targetService(dependencies))
    router.service(RefusalService, refusalService(dependencies))
  }
}

function targetService({ targets }: Dependencies): ServiceImpl<typeof TargetService> {
  return {
    async allowTarget({ host, port, orgId }) {
      return { target: encodeTarget(await targets.allow({ host, port, orgId })) }
    },
    async listTargets() {
      return { targets: (await targets.list()).map(encodeTarget) }
    },
    async removeTarget({ host, port, orgId }) {
      await targets.remove({ host, port, orgId })
      return {}
    },
  }
}

function refusalService({ sql, flushRefusals }: Dependencies): ServiceImpl<typeof RefusalService> {
  return {
    async listRefusals({ serverId }, context) {
      const { orgId } = userOf(context)
      await flushRefusals()
      const rows = await store.listRefusals(sql, orgId, serverId)
      return { refusals: rows.map(encodeRefusal) }
    },
  }
}

function encodeTarget({ host, port, orgId, createdAt }: store.TargetRow) {
  return { host, port, orgId, createdAt: timestampFromDate(createdAt) }
}

function encodeRefusal({ at, reason, host, method, message }: store.RefusalRow) {
  return { at: timestampFromDate(at), reason, host, method, message }
}
