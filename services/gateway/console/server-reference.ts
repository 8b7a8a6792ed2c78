/** Servers in addresses: by id or by slug. */
import type { ServerService } from '@bmm/proto/generator/v1/generator_service'
import type { CallOptions, Client } from '@connectrpc/connect'
import { present } from './answer.ts'

/** The id behind an id or a slug; a slug has no underscore. */
export async function serverIdOf(
  reference: string,
  servers: Client<typeof ServerService>,
  person: CallOptions,
): Promise<string> {
  if (reference.startsWith('srv_')) return reference
  return present((await servers.getServer({ server: reference }, person)).server).id
}
