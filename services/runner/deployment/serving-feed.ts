/** The generator's feed of servings, as the reconciler reads it. */
import type { ServingService } from '@bmm/proto/generator/v1/generator_service'
import { digestOf } from '@bmm/spec/digest'
import type { Client } from '@connectrpc/connect'
import type { ServingFeed, ServingNotice } from './reconciler.ts'

/** A page this long may have a next one. */
const FULL_PAGE = 500
const noModule = digestOf(new Uint8Array())

export function servingFeed(
  client: Pick<Client<typeof ServingService>, 'listServings' | 'getArtefact'>,
): ServingFeed {
  return {
    async list(afterSeq) {
      const { servings } = await client.listServings({ afterSeq })
      const notices = servings.flatMap((serving): ServingNotice[] => {
        const { serverId, statement, epoch, seq } = serving
        if (statement === undefined) return []
        const { bytes, signature, keyId } = statement
        return [{ serverId, signed: { bytes, signature, keyId }, epoch: Number(epoch), seq }]
      })
      return { notices, more: servings.length >= FULL_PAGE }
    },
    async artefacts(serverId, specDigest, moduleDigest) {
      const wanted = moduleDigest === noModule ? '' : moduleDigest
      return await client.getArtefact({ serverId, specDigest, moduleDigest: wanted })
    },
  }
}
