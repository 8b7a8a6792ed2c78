/** What a program confirms by its message, where an RPC needs a confirmation (spec/confirmation.ts). */
import { invalid } from '@bmm/lib/errors'
import {
  type CreateServerRequest,
  CreateServerRequestSchema,
  type ResumeServerRequest,
  ResumeServerRequestSchema,
} from '@bmm/proto/generator/v1/generator_service'
import type { StatementService } from '@bmm/proto/secrets/v1/secrets_service'
import { confirmationDigest } from '@bmm/spec/confirmation'
import { resourceUrl } from '@bmm/spec/resource-url'
import { type Access, accessSchema } from '@bmm/spec/statement'
import { isMessage, type Message } from '@bufbuild/protobuf'
import type { CallOptions, Client } from '@connectrpc/connect'

export type Confirmations = {
  /**
   * The digest for the `cnf` claim of the user token; undefined where nothing is confirmed. It covers what the message
   * itself names: the spec's digest, the address and who may call. Throws `access_invalid`.
   */
  digestOf(message: Message, person: CallOptions): Promise<string | undefined>
}

export function confirmations(options: {
  publicUrl: string
  statements: Pick<Client<typeof StatementService>, 'getConfirmed'>
}): Confirmations {
  const { publicUrl, statements } = options

  function creation({ specDigest, slug, access }: CreateServerRequest): string {
    return confirmationDigest({
      specDigest,
      resourceUrl: resourceUrl(publicUrl, slug),
      access: access === '' ? { kind: 'org' } : accessFrom(access),
    })
  }

  async function resumption(request: ResumeServerRequest, person: CallOptions): Promise<string> {
    const { serverId, specDigest } = request
    // Who may call is what was confirmed before, from the service that signs: no row of the generator's counts.
    const before = await statements.getConfirmed({ serverId }, person)
    return confirmationDigest({
      specDigest,
      resourceUrl: before.resourceUrl,
      access: accessFrom(before.access),
    })
  }

  return {
    async digestOf(message, person) {
      if (isMessage(message, CreateServerRequestSchema)) return creation(message)
      if (isMessage(message, ResumeServerRequestSchema)) return resumption(message, person)
      return undefined
    },
  }
}

function accessFrom(text: string): Access {
  try {
    return accessSchema.parse(JSON.parse(text))
  } catch {
    throw invalid('access_invalid', 'The access rule is not what spec/statement.ts describes.')
  }
}
