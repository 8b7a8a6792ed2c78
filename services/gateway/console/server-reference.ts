/** Servers in addresses: by id or by slug. */
import type { ServerService } from '@bmm/proto/generator/v1/generator_service'
import type { CallOptions, Client } from '@connectrpc/connect'
import { present } from './answer.ts'

const idPattern = /^srv_[0-9a-z]{26}$/

/** The id behind an id or a slug. Whatever is neither is told as `server_not_found` by who knows the servers. */
export async function serverIdOf(
  reference: string,
  servers: Client<typeof ServerService>,
  person: CallOptions,
): Promise<string> {
  if (idPattern.test(reference)) return reference
  return present((await servers.getServer({ server: reference }, person)).server).id
}
