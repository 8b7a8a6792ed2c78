/** The RPCs of servers: who calls, decode, domain, encode. */
import { invalid } from '@bmm/lib/errors'
import { type UserClaims, userOf } from '@bmm/lib/identity'
import { isId } from '@bmm/lib/ids'
import type { Sql } from '@bmm/lib/sql'
import type { ServerService } from '@bmm/proto/generator/v1/generator_service'
import { type ServerSchema, ServerState } from '@bmm/proto/generator/v1/server'
import { digestOf } from '@bmm/spec/digest'
import { resourceUrl } from '@bmm/spec/resource-url'
import type { MessageInitShape } from '@bufbuild/protobuf'
import { timestampFromDate } from '@bufbuild/protobuf/wkt'
import type { ServiceImpl } from '@connectrpc/connect'
import { encodeBuild, getBuild } from '../build/build-service.ts'
import { type CreationOptions, createServer } from './creation.ts'
import { type ResumingOptions, resumeServer } from './resuming.ts'
import * as store from './server-store.ts'
import { serverNotFound } from './stopping.ts'

const DEFAULT_PAGE = 50

export type ServerServiceOptions = CreationOptions & ResumingOptions

export function serverService(options: ServerServiceOptions): ServiceImpl<typeof ServerService> {
  const { sql, stopping } = options
  const encodeServer = (row: store.ServerRow) => serverMessage(row, options.publicUrl)
  return {
    async createServer(request, context) {
      const user = userOf(context)
      const { draftId, specDigest, slug, access, idempotencyKey } = request
      const wish = { draftId, specDigest, slug, access, idempotencyKey }
      const { serverId, buildId } = await createServer(options, user, wish)
      const build = await getBuild(sql, user, buildId)
      return {
        server: encodeServer(await getServer(sql, user, serverId)),
        build: await encodeBuild(sql, build),
      }
    },
    async getServer({ server }, context) {
      return { server: encodeServer(await getServer(sql, userOf(context), server)) }
    },
    async listServers({ limit, cursor }, context) {
      const { orgId } = userOf(context)
      if (cursor !== '' && !isId('srv', cursor)) {
        throw invalid('cursor_invalid', 'The cursor is not from an earlier answer.')
      }
      const size = limit === 0 ? DEFAULT_PAGE : limit
      const rows = await store.listServers(sql, orgId, cursor, size + 1)
      const shown = rows.slice(0, size)
      const nextCursor = rows.length > size ? (shown.at(-1)?.id ?? '') : ''
      return { servers: shown.map(encodeServer), nextCursor }
    },
    async getServerSpec({ server: idOrSlug }, context) {
      const { id } = await getServer(sql, userOf(context), idOrSlug)
      const shown = await store.findShownSpec(sql, id)
      if (shown === undefined || digestOf(shown.spec) !== shown.specDigest) throw serverNotFound()
      return shown
    },
    async pauseServer({ serverId }, context) {
      const user = userOf(context)
      await stopping.pause(user, serverId)
      return { server: encodeServer(await getServer(sql, user, serverId)) }
    },
    async resumeServer({ serverId }, context) {
      const user = userOf(context)
      await resumeServer(options, user, serverId, context.signal)
      return { server: encodeServer(await getServer(sql, user, serverId)) }
    },
    async deleteServer({ serverId }, context) {
      return { finished: await stopping.remove(userOf(context), serverId) }
    },
  }
}

async function getServer(
  sql: Sql,
  { orgId }: UserClaims,
  idOrSlug: string,
): Promise<store.ServerRow> {
  const server = await store.findServer(sql, orgId, idOrSlug)
  if (server === undefined) throw serverNotFound()
  return server
}

const states: Record<store.ServerState, ServerState> = {
  building: ServerState.BUILDING,
  live: ServerState.LIVE,
  paused: ServerState.PAUSED,
  failed: ServerState.FAILED,
  deleting: ServerState.DELETING,
  deleted: ServerState.UNSPECIFIED,
}

/** The address is that of now, also where the platform has moved since the server was confirmed. */
function serverMessage(
  row: store.ServerRow,
  publicUrl: string,
): MessageInitShape<typeof ServerSchema> {
  const { id, orgId, slug, name, tools, specDigest, access } = row
  return {
    id,
    orgId,
    slug,
    name,
    state: states[row.state],
    version: row.liveVersion,
    resourceUrl: resourceUrl(publicUrl, slug),
    tools,
    specDigest,
    access,
    createdAt: timestampFromDate(row.createdAt),
    createdBy: row.createdBy,
    latestBuildId: row.latestBuildId,
  }
}
