/** The RPCs of the operator's own OAuth clients: who calls, decode, domain, encode. */
import { invalid, limited, notFound } from '@bmm/lib/errors'
import { newId } from '@bmm/lib/ids'
import type { Sql } from '@bmm/lib/sql'
import type { ClientService } from '@bmm/proto/auth/v1/client_service'
import { timestampFromDate } from '@bufbuild/protobuf/wkt'
import type { ServiceImpl } from '@connectrpc/connect'
import { newOpaqueToken, tokenHash } from '../opaque-token.ts'
import type { Revoker } from '../revocation.ts'
import {
  type ClientMetadata,
  type OAuthClient,
  parseClientMetadata,
} from './client-registration.ts'
import { OAuthError } from './oauth-error.ts'
import { createClient, listOperatorClients } from './oauth-store.ts'

const MAX_CLIENTS = 1_000

export type ClientServiceOptions = { sql: Sql; revoker: Revoker; now: () => number }

// The `allow` options say it: the operator alone calls these.
export function clientService(options: ClientServiceOptions): ServiceImpl<typeof ClientService> {
  const { sql, revoker, now } = options
  return {
    async createClient(request) {
      const metadata = metadataFrom(request)
      const known = await listOperatorClients(sql, MAX_CLIENTS)
      if (known.length >= MAX_CLIENTS) {
        throw limited('client_limit', `There are ${MAX_CLIENTS} such clients. Delete one first.`)
      }
      const secret = metadata.authMethod === 'none' ? undefined : newOpaqueToken('bmk')
      const client = {
        ...metadata,
        id: newId('cli'),
        secretHash: secret === undefined ? null : tokenHash(secret),
        byOperator: true,
        createdAt: new Date(now()),
      }
      await createClient(sql, client)
      return { client: shown(client), clientSecret: secret ?? '' }
    },
    async listClients() {
      return { clients: (await listOperatorClients(sql, MAX_CLIENTS)).map(shown) }
    },
    async deleteClient({ id }) {
      const endedGrants = await revoker.endClient(id)
      if (endedGrants !== undefined) return { endedGrants }
      throw notFound('client_not_found', 'The operator has registered no such client.')
    },
  }
}

/** The same rules as for clients that register themselves; refusals are the operator's to read. */
function metadataFrom(request: {
  name: string
  redirectUris: string[]
  authMethod: string
}): ClientMetadata {
  const document = {
    client_name: request.name,
    redirect_uris: request.redirectUris,
    token_endpoint_auth_method: request.authMethod,
    grant_types: ['authorization_code', 'refresh_token'],
  }
  try {
    return parseClientMetadata(new TextEncoder().encode(JSON.stringify(document)))
  } catch (thrown) {
    if (!(thrown instanceof OAuthError)) throw thrown
    throw invalid('client_invalid', thrown.message)
  }
}

function shown({ id, name, redirectUris, authMethod, createdAt }: OAuthClient) {
  return { id, name, redirectUris, authMethod, createdAt: timestampFromDate(createdAt) }
}
