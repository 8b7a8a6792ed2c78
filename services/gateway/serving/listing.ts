/** Specs of live servers, fetched by the digest that their statement signs and prepared once for listing. */
import type { ServingService } from '@bmm/proto/generator/v1/generator_service'
import { digestOf } from '@bmm/spec/digest'
import { serverSpecSchema } from '@bmm/spec/server-spec'
import type { ServeStatement } from '@bmm/spec/statement'
import type { Client } from '@connectrpc/connect'
import { parseJson } from '../arrival/json-text.ts'
import { type ListedServer, listServer } from '../mcp/tool-list.ts'

const MAX_LISTED = 1_000
const MAX_WEIGHT = 128 * 1024 * 1024
const MAX_SPEC_DEPTH = 128
/** A signed spec of the largest size: its bytes are bound where it is built. */
const MAX_SPEC_VALUES = 16_000_000

export type Listings = {
  /** At once when it was asked for before. Rejects when the bytes cannot be had or are not those of the digest. */
  get(slug: string, statement: ServeStatement): ListedServer | Promise<ListedServer>
}

/** The least recently used listings are dropped when there are too many or they weigh too much. */
export function openListings(options: {
  serving: Pick<Client<typeof ServingService>, 'getArtefact'>
  maxListed?: number
  pageTools?: number
}): Listings {
  const { maxListed = MAX_LISTED } = options
  const listed = new Map<string, ListedServer>()
  const pending = new Map<string, Promise<ListedServer>>()
  let weight = 0

  function remember(key: string, server: ListedServer): void {
    listed.set(key, server)
    weight += server.weight
    for (const [oldest, { weight: freed }] of listed) {
      if (listed.size <= maxListed && weight <= MAX_WEIGHT) return
      if (oldest === key) return
      listed.delete(oldest)
      weight -= freed
    }
  }

  async function prepare(slug: string, statement: ServeStatement): Promise<ListedServer> {
    const { serverId, specDigest, version } = statement
    const { spec } = await options.serving.getArtefact({ serverId, specDigest, moduleDigest: '' })
    if (digestOf(spec) !== specDigest) throw new Error('the spec is not the one that was signed')
    const parsed = serverSpecSchema.parse(
      parseJson(spec, { maxDepth: MAX_SPEC_DEPTH, maxValues: MAX_SPEC_VALUES }),
    )
    const { pageTools } = options
    return listServer(parsed, {
      slug,
      version,
      specDigest,
      ...(pageTools === undefined ? {} : { pageTools }),
    })
  }

  async function fetchOnce(key: string, slug: string, statement: ServeStatement) {
    const work = pending.get(key) ?? prepare(slug, statement)
    pending.set(key, work)
    try {
      const server = await work
      if (!listed.has(key)) remember(key, server)
      return server
    } finally {
      pending.delete(key)
    }
  }

  return {
    get(slug, statement) {
      const key = `${statement.serverId} ${statement.version} ${statement.specDigest}`
      const known = listed.get(key)
      if (known === undefined) return fetchOnce(key, slug, statement)
      listed.delete(key)
      listed.set(key, known)
      return known
    },
  }
}
