/** The RPCs for those that serve: the feed of statements and the artefacts behind them. */
import { notFound } from '@bmm/lib/errors'
import type { Sql } from '@bmm/lib/sql'
import type { ServingService } from '@bmm/proto/generator/v1/generator_service'
import type { ServingSchema } from '@bmm/proto/generator/v1/server'
import { digestOf } from '@bmm/spec/digest'
import type { MessageInitShape } from '@bufbuild/protobuf'
import type { ServiceImpl } from '@connectrpc/connect'
import { findModule, findSpec } from './server-store.ts'
import { findServing, listServings, type ServingRow } from './serving-store.ts'
import { serverNotFound } from './stopping.ts'

/** Part of the contract: a full page means that there may be more. */
const PAGE = 500

export function servingService({ sql }: { sql: Sql }): ServiceImpl<typeof ServingService> {
  return {
    async listServings({ afterSeq }) {
      return { servings: (await listServings(sql, afterSeq, PAGE)).map(encodeServing) }
    },
    async getServing({ slug }) {
      const serving = await findServing(sql, slug)
      if (serving === undefined) throw serverNotFound()
      return { serving: encodeServing(serving) }
    },
    async getArtefact({ serverId, specDigest, moduleDigest }) {
      const spec = await findSpec(sql, serverId, specDigest)
      const module =
        moduleDigest === '' ? new Uint8Array() : await findModule(sql, serverId, moduleDigest)
      const isSound =
        spec !== undefined &&
        module !== undefined &&
        digestOf(spec) === specDigest &&
        (moduleDigest === '' || digestOf(module) === moduleDigest)
      if (!isSound) throw notFound('artefact_not_found', 'There is no artefact of these digests.')
      return { spec, module }
    },
  }
}

function encodeServing(row: ServingRow): MessageInitShape<typeof ServingSchema> {
  const { serverId, slug, bytes, signature, keyId, epoch, seq } = row
  return { serverId, slug, statement: { bytes, signature, keyId }, epoch, seq }
}
