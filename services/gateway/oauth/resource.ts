/** From the `resource` parameter to the server that it names, as the authorization server wants to know it. */

import { unavailable } from '@bmm/lib/errors'
import type { ResourceSchema } from '@bmm/proto/auth/v1/oauth_service'
import { slugFromResource } from '@bmm/spec/resource-url'
import type { MessageInitShape } from '@bufbuild/protobuf'
import type { Listings } from '../serving/listing.ts'
import type { Served, Servings } from '../serving/serving.ts'
import { onlyValue, type Pair } from './form.ts'

/** Whoever heard from the generator within this time knows all live servers. */
const HEARD_MS = 5_000
const RETRY_SECONDS = 2

export type ResourceOptions = { publicUrl: string; servings: Servings; listings: Listings }

/** The live server of the one `resource` among the pairs; undefined when there is none. */
export async function resourceIn(
  pairs: readonly Pair[],
  options: ResourceOptions,
): Promise<MessageInitShape<typeof ResourceSchema> | undefined> {
  const url = onlyValue(pairs, 'resource')
  const slug = url === undefined ? undefined : slugFromResource(options.publicUrl, url)
  if (slug === undefined) return undefined
  return describe(await options.servings.find(slug), options)
}

/** The live server of an id, for grants whose request names no resource. Throws `unavailable`. */
export async function resourceOfServer(
  serverId: string,
  options: ResourceOptions,
): Promise<MessageInitShape<typeof ResourceSchema> | undefined> {
  const { servings } = options
  let served = servings.knownServer(serverId)
  if (served === undefined) {
    await servings.hint()
    served = servings.knownServer(serverId)
    // A gateway that has just started may not have heard of any server: then this is no fault of the request.
    if (served === undefined && servings.ageMs() > HEARD_MS) {
      throw unavailable('unavailable', 'Servers cannot be looked up right now. Try again.', {
        retryAfterSeconds: RETRY_SECONDS,
      })
    }
  }
  return describe(served, options)
}

async function describe(
  served: Served | undefined,
  options: ResourceOptions,
): Promise<MessageInitShape<typeof ResourceSchema> | undefined> {
  if (served?.state !== 'live') return undefined
  const { statement } = served
  return {
    serverId: statement.serverId,
    orgId: statement.orgId,
    url: statement.resourceUrl,
    name: await nameOf(served.slug, options),
    access: JSON.stringify(statement.access),
    origins: statement.egress.map(({ origin }) => origin),
  }
}

/** The server's name in its confirmed spec, or its slug while the spec cannot be had. */
export async function nameOf(slug: string, options: ResourceOptions): Promise<string> {
  const served = options.servings.known(slug)
  if (served?.state !== 'live') return slug
  try {
    return (await options.listings.get(slug, served.statement)).title
  } catch {
    return slug
  }
}
