/** REST: credentials, written only; where a value goes is read from the spec and shown. */
import { schemeFrom } from '@bmm/lib/credential-scheme'
import type { ServerService } from '@bmm/proto/generator/v1/generator_service'
import type { Secret } from '@bmm/proto/secrets/v1/secret'
import type { SecretsService } from '@bmm/proto/secrets/v1/secrets_service'
import { Permission } from '@bmm/proto/v1/options'
import { credentialAnswer, credentialsAnswer } from '@bmm/spec/rest-answer'
import { type CredentialSpec, originSchema, serverSpecSchema } from '@bmm/spec/server-spec'
import type { CallOptions, Client } from '@connectrpc/connect'
import { Elysia } from 'elysia'
import { z } from 'zod'
import { problem } from '../problem.ts'
import { present, storedJson } from './answer.ts'
import { jsonBody } from './json-body.ts'
import type { People } from './person.ts'
import { serverIdOf } from './server-reference.ts'

const MAX_VALUE_CHARACTERS = 16_384

export const valueSchema = z
  .string()
  .min(1)
  .max(MAX_VALUE_CHARACTERS)
  .describe('The secret itself. It never comes back.')

export type CredentialRoutesOptions = {
  servers: Client<typeof ServerService>
  secrets: Client<typeof SecretsService>
  people: People
}

export function credentialRoutes(options: CredentialRoutesOptions) {
  const { servers, secrets, people } = options
  return new Elysia({ name: 'credential-routes', prefix: '/v1', normalize: false })
    .get(
      '/servers/:server/credentials',
      async ({ request, params }) => {
        const person = await people.as(request, ['generator', 'secrets'], {
          permissions: [Permission.CREDENTIALS_READ],
        })
        const serverId = await serverIdOf(params.server, servers, person)
        const [wanted, stored] = await Promise.all([
          wantedCredentials(serverId, servers, person),
          secrets.listSecrets({ serverId }, person),
        ])
        return { credentials: merged(wanted, stored.secrets) }
      },
      {
        response: { 200: credentialsAnswer },
        detail: { summary: 'What the server needs and what is stored', tags: ['credentials'] },
      },
    )
    .put(
      '/servers/:server/credentials/:name',
      async ({ request, params, body }) => {
        const person = await people.as(request, ['generator', 'secrets'], {
          permissions: [Permission.CREDENTIALS_WRITE],
        })
        const serverId = await serverIdOf(params.server, servers, person)
        const wanted = (await wantedCredentials(serverId, servers, person)).get(params.name)
        if (wanted === undefined) {
          throw problem(
            404,
            'credential_unknown',
            'The server asks for no credential of that name.',
          )
        }
        if (body.origins !== undefined && !sameOrigins(body.origins, wanted.origins)) {
          throw problem(
            409,
            'destination_changed',
            'The origins are not those of the server’s spec. Look at the credential again.',
          )
        }
        const secret = await putCredential(secrets, person, serverId, wanted, body.value)
        return { ...described(wanted), ...storedJson(secret) }
      },
      {
        parse: [jsonBody()],
        body: z.strictObject({
          value: valueSchema,
          origins: z
            .array(originSchema)
            .max(50)
            .optional()
            .describe('The origins that you expect the value to go to; refused when they differ.'),
        }),
        response: { 200: credentialAnswer },
        detail: {
          summary: 'Store a value for its destination in the spec',
          tags: ['credentials'],
        },
      },
    )
    .delete(
      '/servers/:server/credentials/:name',
      async ({ request, params, set }) => {
        const person = await people.as(request, ['generator', 'secrets'], {
          permissions: [Permission.CREDENTIALS_WRITE],
        })
        const serverId = await serverIdOf(params.server, servers, person)
        await secrets.deleteSecret({ serverId, name: params.name }, person)
        set.status = 204
      },
      { detail: { summary: 'Forget a value', tags: ['credentials'] } },
    )
}

/** The credentials of a spec's bytes by name. */
export function credentialsIn(spec: Uint8Array): Map<string, CredentialSpec> {
  const parsed = serverSpecSchema.shape.credentials.parse(
    z.looseObject({ credentials: z.unknown() }).parse(JSON.parse(new TextDecoder().decode(spec)))
      .credentials,
  )
  return new Map(parsed.map((credential) => [credential.name, credential]))
}

/** Seals a value for exactly the destination that the spec states. */
export async function putCredential(
  secrets: Client<typeof SecretsService>,
  person: CallOptions,
  serverId: string,
  wanted: CredentialSpec,
  value: string,
): Promise<Secret> {
  const { name, scheme, parameter = '', origins } = wanted
  const answer = await secrets.putSecret(
    {
      serverId,
      name,
      value: new TextEncoder().encode(value),
      destination: { scheme: schemeFrom[scheme], parameter, origins },
    },
    person,
  )
  return present(answer.secret)
}

async function wantedCredentials(
  server: string,
  servers: Client<typeof ServerService>,
  person: CallOptions,
): Promise<Map<string, CredentialSpec>> {
  return credentialsIn((await servers.getServerSpec({ server }, person)).spec)
}

function described(wanted: CredentialSpec) {
  const { name, scheme, parameter, origins, description, whereToGet, optional = false } = wanted
  return {
    name,
    destination: { scheme, ...(parameter === undefined ? {} : { parameter }), origins },
    optional,
    description,
    ...(whereToGet === undefined ? {} : { whereToGet }),
  }
}

function merged(wanted: Map<string, CredentialSpec>, stored: readonly Secret[]) {
  const secrets = new Map(stored.map((secret) => [secret.name, secret]))
  return [...wanted.values()].map((credential) => {
    const secret = secrets.get(credential.name)
    return {
      ...described(credential),
      ...(secret === undefined ? { stored: false } : storedJson(secret)),
    }
  })
}

function sameOrigins(given: readonly string[], wanted: readonly string[]): boolean {
  const expected = new Set(wanted)
  return new Set(given).size === expected.size && given.every((origin) => expected.has(origin))
}
